// The model of a bundle: tensors in, tensors out. Written by edgeft.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace edgeft {

enum class Type { float32, float64, int8, uint8, int16, uint16, int32, int64, boolean };

struct Tensor {
  std::string name;
  Type type = Type::float32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> data;  // row by row, in the byte order of this machine
};

using Options = std::vector<std::pair<std::string, std::string>>;

// Throws std::runtime_error with a sentence where the model does not load or does not run. Not for several threads.
class Model {
 public:
  Model(const std::string& path, int threads, const Options& options);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Inputs are found by name, or by their place where the file has other names. Outputs have the names of the file.
  std::vector<Tensor> run(const std::vector<Tensor>& inputs);

 private:
  struct Runtime;
  std::unique_ptr<Runtime> runtime_;
};

}  // namespace edgeft

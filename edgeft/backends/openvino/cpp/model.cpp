// The model in OpenVINO, on the CPU. Written by edgeft.
#include "model.hpp"

#include <openvino/openvino.hpp>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace edgeft {
namespace {

struct Pair {
  Type type;
  ov::element::Type theirs;
};
const Pair kTypes[] = {
    {Type::float32, ov::element::f32}, {Type::float64, ov::element::f64}, {Type::int8, ov::element::i8},
    {Type::uint8, ov::element::u8},    {Type::int16, ov::element::i16},   {Type::uint16, ov::element::u16},
    {Type::int32, ov::element::i32},   {Type::int64, ov::element::i64},   {Type::boolean, ov::element::boolean},
};

std::string name_of(const ov::Output<const ov::Node>& port) {
  return port.get_names().empty() ? port.get_node()->get_friendly_name() : port.get_any_name();
}

}  // namespace

struct Model::Runtime {
  ov::Core core;
  ov::CompiledModel model;
  ov::InferRequest request;
};

Model::Model(const std::string& path, int threads, const Options& options) : runtime_(std::make_unique<Runtime>()) {
  ov::AnyMap config;
  for (const auto& [key, text] : options) config[key] = text;
  config["INFERENCE_NUM_THREADS"] = threads;
  runtime_->model = runtime_->core.compile_model(path, "CPU", config);
  runtime_->request = runtime_->model.create_infer_request();
}

Model::~Model() = default;

std::vector<Tensor> Model::run(const std::vector<Tensor>& given) {
  const auto& ports = runtime_->model.inputs();
  if (given.size() != ports.size()) throw std::runtime_error("the model has another number of inputs");
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const auto named = std::find_if(given.begin(), given.end(), [&](const Tensor& t) { return t.name == name_of(ports[i]); });
    const Tensor& tensor = named == given.end() ? given[i] : *named;
    const auto kind = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Pair& p) { return p.type == tensor.type; });
    const ov::Shape shape(tensor.shape.begin(), tensor.shape.end());
    runtime_->request.set_input_tensor(i, ov::Tensor(kind->theirs, shape, const_cast<std::byte*>(tensor.data.data())));
  }
  runtime_->request.infer();

  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < runtime_->model.outputs().size(); ++i) {
    const ov::Tensor result = runtime_->request.get_output_tensor(i);
    const auto known = std::find_if(std::begin(kTypes), std::end(kTypes),
                                    [&](const Pair& p) { return p.theirs == result.get_element_type(); });
    Tensor tensor{name_of(runtime_->model.output(i)), Type::float32, {}, {}};
    if (known == std::end(kTypes)) throw std::runtime_error(tensor.name + " has a type that this program does not know");
    tensor.type = known->type;
    const auto shape = result.get_shape();
    tensor.shape.assign(shape.begin(), shape.end());
    tensor.data.resize(result.get_byte_size());
    std::memcpy(tensor.data.data(), result.data(), tensor.data.size());
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace edgeft

// Runs the bundle's own samples and compares with the outputs that were recorded when it was verified.
//
//   parity [FOLDER] [--steps N] [--calls N]
//
// FOLDER is that of this project. Exit code 0: every value lies on the recorded step of its output's grid (within N
// steps; 0 where nothing is said); 1: not so; 2: wrong usage; 3: the model or a file cannot be used. --calls measures.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>

#include "bundle.hpp"
#include "model.hpp"

namespace {

std::size_t width(edgeft::Type type) {
  switch (type) {
    case edgeft::Type::float64:
    case edgeft::Type::int64:
      return 8;
    case edgeft::Type::float32:
    case edgeft::Type::int32:
      return 4;
    case edgeft::Type::int16:
    case edgeft::Type::uint16:
      return 2;
    default:
      return 1;
  }
}

template <typename T>
double at(const std::vector<std::byte>& data, std::size_t i) {
  T value;
  std::memcpy(&value, data.data() + i * sizeof(T), sizeof(T));
  return static_cast<double>(value);
}

double value(const edgeft::Tensor& tensor, std::size_t i) {
  switch (tensor.type) {
    case edgeft::Type::float32: return at<float>(tensor.data, i);
    case edgeft::Type::float64: return at<double>(tensor.data, i);
    case edgeft::Type::int8: return at<std::int8_t>(tensor.data, i);
    case edgeft::Type::int16: return at<std::int16_t>(tensor.data, i);
    case edgeft::Type::uint16: return at<std::uint16_t>(tensor.data, i);
    case edgeft::Type::int32: return at<std::int32_t>(tensor.data, i);
    case edgeft::Type::int64: return at<std::int64_t>(tensor.data, i);
    default: return at<std::uint8_t>(tensor.data, i);
  }
}

// The samples of one tensor, in order, as `edgeft cpp` has written them: each as large as `shape` says.
std::vector<edgeft::Tensor> samples(const std::string& folder, const bundle::Stored& stored) {
  std::ifstream file(folder + "/" + stored.file, std::ios::binary);
  if (!file) throw std::runtime_error(folder + "/" + stored.file + " cannot be read");
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::size_t size = width(stored.type);
  for (auto n : stored.shape) size *= static_cast<std::size_t>(n);
  if (bytes.size() != size * bundle::samples) throw std::runtime_error(stored.file + " has another size than it should");
  std::vector<edgeft::Tensor> tensors;
  for (std::size_t i = 0; i < bundle::samples; ++i) {
    edgeft::Tensor tensor{stored.name, stored.type, stored.shape, std::vector<std::byte>(size)};
    std::memcpy(tensor.data.data(), bytes.data() + i * size, size);
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

const edgeft::Tensor& output(const std::vector<edgeft::Tensor>& outputs, std::size_t place) {
  for (const auto& tensor : outputs)
    if (tensor.name == bundle::outputs[place].name) return tensor;
  return outputs.at(place);
}

struct Result {
  std::size_t values = 0, equal = 0;
  double steps = 0;
};

// The largest difference in steps of the output's grid; values that are no numbers differ by infinitely many.
void compare(const edgeft::Tensor& ours, const edgeft::Tensor& recorded, const bundle::Stored& stored, Result& result) {
  const std::size_t count = recorded.data.size() / width(recorded.type);
  if (ours.data.size() / width(ours.type) != count) throw std::runtime_error(stored.name + " has another size than recorded");
  const bool stored_integers = ours.type != recorded.type && stored.scale > 0;
  for (std::size_t i = 0; i < count; ++i) {
    double mine = value(ours, i);
    if (stored_integers) mine = static_cast<float>((mine - stored.zero_point) * stored.scale);
    const double theirs = value(recorded, i);
    const bool same = mine == theirs || (std::isnan(mine) && std::isnan(theirs));
    const double step = stored.step > 0 ? stored.step : 1.0;
    const double apart = same ? 0 : stored.step > 0 ? std::abs(std::round(mine / step) - std::round(theirs / step)) : INFINITY;
    result.steps = std::max(result.steps, std::isnan(apart) ? INFINITY : apart);
    result.equal += same;
    ++result.values;
  }
}

void measure(edgeft::Model& model, const std::vector<edgeft::Tensor>& inputs, std::size_t calls) {
  std::vector<double> times;
  for (std::size_t i = 0; i < calls; ++i) {
    const auto begun = std::chrono::steady_clock::now();
    model.run(inputs);
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count());
  }
  std::sort(times.begin(), times.end());
  std::cout << calls << " calls: p50 " << times[calls / 2] << " ms";
  if (calls >= 299) std::cout << ", p99 " << times[calls * 99 / 100] << " ms";  // fewer support no p99
  std::cout << "\n";
}

int run(const std::string& folder, double allowed, std::size_t calls) {
  edgeft::Model model(folder + "/model/" + bundle::file, bundle::threads, bundle::options());
  std::vector<std::vector<edgeft::Tensor>> inputs, expected;
  for (const auto& stored : bundle::inputs) inputs.push_back(samples(folder, stored));
  for (const auto& stored : bundle::outputs) expected.push_back(samples(folder, stored));

  std::vector<Result> results(bundle::outputs.size());
  std::vector<edgeft::Tensor> feed;
  for (std::size_t i = 0; i < bundle::samples; ++i) {
    feed.clear();
    for (const auto& tensors : inputs) feed.push_back(tensors[i]);
    const auto outputs = model.run(feed);
    for (std::size_t k = 0; k < results.size(); ++k)
      compare(output(outputs, k), expected[k][i], bundle::outputs[k], results[k]);
  }
  bool good = bundle::samples > 0;
  for (std::size_t k = 0; k < results.size(); ++k) {
    good = good && results[k].steps <= allowed;
    std::cout << bundle::outputs[k].name << ": " << bundle::samples << " samples, " << results[k].equal << " of "
              << results[k].values << " values bit-equal, at most " << results[k].steps << " steps apart\n";
  }
  std::cout << (good ? "pass" : "fail") << "\n";
  if (calls > 0) measure(model, feed, calls);
  return good ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
  std::string folder = ".";
  double steps = 0;
  long calls = 0;
  try {
    for (int i = 1; i < count; ++i) {
      const std::string word = words[i];
      if (word == "--steps" && i + 1 < count) {
        steps = std::stod(words[++i]);
      } else if (word == "--calls" && i + 1 < count) {
        calls = std::max(0L, std::stol(words[++i]));
      } else if (word.rfind("-", 0) == 0) {
        throw std::invalid_argument(word);
      } else {
        folder = word;
      }
    }
  } catch (const std::logic_error&) {
    std::cerr << "usage: parity [FOLDER] [--steps N] [--calls N]\n";
    return 2;
  }
  try {
    return run(folder, steps, static_cast<std::size_t>(calls));
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 3;
  }
}

// The model in LiteRT, on the CPU, by its C API. Written by edgeft. Tensors have the types of the file: integers stay so.
#include "model.hpp"

#include <litert/c/litert_common.h>
#include <litert/c/litert_compiled_model.h>
#include <litert/c/litert_environment.h>
#include <litert/c/litert_model.h>
#include <litert/c/litert_opaque_options.h>
#include <litert/c/litert_options.h>
#include <litert/c/litert_tensor_buffer.h>
#include <litert/c/litert_tensor_buffer_requirements.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace edgeft {
namespace {

void check(LiteRtStatus status, const char* what) {
  if (status != kLiteRtStatusOk)
    throw std::runtime_error(std::string("LiteRT: ") + what + " failed (status " + std::to_string(status) + ")");
}

struct Pair {
  Type type;
  LiteRtElementType theirs;
  std::size_t bytes;
};
const Pair kTypes[] = {
    {Type::float32, kLiteRtElementTypeFloat32, 4}, {Type::float64, kLiteRtElementTypeFloat64, 8},
    {Type::int8, kLiteRtElementTypeInt8, 1},       {Type::uint8, kLiteRtElementTypeUInt8, 1},
    {Type::int16, kLiteRtElementTypeInt16, 2},     {Type::uint16, kLiteRtElementTypeUInt16, 2},
    {Type::int32, kLiteRtElementTypeInt32, 4},     {Type::int64, kLiteRtElementTypeInt64, 8},
    {Type::boolean, kLiteRtElementTypeBool, 1},
};

// A tensor at the border of the model, with the memory that the runtime reads or writes.
struct Border {
  Tensor tensor;  // without data
  std::size_t bytes = 0;
  LiteRtTensorBuffer buffer = nullptr;
};

}  // namespace

struct Model::Runtime {
  LiteRtEnvironment environment = nullptr;
  LiteRtModel model = nullptr;
  LiteRtOptions options = nullptr;
  LiteRtCompiledModel compiled = nullptr;
  std::vector<Border> inputs, outputs;

  ~Runtime() {
    for (const auto* borders : {&inputs, &outputs})
      for (const auto& border : *borders)
        if (border.buffer != nullptr) LiteRtDestroyTensorBuffer(border.buffer);
    if (compiled != nullptr) LiteRtDestroyCompiledModel(compiled);
    if (options != nullptr) LiteRtDestroyOptions(options);
    if (model != nullptr) LiteRtDestroyModel(model);
    if (environment != nullptr) LiteRtDestroyEnvironment(environment);
  }

  void add(LiteRtSignature signature, LiteRtParamIndex place, bool of_inputs) {
    const char* name = nullptr;
    LiteRtTensor handle = nullptr;
    check(of_inputs ? LiteRtGetSignatureInputName(signature, place, &name)
                    : LiteRtGetSignatureOutputName(signature, place, &name), "naming a tensor");
    check(of_inputs ? LiteRtGetSignatureInputTensorByIndex(signature, place, &handle)
                    : LiteRtGetSignatureOutputTensorByIndex(signature, place, &handle), "finding a tensor");
    LiteRtRankedTensorType kind;
    check(LiteRtGetRankedTensorType(handle, &kind), "reading a shape");
    const auto known = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Pair& p) { return p.theirs == kind.element_type; });
    if (known == std::end(kTypes)) throw std::runtime_error(std::string(name) + " has a type that this program does not know");

    Border border;
    border.tensor.name = name;
    border.tensor.type = known->type;
    border.bytes = known->bytes;
    for (unsigned i = 0; i < kind.layout.rank; ++i) {
      border.tensor.shape.push_back(kind.layout.dimensions[i]);
      border.bytes *= static_cast<std::size_t>(std::max(kind.layout.dimensions[i], 0));
    }
    LiteRtTensorBufferRequirements needs = nullptr;
    check(of_inputs ? LiteRtGetCompiledModelInputBufferRequirements(compiled, 0, place, &needs)
                    : LiteRtGetCompiledModelOutputBufferRequirements(compiled, 0, place, &needs), "asking for memory");
    std::size_t size = 0;
    check(LiteRtGetTensorBufferRequirementsBufferSize(needs, &size), "asking for memory");
    check(LiteRtCreateManagedTensorBuffer(environment, kLiteRtTensorBufferTypeHostMemory, &kind,
                                          std::max(size, border.bytes), &border.buffer), "taking memory");
    (of_inputs ? inputs : outputs).push_back(border);
  }
};

Model::Model(const std::string& path, int threads, const Options& options) : runtime_(std::make_unique<Runtime>()) {
  for (const auto& [key, text] : options)
    if (key == "op_resolver" && text != "AUTO") throw std::runtime_error("the bundle asks for the kernels " + text + ", which this program cannot choose");
  check(LiteRtCreateEnvironment(0, nullptr, &runtime_->environment), "the start of the runtime");
  check(LiteRtCreateModelFromFile(runtime_->environment, path.c_str(), &runtime_->model), ("opening " + path).c_str());
  check(LiteRtCreateOptions(&runtime_->options), "setting options");
  check(LiteRtSetOptionsHardwareAccelerators(runtime_->options, kLiteRtHwAcceleratorCpu), "choosing the CPU");
  // The CPU's options are TOML; the runtime frees the text.
  const std::string text = "num_threads = " + std::to_string(threads) + "\n";
  LiteRtOpaqueOptions cpu = nullptr;
  check(LiteRtCreateOpaqueOptions("xnnpack", strdup(text.c_str()), std::free, &cpu), "setting threads");
  check(LiteRtAddOpaqueOptions(runtime_->options, cpu), "setting threads");
  check(LiteRtCreateCompiledModel(runtime_->environment, runtime_->model, runtime_->options, &runtime_->compiled),
        "compiling the model");

  LiteRtSignature signature = nullptr;
  check(LiteRtGetModelSignature(runtime_->model, 0, &signature), "reading the signature");
  LiteRtParamIndex inputs = 0, outputs = 0;
  check(LiteRtGetNumSignatureInputs(signature, &inputs), "counting inputs");
  check(LiteRtGetNumSignatureOutputs(signature, &outputs), "counting outputs");
  for (LiteRtParamIndex i = 0; i < inputs; ++i) runtime_->add(signature, i, true);
  for (LiteRtParamIndex i = 0; i < outputs; ++i) runtime_->add(signature, i, false);
}

Model::~Model() = default;

std::vector<Tensor> Model::run(const std::vector<Tensor>& given) {
  if (given.size() != runtime_->inputs.size()) throw std::runtime_error("the model has another number of inputs");
  std::vector<LiteRtTensorBuffer> feeds, results;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const Border& border = runtime_->inputs[i];
    const auto named = std::find_if(given.begin(), given.end(), [&](const Tensor& t) { return t.name == border.tensor.name; });
    const Tensor& tensor = named == given.end() ? given[i] : *named;
    if (tensor.type != border.tensor.type || tensor.data.size() != border.bytes)
      throw std::runtime_error(tensor.name + " has another type or size than the model's input");
    void* memory = nullptr;
    check(LiteRtLockTensorBuffer(border.buffer, &memory, kLiteRtTensorBufferLockModeWrite), "writing an input");
    std::memcpy(memory, tensor.data.data(), border.bytes);
    check(LiteRtUnlockTensorBuffer(border.buffer), "writing an input");
    feeds.push_back(border.buffer);
  }
  for (const Border& border : runtime_->outputs) results.push_back(border.buffer);
  check(LiteRtRunCompiledModel(runtime_->compiled, 0, feeds.size(), feeds.data(), results.size(), results.data()), "the model");

  std::vector<Tensor> tensors;
  for (const Border& border : runtime_->outputs) {
    Tensor tensor = border.tensor;
    tensor.data.resize(border.bytes);
    void* memory = nullptr;
    check(LiteRtLockTensorBuffer(border.buffer, &memory, kLiteRtTensorBufferLockModeRead), "reading an output");
    std::memcpy(tensor.data.data(), memory, border.bytes);
    check(LiteRtUnlockTensorBuffer(border.buffer), "reading an output");
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace edgeft

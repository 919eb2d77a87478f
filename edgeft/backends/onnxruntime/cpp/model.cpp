// The model in ONNX Runtime, by its C API. Written by edgeft.
#include "model.hpp"

#include <onnxruntime_c_api.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>

namespace edgeft {
namespace {

const OrtApi* api() {
  static const OrtApi* const table = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  if (table == nullptr)
    throw std::runtime_error(std::string("ONNX Runtime ") + OrtGetApiBase()->GetVersionString() + " is older than its headers");
  return table;
}

void check(OrtStatus* status) {
  if (status == nullptr) return;
  const std::string text = api()->GetErrorMessage(status);
  api()->ReleaseStatus(status);
  throw std::runtime_error("ONNX Runtime: " + text);
}

struct Pair {
  Type type;
  ONNXTensorElementDataType theirs;
  std::size_t bytes;
};
const Pair kTypes[] = {
    {Type::float32, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, 4},  {Type::float64, ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, 8},
    {Type::int8, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, 1},      {Type::uint8, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, 1},
    {Type::int16, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16, 2},    {Type::uint16, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16, 2},
    {Type::int32, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, 4},    {Type::int64, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, 8},
    {Type::boolean, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, 1},
};

std::vector<std::string> names(OrtSession* session, bool of_inputs) {
  OrtAllocator* allocator = nullptr;
  check(api()->GetAllocatorWithDefaultOptions(&allocator));
  std::size_t count = 0;
  check(of_inputs ? api()->SessionGetInputCount(session, &count) : api()->SessionGetOutputCount(session, &count));
  std::vector<std::string> found;
  for (std::size_t i = 0; i < count; ++i) {
    char* name = nullptr;
    check(of_inputs ? api()->SessionGetInputName(session, i, allocator, &name)
                    : api()->SessionGetOutputName(session, i, allocator, &name));
    found.emplace_back(name);
    check(api()->AllocatorFree(allocator, name));
  }
  return found;
}

// The options that edgeft records, as its sessions set them; those with a dot are entries of the configuration.
void configure(OrtSessionOptions* settings, int threads, const Options& options) {
  const std::map<std::string, GraphOptimizationLevel> levels = {{"ORT_DISABLE_ALL", ORT_DISABLE_ALL},
                                                                {"ORT_ENABLE_BASIC", ORT_ENABLE_BASIC},
                                                                {"ORT_ENABLE_EXTENDED", ORT_ENABLE_EXTENDED},
                                                                {"ORT_ENABLE_ALL", ORT_ENABLE_ALL}};
  check(api()->SetSessionLogSeverityLevel(settings, 3));
  check(api()->SetIntraOpNumThreads(settings, threads));
  for (const auto& [key, text] : options) {
    if (key.find('.') != std::string::npos) {
      check(api()->AddSessionConfigEntry(settings, key.c_str(), text.c_str()));
    } else if (key == "graph_optimization_level") {
      check(api()->SetSessionGraphOptimizationLevel(settings, levels.at(text)));
    } else if (key == "inter_op_num_threads") {
      check(api()->SetInterOpNumThreads(settings, std::stoi(text)));
    } else if (key == "enable_cpu_mem_arena" && text == "false") {
      check(api()->DisableCpuMemArena(settings));
    } else if (key == "enable_mem_pattern" && text == "false") {
      check(api()->DisableMemPattern(settings));
    } else if (key == "provider" && text != "CPUExecutionProvider") {
      throw std::runtime_error("the bundle runs in " + text + ", and this program on the CPU alone");
    }
  }
}

}  // namespace

struct Model::Runtime {
  OrtEnv* env = nullptr;
  OrtSession* session = nullptr;
  OrtMemoryInfo* memory = nullptr;
  std::vector<std::string> inputs, outputs;

  ~Runtime() {
    if (session != nullptr) api()->ReleaseSession(session);
    if (memory != nullptr) api()->ReleaseMemoryInfo(memory);
    if (env != nullptr) api()->ReleaseEnv(env);
  }
};

Model::Model(const std::string& path, int threads, const Options& options) : runtime_(std::make_unique<Runtime>()) {
  check(api()->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "edgeft", &runtime_->env));
  check(api()->DisableTelemetryEvents(runtime_->env));
  OrtSessionOptions* settings = nullptr;
  check(api()->CreateSessionOptions(&settings));
  const std::unique_ptr<OrtSessionOptions, void (*)(OrtSessionOptions*)> owner(
      settings, [](OrtSessionOptions* each) { api()->ReleaseSessionOptions(each); });
  configure(settings, threads, options);
  check(api()->CreateSession(runtime_->env, path.c_str(), settings, &runtime_->session));
  check(api()->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &runtime_->memory));
  runtime_->inputs = names(runtime_->session, true);
  runtime_->outputs = names(runtime_->session, false);
}

Model::~Model() = default;

std::vector<Tensor> Model::run(const std::vector<Tensor>& given) {
  using Value = std::unique_ptr<OrtValue, void (*)(OrtValue*)>;
  const auto release = [](OrtValue* each) { api()->ReleaseValue(each); };
  if (given.size() != runtime_->inputs.size()) throw std::runtime_error("the model has another number of inputs");

  std::vector<Value> owners;
  std::vector<const OrtValue*> feeds;
  std::vector<const char*> input_names, output_names;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const auto named = std::find_if(given.begin(), given.end(), [&](const Tensor& t) { return t.name == runtime_->inputs[i]; });
    const Tensor& tensor = named == given.end() ? given[i] : *named;
    const auto kind = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Pair& p) { return p.type == tensor.type; });
    OrtValue* value = nullptr;
    check(api()->CreateTensorWithDataAsOrtValue(runtime_->memory, const_cast<std::byte*>(tensor.data.data()),
                                                tensor.data.size(), tensor.shape.data(), tensor.shape.size(), kind->theirs,
                                                &value));
    owners.emplace_back(value, release);
    feeds.push_back(value);
    input_names.push_back(runtime_->inputs[i].c_str());
  }
  for (const auto& name : runtime_->outputs) output_names.push_back(name.c_str());

  std::vector<OrtValue*> results(output_names.size(), nullptr);
  check(api()->Run(runtime_->session, nullptr, input_names.data(), feeds.data(), feeds.size(), output_names.data(),
                   output_names.size(), results.data()));
  for (OrtValue* each : results) owners.emplace_back(each, release);

  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < results.size(); ++i) {
    OrtTensorTypeAndShapeInfo* info = nullptr;
    check(api()->GetTensorTypeAndShape(results[i], &info));
    ONNXTensorElementDataType kind = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    std::size_t rank = 0, count = 0;
    Tensor tensor{runtime_->outputs[i], Type::float32, {}, {}};
    OrtStatus* status = api()->GetTensorElementType(info, &kind);
    if (status == nullptr) status = api()->GetDimensionsCount(info, &rank);
    tensor.shape.resize(rank);
    if (status == nullptr) status = api()->GetDimensions(info, tensor.shape.data(), rank);
    if (status == nullptr) status = api()->GetTensorShapeElementCount(info, &count);
    api()->ReleaseTensorTypeAndShapeInfo(info);
    check(status);

    const auto known = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Pair& p) { return p.theirs == kind; });
    if (known == std::end(kTypes)) throw std::runtime_error(tensor.name + " has a type that this program does not know");
    tensor.type = known->type;
    tensor.data.resize(count * known->bytes);
    void* data = nullptr;
    check(api()->GetTensorMutableData(results[i], &data));
    std::memcpy(tensor.data.data(), data, tensor.data.size());
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace edgeft

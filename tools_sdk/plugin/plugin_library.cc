#include "tools_sdk/plugin/plugin_library.h"

#include <dlfcn.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <mutex>
#include <nlohmann/json.hpp>

#include "tools_sdk/utf8.h"

/// The host's side of a call: what the ABI's functions work on.
struct baleen_call {
  const baleen::ToolCall* call = nullptr;
  nlohmann::json arguments;
  baleen::PluginCallPort* port = nullptr;
  int64_t output_bytes_max = 0;

  std::mutex mutex;  ///< Of what follows.
  baleen::ResultFrame result;
  int64_t bytes_sent = 0;
};

namespace baleen {
namespace {

constexpr char kUnfit[] = "PLUGIN_UNFIT";
constexpr size_t kProgressBytesMax = 200;
constexpr size_t kFailureBytesMax = 16 * 1024;

std::string_view View(baleen_slice slice) {
  return slice.bytes == nullptr ? std::string_view() : std::string_view(slice.bytes, slice.size);
}
baleen_slice Slice(const std::string& text) { return {text.data(), text.size()}; }

/// The argument if `fits`; else *answer says why not.
template <typename Fits>
const nlohmann::json* Argument(const baleen_call* call, baleen_slice name, int32_t* answer,
                               const Fits& fits) {
  const auto found = call->arguments.find(View(name));
  if (found == call->arguments.end()) {
    *answer = BALEEN_ANSWER_ABSENT;
    return nullptr;
  }
  *answer = fits(*found) ? BALEEN_ANSWER_OK : BALEEN_ANSWER_WRONG_TYPE;
  return *answer == BALEEN_ANSWER_OK ? &*found : nullptr;
}

int32_t ArgumentText(const baleen_call* call, baleen_slice name, baleen_slice* value) {
  int32_t answer = BALEEN_ANSWER_OK;
  const auto* json = Argument(call, name, &answer, [](const auto& j) { return j.is_string(); });
  if (json != nullptr) *value = Slice(json->template get_ref<const std::string&>());
  return answer;
}

int32_t ArgumentInteger(const baleen_call* call, baleen_slice name, int64_t* value) {
  int32_t answer = BALEEN_ANSWER_OK;
  const auto* json = Argument(call, name, &answer, [](const nlohmann::json& j) {
    if (j.is_number_unsigned()) return j.get<uint64_t>() <= INT64_MAX;
    if (j.is_number_integer()) return true;
    // 2^63 is the least double that doesn't fit; below it, the conversion is exact for integers.
    return j.is_number_float() && std::trunc(j.get<double>()) == j.get<double>() &&
           std::fabs(j.get<double>()) < 0x1p63;
  });
  if (json != nullptr) {
    *value = json->is_number_float() ? static_cast<int64_t>(json->template get<double>())
                                     : json->template get<int64_t>();
  }
  return answer;
}

int32_t ArgumentNumber(const baleen_call* call, baleen_slice name, double* value) {
  int32_t answer = BALEEN_ANSWER_OK;
  const auto* json = Argument(call, name, &answer, [](const auto& j) { return j.is_number(); });
  if (json != nullptr) *value = json->template get<double>();
  return answer;
}

int32_t ArgumentBoolean(const baleen_call* call, baleen_slice name, int32_t* value) {
  int32_t answer = BALEEN_ANSWER_OK;
  const auto* json = Argument(call, name, &answer, [](const auto& j) { return j.is_boolean(); });
  if (json != nullptr) *value = json->template get<bool>() ? 1 : 0;
  return answer;
}

int32_t Write(baleen_call* call, baleen_slice bytes) {
  const std::lock_guard<std::mutex> lock(call->mutex);
  const std::string_view text = View(bytes);
  call->result.bytes_written += static_cast<int64_t>(text.size());
  const auto room = static_cast<size_t>(call->output_bytes_max - call->bytes_sent);
  const std::string_view sent = text.substr(0, room);
  call->bytes_sent += static_cast<int64_t>(sent.size());
  if (!sent.empty() && !call->port->Write(sent)) return BALEEN_ANSWER_CLOSED;
  return text.size() > room ? BALEEN_ANSWER_FULL : BALEEN_ANSWER_OK;
}

int32_t Progress(baleen_call* call, baleen_slice line) {
  const std::lock_guard<std::mutex> lock(call->mutex);
  return call->port->Progress(View(line).substr(0, kProgressBytesMax)) ? BALEEN_ANSWER_OK
                                                                       : BALEEN_ANSWER_CLOSED;
}

void Fail(baleen_call* call, int32_t failure, baleen_slice text) {
  const std::lock_guard<std::mutex> lock(call->mutex);
  if (call->result.outcome != ToolOutcome::kOk) return;
  call->result.outcome = failure == BALEEN_FAILURE_ABORTED   ? ToolOutcome::kAborted
                         : failure == BALEEN_FAILURE_UNKNOWN ? ToolOutcome::kUnknown
                                                             : ToolOutcome::kError;
  call->result.text = ReplaceInvalidUtf8(View(text).substr(0, kFailureBytesMax));
}

const baleen_plugin_host kHost = {
    sizeof(baleen_plugin_host),
    BALEEN_PLUGIN_ABI_MAJOR,
    BALEEN_PLUGIN_ABI_MINOR,
    0,
    [](const baleen_call* call) { return Slice(call->call->id); },
    [](const baleen_call* call) { return Slice(call->call->arguments); },
    &ArgumentText,
    &ArgumentInteger,
    &ArgumentNumber,
    &ArgumentBoolean,
    &Write,
    &Progress,
    &Fail,
    [](const baleen_call* call) { return int32_t{call->port->Cancelled() ? 1 : 0}; },
    [](const baleen_call* call) { return int32_t{call->port->CancelFd()}; },
    [](const baleen_call* call) { return std::max<int64_t>(call->port->TimeLeftMs(), 0); },
};

Status Unfit(const std::string& what) { return FailedPreconditionError(what, kUnfit); }

/// A text of the plugin's, copied: bounded before it is read, and made UTF-8.
Result<std::string> TakeText(const char* what, baleen_slice slice, size_t bytes_max) {
  if (slice.bytes == nullptr && slice.size > 0) return Unfit(std::string(what) + " is NULL");
  if (slice.size > bytes_max) {
    return Unfit(std::string(what) + " has " + std::to_string(slice.size) +
                 " bytes: expected at most " + std::to_string(bytes_max));
  }
  return ReplaceInvalidUtf8(View(slice));
}

Result<int64_t> TakeLimit(const std::string& what, int64_t given, int64_t otherwise, int64_t most) {
  if (given == 0) return otherwise;
  if (given >= 1 && given <= most) return given;
  return Unfit(what + " is " + std::to_string(given) + ": expected 1 to " + std::to_string(most) +
               ", or 0 for " + std::to_string(otherwise));
}

Result<ToolSpec> SpecOf(const baleen_tool& tool) {
  ToolSpec spec;
  if (tool.struct_size < sizeof(baleen_tool)) {
    return Unfit("a tool's struct_size is " + std::to_string(tool.struct_size) +
                 ": expected at least " + std::to_string(sizeof(baleen_tool)));
  }
  ASSIGN_OR_RETURN(spec.name, TakeText("a tool's name", tool.name, 64));
  const std::string which = "tool '" + spec.name + "': ";
  if (tool.run == nullptr) return Unfit(which + "run is NULL");
  ASSIGN_OR_RETURN(spec.description, TakeText("a tool's description", tool.description, 4096));
  ASSIGN_OR_RETURN(spec.parameters, TakeText("a tool's parameters", tool.parameters, 64 * 1024));
  spec.effect = tool.effect == BALEEN_EFFECT_PURE         ? EffectClass::kPure
                : tool.effect == BALEEN_EFFECT_IDEMPOTENT ? EffectClass::kIdempotent
                                                          : EffectClass::kEffect;
  ASSIGN_OR_RETURN(spec.timeout_ms,
                   TakeLimit(which + "timeout_ms", tool.timeout_ms, 30'000, 3'600'000));
  ASSIGN_OR_RETURN(spec.output_bytes_max, TakeLimit(which + "output_bytes_max",
                                                    tool.output_bytes_max, 64 * 1024, 1 << 20));
  return spec;
}

std::string LoaderWords() {
  const char* words = dlerror();
  return words == nullptr ? "the loader doesn't say why" : words;
}

}  // namespace

Result<std::unique_ptr<PluginLibrary>> PluginLibrary::Load(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr),
                                                         &std::free);
  struct stat file{};
  if (real == nullptr || stat(real.get(), &file) != 0) {
    return NotFoundError("plugin '" + path + "': there is no such file");
  }
  if (!S_ISREG(file.st_mode)) return Unfit("plugin '" + path + "' isn't a regular file");
  std::unique_ptr<PluginLibrary> library(new PluginLibrary());
  library->handle_ = dlopen(real.get(), RTLD_NOW | RTLD_LOCAL);
  if (library->handle_ == nullptr) {
    return Unfit("plugin '" + path + "' can't be loaded: " + LoaderWords());
  }
  RETURN_IF_ERROR(library->ReadEntry(path));
  RETURN_IF_ERROR(library->ReadTools().WithContext("plugin '" + path + "'"));
  return library;
}

Status PluginLibrary::ReadEntry(const std::string& path) {
  const std::string which = "plugin '" + path + "' ";
  entry_ = static_cast<const baleen_plugin*>(dlsym(handle_, "baleen_plugin_entry"));
  if (entry_ == nullptr) {
    return Unfit(which +
                 "exports no baleen_plugin_entry; a plugin defines it as <baleen/plugin.h> "
                 "says, with default visibility");
  }
  // The first two members are where they are in every version.
  if (entry_->struct_size < offsetof(baleen_plugin, abi_minor)) {
    return Unfit(which + "has a baleen_plugin_entry of " + std::to_string(entry_->struct_size) +
                 " bytes, which isn't one");
  }
  if (entry_->abi_major != BALEEN_PLUGIN_ABI_MAJOR) {
    return Unfit(which + "is of ABI " + std::to_string(entry_->abi_major) + "; this Baleen takes " +
                 std::to_string(BALEEN_PLUGIN_ABI_MAJOR) +
                 ": build it against this Baleen's <baleen/plugin.h>");
  }
  if (entry_->struct_size < sizeof(baleen_plugin) || entry_->get_factory == nullptr) {
    return Unfit(which + "has an incomplete baleen_plugin_entry (" +
                 std::to_string(entry_->struct_size) + " bytes: expected at least " +
                 std::to_string(sizeof(baleen_plugin)) + ", with get_factory)");
  }
  baleen_slice why = {nullptr, 0};
  if (const int32_t code = entry_->init == nullptr ? 0 : entry_->init(&kHost, &why); code != 0) {
    return Unfit(which + "failed to initialise (" + std::to_string(code) +
                 "): " + ReplaceInvalidUtf8(View(why).substr(0, 1000)));
  }
  initialised_ = true;
  return OkStatus();
}

Status PluginLibrary::ReadTools() {
  ASSIGN_OR_RETURN(manifest_.name, TakeText("its name", entry_->name, 64));
  ASSIGN_OR_RETURN(manifest_.version, TakeText("its version", entry_->version, 64));
  const auto* factory =
      static_cast<const baleen_tool_factory*>(entry_->get_factory(BALEEN_TOOL_FACTORY));
  if (factory == nullptr || factory->struct_size < sizeof(baleen_tool_factory) ||
      factory->tool == nullptr) {
    return Unfit(std::string("it has no factory ") + BALEEN_TOOL_FACTORY);
  }
  if (factory->tools_count < 1 || factory->tools_count > 64) {
    return Unfit("it has " + std::to_string(factory->tools_count) + " tools: expected 1 to 64");
  }
  for (uint32_t i = 0; i < factory->tools_count; ++i) {
    const baleen_tool* tool = factory->tool(i);
    if (tool == nullptr) return Unfit("its tool " + std::to_string(i) + " is NULL");
    ASSIGN_OR_RETURN(ToolSpec spec, SpecOf(*tool));
    manifest_.tools.push_back(std::move(spec));
    tools_.push_back(tool);
  }
  return OkStatus();
}

PluginLibrary::~PluginLibrary() {
  if (initialised_ && entry_->deinit != nullptr) entry_->deinit();
  if (handle_ != nullptr) dlclose(handle_);
}

ResultFrame PluginLibrary::Run(size_t tool, const ToolCall& call, PluginCallPort& port) const {
  baleen_call handle;
  handle.call = &call;
  handle.arguments = nlohmann::json::parse(call.arguments, nullptr, /*allow_exceptions=*/false);
  if (!handle.arguments.is_object()) handle.arguments = nlohmann::json::object();
  handle.port = &port;
  handle.output_bytes_max = manifest_.tools[tool].output_bytes_max;
  tools_[tool]->run(tools_[tool]->self, &kHost, &handle);
  const std::lock_guard<std::mutex> lock(handle.mutex);
  return handle.result;
}

}  // namespace baleen

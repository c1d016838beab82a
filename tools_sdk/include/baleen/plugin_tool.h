// Native tools in C++17: a thin, header-only wrapper over the C ABI of <baleen/plugin.h>.
//
//   BALEEN_PLUGIN("files", "1.0",
//                 Tool("count", "Counts the lines of a text.")
//                     .Argument<std::string>("text", "What is counted.")
//                     .Pure()
//                     .Run([](Call& call) { return CountLines(*call.Get<std::string>("text")); }));
//
// Exceptions that leave a body become the call's failure. Compile plugins with hidden visibility,
// so that two of them in one process share nothing.
#pragma once

#include <baleen/plugin.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace baleen::plugin {
inline namespace v1 {

/// Thrown by a body: how its call failed, for the model.
class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& text, int32_t failure = BALEEN_FAILURE_ERROR)
      : std::runtime_error(text), failure_(failure) {}
  int32_t failure() const { return failure_; }

 private:
  int32_t failure_;
};

inline baleen_slice Slice(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view View(baleen_slice slice) {
  return slice.size == 0 ? std::string_view() : std::string_view(slice.bytes, slice.size);
}

/// One call, while its body runs. Threads: any, until the body returns.
class Call {
 public:
  Call(const baleen_plugin_host* host, baleen_call* call) : host_(host), call_(call) {}

  /// The same when a call is made again after a crash.
  std::string_view id() const { return View(host_->call_id(call_)); }
  /// All arguments, as a JSON object.
  std::string_view arguments() const { return View(host_->arguments(call_)); }

  /// An argument: T is std::string, bool, an integer or a floating-point type. Empty: it wasn't
  /// given. Throws Failure if it is of another type.
  template <typename T>
  std::optional<T> Get(std::string_view name) const {
    int32_t answer = BALEEN_ANSWER_OK;
    T value{};
    if constexpr (std::is_same_v<T, bool>) {
      int32_t read = 0;
      answer = host_->argument_boolean(call_, Slice(name), &read);
      value = read != 0;
    } else if constexpr (std::is_integral_v<T>) {
      int64_t read = 0;
      answer = host_->argument_integer(call_, Slice(name), &read);
      value = static_cast<T>(read);
      if (answer == BALEEN_ANSWER_OK && static_cast<int64_t>(value) != read) {
        answer = BALEEN_ANSWER_WRONG_TYPE;
      }
    } else if constexpr (std::is_floating_point_v<T>) {
      double read = 0;
      answer = host_->argument_number(call_, Slice(name), &read);
      value = static_cast<T>(read);
    } else {
      static_assert(std::is_same_v<T, std::string>, "string, bool, integer or floating point");
      baleen_slice read = {nullptr, 0};
      answer = host_->argument_text(call_, Slice(name), &read);
      value = std::string(View(read));
    }
    if (answer == BALEEN_ANSWER_ABSENT) return std::nullopt;
    if (answer != BALEEN_ANSWER_OK) {
      throw Failure("The argument '" + std::string(name) +
                    "' is of another type, or out of range.");
    }
    return value;
  }

  /// Appends to what the model reads. false: nobody wants more, return soon.
  bool Write(std::string_view text) { return host_->write(call_, Slice(text)) == BALEEN_ANSWER_OK; }
  /// How far it has come, in a line.
  void Progress(std::string_view line) { host_->progress(call_, Slice(line)); }
  bool Cancelled() const { return host_->cancelled(call_) != 0; }
  /// Readable once the call is cancelled; -1: none. Not to be read or closed.
  int cancel_fd() const { return host_->cancel_fd(call_); }
  int64_t TimeLeftMs() const { return host_->time_left_ms(call_); }
  /// Throws what says that the call was broken off, if it is cancelled.
  void CheckCancelled() const {
    if (Cancelled()) throw Failure("The call was broken off.", BALEEN_FAILURE_ABORTED);
  }

  const baleen_plugin_host* host() const { return host_; }
  baleen_call* call() const { return call_; }

 private:
  const baleen_plugin_host* host_;
  baleen_call* call_;
};

/// `text` as a JSON string.
inline std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(c));
      quoted += escape;
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

/// A tool, declared step by step. Its effect is EFFECT unless it says better.
class Tool {
 public:
  Tool(std::string name, std::string description)
      : name_(std::move(name)), description_(std::move(description)) {}

  /// An argument that must be given; T as for Call::Get.
  template <typename T>
  Tool Argument(std::string_view name, std::string_view description) && {
    required_ += (required_.empty() ? "" : ",") + Quoted(name);
    return std::move(*this).template Optional<T>(name, description);
  }
  /// An argument that may be left out.
  template <typename T>
  Tool Optional(std::string_view name, std::string_view description) && {
    const char* type = std::is_same_v<T, bool>          ? "boolean"
                       : std::is_integral_v<T>          ? "integer"
                       : std::is_floating_point_v<T>    ? "number"
                       : std::is_same_v<T, std::string> ? "string"
                                                        : nullptr;
    static_assert(std::is_arithmetic_v<T> || std::is_same_v<T, std::string>);
    properties_ += (properties_.empty() ? "" : ",") + Quoted(name) + ":{\"type\":\"" + type +
                   "\",\"description\":" + Quoted(description) + "}";
    return std::move(*this);
  }
  /// Instead of Argument and Optional: the whole JSON Schema.
  Tool Parameters(std::string schema) && {
    schema_ = std::move(schema);
    return std::move(*this);
  }
  Tool Pure() && { return std::move(*this).Effect(BALEEN_EFFECT_PURE); }
  Tool Idempotent() && { return std::move(*this).Effect(BALEEN_EFFECT_IDEMPOTENT); }
  Tool TimeoutMs(int64_t timeout_ms) && {
    timeout_ms_ = timeout_ms;
    return std::move(*this);
  }
  Tool OutputBytesMax(int64_t bytes) && {
    output_bytes_max_ = bytes;
    return std::move(*this);
  }
  /// The body may run several times at once in one process.
  Tool Reentrant() && {
    flags_ |= BALEEN_TOOL_REENTRANT;
    return std::move(*this);
  }
  /// The body; a text that it returns is appended to what it wrote.
  Tool Run(std::function<std::string(Call&)> body) && {
    body_ = std::move(body);
    return std::move(*this);
  }

 private:
  friend class Declaration;

  Tool Effect(int32_t effect) && {
    effect_ = effect;
    return std::move(*this);
  }

  std::string name_;
  std::string description_;
  std::string properties_;
  std::string required_;
  std::string schema_;
  int32_t effect_ = BALEEN_EFFECT_EFFECT;
  uint64_t flags_ = 0;
  int64_t timeout_ms_ = 0;
  int64_t output_bytes_max_ = 0;
  std::function<std::string(Call&)> body_;
};

/// A plugin's tools as the C ABI shows them; made by BALEEN_PLUGIN.
class Declaration {
 public:
  template <typename... Tools>
  explicit Declaration(Tools&&... tools) {
    (Add(std::forward<Tools>(tools)), ...);
  }
  Declaration(const Declaration&) = delete;
  Declaration& operator=(const Declaration&) = delete;

  uint32_t size() const { return static_cast<uint32_t>(shown_.size()); }
  const baleen_tool* at(uint32_t index) const { return &shown_[index]; }

 private:
  void Add(Tool tool) {
    if (tool.schema_.empty()) {
      tool.schema_ = "{\"type\":\"object\",\"properties\":{" + tool.properties_ +
                     "},\"required\":[" + tool.required_ + "],\"additionalProperties\":false}";
    }
    tools_.push_back(std::make_unique<Tool>(std::move(tool)));
    Tool& kept = *tools_.back();
    baleen_tool shown{};
    shown.struct_size = sizeof(shown);
    shown.effect = kept.effect_;
    shown.flags = kept.flags_;
    shown.name = Slice(kept.name_);
    shown.description = Slice(kept.description_);
    shown.parameters = Slice(kept.schema_);
    shown.timeout_ms = kept.timeout_ms_;
    shown.output_bytes_max = kept.output_bytes_max_;
    shown.self = &kept;
    shown.run = &Declaration::Run;
    shown_.push_back(shown);
  }

  static void Run(void* self, const baleen_plugin_host* host, baleen_call* handle) {
    try {
      Call call(host, handle);
      const std::string text = static_cast<Tool*>(self)->body_(call);
      if (!text.empty()) call.Write(text);
    } catch (const Failure& failure) {
      host->fail(handle, failure.failure(), Slice(failure.what()));
    } catch (const std::exception& error) {
      host->fail(handle, BALEEN_FAILURE_ERROR, Slice(error.what()));
    } catch (...) {
      host->fail(handle, BALEEN_FAILURE_ERROR, Slice("The tool threw something unknown."));
    }
  }

  std::vector<std::unique_ptr<Tool>> tools_;
  std::vector<baleen_tool> shown_;
};

}  // namespace v1
}  // namespace baleen::plugin

/// Defines the plugin of this shared object: its name and version (literals), then its tools, which
/// are written without a namespace. They are made when the plugin is initialised.
#define BALEEN_PLUGIN(plugin_name, plugin_version, ...)                                          \
  namespace {                                                                                    \
  const ::baleen::plugin::Declaration& BaleenPluginTools() {                                     \
    using ::baleen::plugin::Call;                                                                \
    using ::baleen::plugin::Failure;                                                             \
    using ::baleen::plugin::Tool;                                                                \
    static const ::baleen::plugin::Declaration kTools(__VA_ARGS__);                              \
    return kTools;                                                                               \
  }                                                                                              \
  int32_t BaleenPluginInit(const baleen_plugin_host*, baleen_slice* why) {                       \
    try {                                                                                        \
      BaleenPluginTools();                                                                       \
      return 0;                                                                                  \
    } catch (...) {                                                                              \
      *why = BALEEN_SLICE("the declaration of its tools threw");                                 \
      return 1;                                                                                  \
    }                                                                                            \
  }                                                                                              \
  const baleen_tool* BaleenPluginTool(uint32_t index) { return BaleenPluginTools().at(index); }  \
  const void* BaleenPluginFactory(const char* id) {                                              \
    static const baleen_tool_factory kFactory = {sizeof(baleen_tool_factory),                    \
                                                 BaleenPluginTools().size(), &BaleenPluginTool}; \
    return std::string_view(id) == BALEEN_TOOL_FACTORY ? &kFactory : nullptr;                    \
  }                                                                                              \
  }                                                                                              \
  extern "C" {                                                                                   \
  const baleen_plugin baleen_plugin_entry = {                                                    \
      sizeof(baleen_plugin),     BALEEN_PLUGIN_ABI_MAJOR,      BALEEN_PLUGIN_ABI_MINOR, 0,       \
      BALEEN_SLICE(plugin_name), BALEEN_SLICE(plugin_version), &BaleenPluginInit,       nullptr, \
      &BaleenPluginFactory};                                                                     \
  }                                                                                              \
  static_assert(true, "a semicolon follows")

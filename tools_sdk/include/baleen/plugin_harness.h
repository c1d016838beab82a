// Calls a plugin's tools in its author's tests, without a runtime, and checks the plugin's
// promises.
//
//   baleen::plugin::Harness harness(baleen_plugin_entry);
//   const auto seen = harness.Call("count", {{"text", "a\nb"}});
//   assert(seen.ok && seen.output == "2 lines");
//
// C++17, header-only. The plugin is linked into the test, or its entry was found by dlsym. The
// host's rules hold: output limits, the first `fail` counts, wrong types are told.
#pragma once

#include <baleen/plugin.h>
#include <baleen/plugin_tool.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <initializer_list>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace baleen::plugin {
inline namespace v1 {

/// An argument of a call in a test.
class Value {
 public:
  Value(const char* text) : value_(std::string(text)) {}  // NOLINT(google-explicit-constructor)
  Value(std::string text) : value_(std::move(text)) {}    // NOLINT(google-explicit-constructor)
  Value(bool boolean) : value_(boolean) {}                // NOLINT(google-explicit-constructor)
  Value(int integer) : value_(int64_t{integer}) {}        // NOLINT(google-explicit-constructor)
  Value(int64_t integer) : value_(integer) {}             // NOLINT(google-explicit-constructor)
  Value(double number) : value_(number) {}                // NOLINT(google-explicit-constructor)

  std::string Json() const {
    if (const auto* text = std::get_if<std::string>(&value_)) return Quoted(*text);
    if (const auto* boolean = std::get_if<bool>(&value_)) return *boolean ? "true" : "false";
    if (const auto* integer = std::get_if<int64_t>(&value_)) return std::to_string(*integer);
    char digits[40];
    std::snprintf(digits, sizeof(digits), "%.17g", std::get<double>(value_));
    return digits;
  }
  const std::variant<std::string, bool, int64_t, double>& value() const { return value_; }

 private:
  std::variant<std::string, bool, int64_t, double> value_;
};

/// What came of a call.
struct Seen {
  bool ok = true;
  int32_t failure = 0;   ///< BALEEN_FAILURE_*, if it isn't ok.
  std::string text;      ///< Of the failure.
  std::string output;    ///< What the model would read.
  std::string progress;  ///< The last line.
  bool full = false;     ///< Output beyond the limit was dropped.
};

struct CallOptions {
  std::string id = "t1.c1";
  bool cancelled = false;         ///< From the start.
  int cancel_after_writes = -1;   ///< Cancelled by the tool's so manieth write; -1: never.
  int64_t time_left_ms = 30'000;  ///< As the tool is told.
};

class Harness {
 public:
  /// Initialises the plugin. Throws std::runtime_error naming the promise that it breaks.
  explicit Harness(const baleen_plugin& plugin) : plugin_(plugin) {
    Check(plugin.struct_size >= sizeof(baleen_plugin), "the entry's struct_size is too small");
    Check(plugin.abi_major == BALEEN_PLUGIN_ABI_MAJOR, "the entry has another abi_major");
    Check(plugin.get_factory != nullptr, "the entry has no get_factory");
    baleen_slice why = {nullptr, 0};
    if (plugin.init != nullptr && plugin.init(&Host(), &why) != 0) {
      throw std::runtime_error("init failed: " + std::string(View(why)));
    }
    const auto* factory =
        static_cast<const baleen_tool_factory*>(plugin.get_factory(BALEEN_TOOL_FACTORY));
    Check(factory != nullptr, "get_factory doesn't know baleen.tools/1");
    Check(factory->struct_size >= sizeof(baleen_tool_factory), "the factory is too small");
    Check(factory->tools_count > 0 && factory->tools_count <= 64, "1 to 64 tools are expected");
    for (uint32_t i = 0; i < factory->tools_count; ++i) {
      const baleen_tool* tool = factory->tool(i);
      Check(tool != nullptr, "a tool is NULL");
      Check(tool->struct_size >= sizeof(baleen_tool), "a tool's struct_size is too small");
      Check(tool->run != nullptr, "a tool has no run");
      Check(!View(tool->parameters).empty() && View(tool->parameters)[0] == '{',
            "a tool's parameters are no JSON object");
      Check(tools_.emplace(std::string(View(tool->name)), tool).second, "two tools have one name");
    }
  }
  ~Harness() {
    if (plugin_.deinit != nullptr) plugin_.deinit();
  }
  Harness(const Harness&) = delete;
  Harness& operator=(const Harness&) = delete;

  /// Throws std::out_of_range for a tool that the plugin doesn't have. The arguments are not
  /// checked against the tool's schema, which a runtime does.
  Seen Call(const std::string& tool, std::map<std::string, Value> arguments,
            const CallOptions& options = {}) const;

  const baleen_tool& tool(const std::string& name) const { return *tools_.at(name); }

 private:
  static void Check(bool kept, const char* promise) {
    if (!kept) throw std::runtime_error(promise);
  }
  static const baleen_plugin_host& Host();

  const baleen_plugin& plugin_;
  std::map<std::string, const baleen_tool*> tools_;
};

}  // namespace v1
}  // namespace baleen::plugin

/// The harness's side of a call.
struct baleen_call {
  std::map<std::string, baleen::plugin::Value> arguments;
  std::string json;
  baleen::plugin::CallOptions options;
  size_t output_bytes_max = 0;
  baleen::plugin::Seen seen;
  std::mutex mutex;
  std::atomic<bool> cancelled{false};
  int writes = 0;
  int pipe[2] = {-1, -1};

  ~baleen_call() {
    for (const int fd : pipe) {
      if (fd >= 0) close(fd);
    }
  }
  void Cancel() {
    if (!cancelled.exchange(true) && pipe[1] >= 0) {
      close(pipe[1]);  // the other end becomes readable, for good
      pipe[1] = -1;
    }
  }
  template <typename T>
  const T* Find(baleen_slice name, int32_t* answer) const {
    const auto found = arguments.find(std::string(baleen::plugin::View(name)));
    *answer = found == arguments.end() ? BALEEN_ANSWER_ABSENT : BALEEN_ANSWER_WRONG_TYPE;
    if (found == arguments.end()) return nullptr;
    const T* value = std::get_if<T>(&found->second.value());
    if (value != nullptr) *answer = BALEEN_ANSWER_OK;
    return value;
  }
};

namespace baleen::plugin {
inline namespace v1 {

inline const baleen_plugin_host& Harness::Host() {
  static const baleen_plugin_host kHost = [] {
    baleen_plugin_host host{};
    host.struct_size = sizeof(host);
    host.abi_major = BALEEN_PLUGIN_ABI_MAJOR;
    host.abi_minor = BALEEN_PLUGIN_ABI_MINOR;
    host.call_id = [](const baleen_call* call) { return Slice(call->options.id); };
    host.arguments = [](const baleen_call* call) { return Slice(call->json); };
    host.argument_text = [](const baleen_call* call, baleen_slice name, baleen_slice* value) {
      int32_t answer = 0;
      const auto* found = call->Find<std::string>(name, &answer);
      if (found != nullptr) *value = Slice(*found);
      return answer;
    };
    host.argument_boolean = [](const baleen_call* call, baleen_slice name, int32_t* value) {
      int32_t answer = 0;
      const auto* found = call->Find<bool>(name, &answer);
      if (found != nullptr) *value = *found ? 1 : 0;
      return answer;
    };
    host.argument_integer = [](const baleen_call* call, baleen_slice name, int64_t* value) {
      int32_t answer = 0;
      if (const auto* found = call->Find<int64_t>(name, &answer)) {
        *value = *found;
        return answer;
      }
      const auto* number = call->Find<double>(name, &answer);
      if (number == nullptr) return answer;
      if (std::trunc(*number) != *number || std::fabs(*number) >= 9.2e18) {
        return int32_t{BALEEN_ANSWER_WRONG_TYPE};
      }
      *value = static_cast<int64_t>(*number);
      return answer;
    };
    host.argument_number = [](const baleen_call* call, baleen_slice name, double* value) {
      int32_t answer = 0;
      if (const auto* found = call->Find<int64_t>(name, &answer)) {
        *value = static_cast<double>(*found);
        return answer;
      }
      const auto* number = call->Find<double>(name, &answer);
      if (number != nullptr) *value = *number;
      return answer;
    };
    host.write = [](baleen_call* call, baleen_slice bytes) {
      const std::lock_guard<std::mutex> lock(call->mutex);
      std::string& output = call->seen.output;
      const size_t room = call->output_bytes_max - output.size();
      output += View(bytes).substr(0, room);
      if (++call->writes == call->options.cancel_after_writes) call->Cancel();
      if (bytes.size > room) call->seen.full = true;
      return int32_t{call->seen.full ? BALEEN_ANSWER_FULL : BALEEN_ANSWER_OK};
    };
    host.progress = [](baleen_call* call, baleen_slice line) {
      const std::lock_guard<std::mutex> lock(call->mutex);
      call->seen.progress = std::string(View(line).substr(0, 200));
      return int32_t{BALEEN_ANSWER_OK};
    };
    host.fail = [](baleen_call* call, int32_t failure, baleen_slice text) {
      const std::lock_guard<std::mutex> lock(call->mutex);
      if (!call->seen.ok) return;
      call->seen.ok = false;
      call->seen.failure = failure;
      call->seen.text = std::string(View(text));
    };
    host.cancelled = [](const baleen_call* call) { return int32_t{call->cancelled ? 1 : 0}; };
    host.cancel_fd = [](const baleen_call* call) { return call->pipe[0]; };
    host.time_left_ms = [](const baleen_call* call) { return call->options.time_left_ms; };
    return host;
  }();
  return kHost;
}

inline Seen Harness::Call(const std::string& name, std::map<std::string, Value> arguments,
                          const CallOptions& options) const {
  const baleen_tool& tool = *tools_.at(name);
  baleen_call call;
  for (const auto& [key, value] : arguments) {
    call.json += (call.json.empty() ? "{" : ",") + Quoted(key) + ":" + value.Json();
  }
  call.json += call.json.empty() ? "{}" : "}";
  call.arguments = std::move(arguments);
  call.options = options;
  call.output_bytes_max =
      tool.output_bytes_max == 0 ? 65536 : static_cast<size_t>(tool.output_bytes_max);
  if (pipe(call.pipe) != 0) throw std::runtime_error("no pipe for cancel_fd");
  if (options.cancelled) call.Cancel();
  tool.run(tool.self, &Host(), &call);
  return call.seen;
}

}  // namespace v1
}  // namespace baleen::plugin

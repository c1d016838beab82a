// What the daemon says of itself, on stderr: lines of text, or JSON lines.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace spdlog {
class logger;
}

namespace baleen::cli {

struct LogSettings {
  std::string level = "info";   ///< trace, debug, info, warn, error or off.
  std::string format = "text";  ///< text or json.
};

/// Threads: every method from any thread.
class DaemonLog {
 public:
  explicit DaemonLog(const LogSettings& settings);
  ~DaemonLog();
  DaemonLog(const DaemonLog&) = delete;
  DaemonLog& operator=(const DaemonLog&) = delete;

  using Fields = nlohmann::ordered_json;
  /// `fields`, an object, follow the message: ` name=value`, or as members of the JSON line.
  void Debug(const std::string& message, const Fields& fields = Fields::object());
  void Info(const std::string& message, const Fields& fields = Fields::object());
  void Warn(const std::string& message, const Fields& fields = Fields::object());
  void Error(const std::string& message, const Fields& fields = Fields::object());

 private:
  void Write(int level, const std::string& message, const Fields& fields);

  const bool json_;
  std::shared_ptr<spdlog::logger> logger_;  // owners: this and spdlog's registry
};

}  // namespace baleen::cli

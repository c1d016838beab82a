#include "runtime/cli/daemon_log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>

namespace baleen::cli {
namespace {

/// RFC 3339, UTC, milliseconds.
std::string NowText() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm utc = {};
  gmtime_r(&seconds, &utc);
  char date[32];
  const size_t length = std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch());
  std::string part = std::to_string(ms.count() % 1000);
  part.insert(0, 3 - part.size(), '0');
  return std::string(date, length) + "." + part + "Z";
}

std::string LevelName(int level) {
  const auto name = spdlog::level::to_string_view(static_cast<spdlog::level::level_enum>(level));
  return {name.data(), name.size()};
}

}  // namespace

DaemonLog::DaemonLog(const LogSettings& settings)
    : json_(settings.format == "json"),
      logger_(std::make_shared<spdlog::logger>("baleen",
                                               std::make_shared<spdlog::sinks::stderr_sink_mt>())) {
  logger_->set_pattern("%v");
  logger_->set_level(spdlog::level::from_str(settings.level));
}

DaemonLog::~DaemonLog() = default;

void DaemonLog::Write(int level, const std::string& message, const Fields& fields) {
  const auto spd_level = static_cast<spdlog::level::level_enum>(level);
  if (!logger_->should_log(spd_level)) return;
  constexpr auto kReplace = Fields::error_handler_t::replace;  // bytes that aren't UTF-8
  if (json_) {
    Fields line = {{"time", NowText()}, {"level", LevelName(level)}, {"message", message}};
    line.update(fields);
    logger_->log(spd_level, "{}", line.dump(-1, ' ', false, kReplace));
    return;
  }
  std::string line = NowText() + " " + LevelName(level) + " " + message;
  for (const auto& [name, value] : fields.items()) {
    line += " " + name + "=" + value.dump(-1, ' ', false, kReplace);
  }
  logger_->log(spd_level, "{}", line);
}

void DaemonLog::Debug(const std::string& message, const Fields& fields) {
  Write(spdlog::level::debug, message, fields);
}
void DaemonLog::Info(const std::string& message, const Fields& fields) {
  Write(spdlog::level::info, message, fields);
}
void DaemonLog::Warn(const std::string& message, const Fields& fields) {
  Write(spdlog::level::warn, message, fields);
}
void DaemonLog::Error(const std::string& message, const Fields& fields) {
  Write(spdlog::level::err, message, fields);
}

}  // namespace baleen::cli

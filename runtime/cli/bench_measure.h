// What the benches share: medians, cold files, raw limits.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools_sdk/status.h"

namespace CLI {
class App;
}

namespace baleen::cli {

using Json = nlohmann::ordered_json;
using SteadyTime = std::chrono::steady_clock::time_point;

double MsSince(SteadyTime start);
double UsSince(SteadyTime start);
/// Of the process and its threads so far, user and system.
double CpuMs();

struct Spread {
  double low = 0;
  double median = 0;
  double high = 0;
};

/// Requires: not empty.
Spread Summarise(std::vector<double> values);
Json ToJson(const Spread& spread);

/// Drops the files below `folder` from the page cache, so that the next read goes to the disk.
void ForgetFiles(const std::string& folder);
/// Reads every file below `folder`; returns the bytes.
int64_t ReadFiles(const std::string& folder, std::vector<char>* buffer);
/// Milliseconds of appending `bytes` to a file in `folder` and syncing it.
Result<double> SyncedAppendMs(const std::string& folder, int64_t bytes);

/// Adds `resume`, `fork` and `writes`: what needs an engine and a model.
void AddEngineBenches(CLI::App& bench, int* exit_code);
/// Adds `sessions`: thousands that are stored, listed, searched and opened.
void AddBenchSessions(CLI::App& bench, int* exit_code);
/// Adds `events`, in builds with gRPC: an event's way to a watcher.
void AddBenchEvents(CLI::App& bench, int* exit_code);

}  // namespace baleen::cli

// Benchmarks of the session store at V4-Flash's shape, beside the disk's own limits.
//
// Subject and limit take turns in one process and run; medians with spread. Called by
// bench_commands.cc.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/cli/bench_measure.h"
#include "tools_sdk/status.h"

namespace baleen::cli {

struct StoreBenchFlags {
  std::string shape = "flash";
  int64_t tokens = 1 << 20;
  int64_t block_tokens = 256;
  int64_t checkpoint_tokens = 4096;
  int repeats = 5;
  int reader_threads = 4;
  bool json = false;
};

/// Bytes per token and write amplification of a session that grows to `tokens`.
Result<Json> BenchStoreGrowth(const StoreBenchFlags& flags, const std::string& folder);
/// Cold and warm: all units, and those that a first token needs, beside raw reads of the same
/// bytes.
Result<Json> BenchStoreResume(const StoreBenchFlags& flags, const std::string& folder);
/// A quota forces half of eight sessions out while another grows.
Result<Json> BenchStoreEviction(const StoreBenchFlags& flags, const std::string& folder);

/// The synced commit of a turn of `tokens`, beside append and fdatasync of the same bytes; and what
/// is written behind it.
Result<Json> BenchCommit(const StoreBenchFlags& flags, const std::string& folder);

/// Forks of a session of a million tokens, as its owner asks for them: one synced commit of the
/// journal, beside one synced write of 4 KB.
Result<Json> BenchSessionFork(int repeats, const std::string& folder);

/// Adds `store`, `evict` and `commit`.
void AddStoreBenches(CLI::App& bench, int* exit_code);
/// Runs BenchStoreResume and prints it. Returns the exit code.
int RunStoreResume(const StoreBenchFlags& flags);

}  // namespace baleen::cli

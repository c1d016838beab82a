// What the subcommands of `baleen sessions` share.
#pragma once

#include <CLI/App.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime/cli/flags.h"
#include "runtime/session.h"

namespace baleen::cli {

struct SessionFlags {
  RuntimeFlags runtime;
  std::string session;
  bool json = false;
  int64_t begin = 0;
  int64_t count = 1 << 20;
  // History.
  std::string turn;
  int64_t tokens = -1;  ///< -1: not given.
  int64_t timeline = 0;
  std::string fork;
  std::string title;
  std::string expected_head;
  std::string words;
  int64_t hits_max = 50;
  bool left_timelines = false;
  std::string path;
  bool dry_run = false;
  bool files = false;
  bool both = false;
  bool yes = false;
  std::string workspace;
  bool trust_kv = false;
  bool after_turn = false;
  double unused_days = 0;
  int64_t bytes_max = 0;
  UpdateSessionRequest update;  ///< Settings and mask alone.
  std::string tenant;
};

/// As JSON, or a name and a value a line.
void PrintFields(const nlohmann::ordered_json& fields, bool json);

using SessionCommand = int (*)(const SessionFlags& flags);
/// Makes a subcommand of `sessions` with the flags that all have.
using AddSessionCommand =
    std::function<CLI::App*(const char* name, const char* about, SessionCommand body)>;

/// export, import.
void AddPorting(const AddSessionCommand& add, SessionFlags& flags);
/// search, explain, prefetch, release, backup, compact, prune.
void AddUpkeep(const AddSessionCommand& add, SessionFlags& flags);
/// update.
void AddUpdate(const AddSessionCommand& add, SessionFlags& flags);
/// fork, rewind, undo, delete, pin, unpin.
void AddHistory(const AddSessionCommand& add, SessionFlags& flags);

}  // namespace baleen::cli

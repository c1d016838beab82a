// Flags shared by the commands, and how a command gets a Runtime.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <memory>
#include <string>

#include "runtime/cli/config_file.h"
#include "runtime/cli/exit_code.h"
#include "runtime/cli/settings.h"
#include "runtime/runtime.h"
#include "tools_sdk/status.h"

namespace baleen::cli {

/// Makes the folders above a data directory, which itself is made (0700) when it is opened.
void MakeParents(const std::string& data_dir);

/// Where sessions are: a daemon, or a data directory opened in this process.
struct RuntimeFlags {
  ClientSettings client;
  RuntimeOptions options;
  ReadConfig config;

  /// May be called for several commands, of which one will run.
  void AddTo(CLI::App& app);
};

/// The daemon that --server or baleen.toml names; without one, and without --data-dir, the daemon
/// at the default address if it answers; else the data directory in this process. --plugin and
/// --mcp: in this process.
Result<std::unique_ptr<Runtime>> OpenRuntime(RuntimeFlags flags);

struct SamplingFlags {
  SamplingSettings sampling;
  int64_t tokens_max = 256;

  void AddTo(CLI::App& app);
};

/// A whole file. Errors: NOT_FOUND.
Result<std::string> ReadTextFile(const std::string& path);

/// What a turn is kept to.
struct ConstraintFlags {
  std::string tool_choice;         ///< Empty: not given.
  std::string answer_schema_file;  ///< Empty: not given.
  int64_t thinking_budget = -1;

  void AddTo(CLI::App& app);
  /// Unset if no flag was given. Errors: NOT_FOUND (the schema's file).
  Result<std::optional<ConstraintSettings>> Read() const;
};

/// `model`; if it is empty, what $BALEEN_MODEL names; if that is empty, the default model's folder.
/// Errors: as DefaultModelPath's.
Result<std::string> ModelOrDefault(const std::string& model);

/// For a terminal, where a control character could move the cursor or change colours: those are
/// shown as '?', also the ones that two bytes of UTF-8 make (U+0080 to U+009F), and a line's end as
/// a space.
std::string PlainText(const std::string& text);

/// Prints `status` as text or JSON on stderr and gives the exit code for it.
int Fail(const Status& status, bool json);

/// A command's body is run after parsing; its exit code lands in `*exit_code`.
using Registrar = void (*)(CLI::App& app, int* exit_code);

void AddServe(CLI::App& app, int* exit_code);
void AddConfigCommand(CLI::App& app, int* exit_code);
void AddToken(CLI::App& app, int* exit_code);
void AddChat(CLI::App& app, int* exit_code);
void AddRun(CLI::App& app, int* exit_code);
void AddSessions(CLI::App& app, int* exit_code);
void AddApprovals(CLI::App& app, int* exit_code);
void AddNotes(CLI::App& app, int* exit_code);
void AddGenerate(CLI::App& app, int* exit_code);
void AddLogits(CLI::App& app, int* exit_code);
void AddText(CLI::App& app, int* exit_code);
void AddModel(CLI::App& app, int* exit_code);
void AddBench(CLI::App& app, int* exit_code);
void AddBenchMask(CLI::App& bench, int* exit_code);
void AddCorpus(CLI::App& app, int* exit_code);
void AddLua(CLI::App& app, int* exit_code);
void AddScripts(CLI::App& app, int* exit_code);
void AddEval(CLI::App& app, int* exit_code);

}  // namespace baleen::cli

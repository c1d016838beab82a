// `baleen chat` and `baleen run`: turns of a session, streamed to the terminal.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "runtime/cli/approval_commands.h"
#include "runtime/cli/chat_prompt.h"
#include "runtime/cli/event_printer.h"
#include "runtime/cli/flags.h"
#include "runtime/cli/policy_flags.h"
#include "tools_sdk/utf8.h"

namespace baleen::cli {
namespace {

struct TurnFlags {
  RuntimeFlags runtime;
  SamplingFlags sampling;
  ConstraintFlags constraint;
  std::string session;
  std::string workspace;
  std::string system;
  std::string thinking = "chat";
  std::string engine;
  std::string goal;
  std::vector<std::string> notes;
  int32_t compact_at = 90;
  std::string script_file;
  std::string stored_script;
  std::vector<std::string> tools;
  std::vector<std::string> defer_tools;
  std::vector<std::string> network_hosts;
  std::vector<std::string> readable_secrets;
  PolicyFlags policy;
  BudgetSettings budget;
  std::vector<std::string> input;
  std::vector<std::string> input_files;
  std::vector<std::string> arguments;
  bool trace = false;
  bool json = false;
};

/// The session that the flags name, created if it isn't there.
Result<SessionView> OpenSession(Runtime& runtime, const TurnFlags& flags) {
  if (!flags.session.empty()) {
    auto existing = runtime.GetSession(flags.session);
    if (existing.ok() || existing.status().code() != StatusCode::kNotFound) return existing;
  }
  CreateSessionRequest request;
  request.session = flags.session;
  request.settings.workspace = flags.workspace;
  request.settings.tools = flags.tools;
  request.settings.defer_tools = flags.defer_tools;
  request.settings.network_hosts = flags.network_hosts;
  request.settings.readable_secrets = flags.readable_secrets;
  request.settings.system_prompt = flags.system;
  request.settings.thinking = flags.thinking;
  request.settings.engine = flags.engine;
  request.settings.goal = flags.goal;
  request.settings.notes = flags.notes;
  request.settings.compact_at_percent = flags.compact_at;
  request.settings.sampling = flags.sampling.sampling;
  request.settings.tokens_max = flags.sampling.tokens_max;
  request.settings.policy.rules = flags.policy.Rules();
  if (!flags.script_file.empty()) {
    ASSIGN_OR_RETURN(request.settings.script, ReadTextFile(flags.script_file));
    request.settings.script_name = flags.script_file;
    request.settings.title = flags.script_file;
  }
  if (!flags.stored_script.empty()) {
    request.stored_script = flags.stored_script;
    request.settings.title = flags.stored_script;
  }
  ASSIGN_OR_RETURN(SessionView made, runtime.CreateSession(request));
  for (const std::string& note : made.policy_notes) std::cerr << "[" << note << "]\n";
  return made;
}

/// What the session's turn waits for, its subagents' questions included: asks it on the terminal,
/// or says how it can be answered. `known`: what was told already.
Status TellApprovals(Runtime& runtime, const std::string& session, bool json,
                     std::set<std::pair<std::string, std::string>>* known) {
  ASSIGN_OR_RETURN(const std::vector<ApprovalView> open, runtime.ListApprovals({session, false}));
  for (const ApprovalView& approval : open) {
    if (!known->emplace(approval.session, approval.approval).second) continue;
    if (!json && isatty(STDIN_FILENO) != 0) {
      RETURN_IF_ERROR(AskOnTerminal(runtime, approval.session, approval.approval));
    } else {
      std::cerr << "[it waits: `baleen approvals grant " << approval.session << " "
                << approval.approval << "`, or deny]\n";
    }
  }
  return OkStatus();
}

/// Watches `turn` from the event after `cursor` to its end.
Result<TurnView> Follow(Runtime& runtime, const std::string& session, const std::string& turn,
                        const std::string& cursor, bool json, EventPrinter& printer) {
  WatchOptions watch;
  watch.session = session;
  watch.after = cursor;
  ASSIGN_OR_RETURN(const auto subscription, runtime.Watch(watch, &printer));
  std::set<std::pair<std::string, std::string>> known;
  bool ended = false;
  while (!ended) {
    // First what it waited for before anybody watched.
    RETURN_IF_ERROR(TellApprovals(runtime, session, json, &known));
    ASSIGN_OR_RETURN(ended, printer.WaitForTurn(turn));
  }
  return runtime.GetTurn(session, turn);
}

PrintForm FormOf(const TurnFlags& flags) {
  return flags.json ? PrintForm::kJson : PrintForm::kText;
}

Result<TurnView> RunTurn(Runtime& runtime, const TurnFlags& flags, const SessionView& session,
                         const std::vector<std::string>& input, EventPrinter& printer) {
  StartTurnRequest request;
  request.session = session.session;
  request.input = input;
  request.sampling = flags.sampling.sampling;
  request.tokens_max = flags.sampling.tokens_max;
  request.trace_logits = flags.trace;
  const BudgetSettings& budget = flags.budget;
  if (budget.tokens != 0 || budget.wall_ms != 0 || budget.tool_calls != 0) request.budget = budget;
  ASSIGN_OR_RETURN(request.constraint, flags.constraint.Read());
  ASSIGN_OR_RETURN(const SessionView before, runtime.GetSession(session.session));
  ASSIGN_OR_RETURN(const TurnView turn, runtime.StartTurn(request));
  return Follow(runtime, session.session, turn.turn, before.head_cursor, flags.json, printer);
}

void PrintUsage(const TurnView& turn) {
  std::fprintf(stderr,
               "[%lld generated, %lld prefilled, %lld reused from RAM, %lld from disk, %lld "
               "recomputed]\n",
               static_cast<long long>(turn.tokens_generated),
               static_cast<long long>(turn.tokens_prefilled),
               static_cast<long long>(turn.tokens_reused_ram),
               static_cast<long long>(turn.tokens_reused_disk),
               static_cast<long long>(turn.tokens_recomputed));
}

/// A branch of the session as it stands, to go on with; the session itself stays as it is.
Result<SessionView> Branch(Runtime& runtime, const SessionView& session) {
  ForkRequest request;
  request.session = session.session;
  ASSIGN_OR_RETURN(SessionView fork, runtime.ForkSession(request));
  std::cerr << "\n[forked: now in " << fork.session << ", " << fork.tokens
            << " tokens; `baleen chat "
            << "--session " << session.session << "` goes back]\n";
  return fork;
}

int Chat(const TurnFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto session = OpenSession(**runtime, flags);
  if (!session.ok()) return Fail(session.status(), flags.json);
  const bool terminal = isatty(STDIN_FILENO) != 0;
  const PromptKeys keys;
  std::cerr << "session " << session->session << ", " << session->tokens
            << " tokens; end with Ctrl-D"
            << (terminal ? ", fork with Ctrl-F, show what was thought with Ctrl-T" : "") << "\n";
  if (!session->open_turn.empty()) {
    EventPrinter printer(FormOf(flags));
    auto turn = Follow(**runtime, session->session, session->open_turn, session->head_cursor,
                       flags.json, printer);
    if (!turn.ok()) return Fail(turn.status(), flags.json);
  }
  std::string line;
  std::string reasoning;
  while (true) {
    if (terminal) std::cerr << "> ";
    const PromptKey key = ReadPrompt(&line);
    if (key == PromptKey::kEnd) return kExitOk;
    if (key == PromptKey::kUnfold) {
      std::cerr << "\n" << (reasoning.empty() ? "[nothing was thought]" : reasoning) << "\n";
      continue;
    }
    if (key == PromptKey::kFork) {
      session = Branch(**runtime, *session);
      if (!session.ok()) return Fail(session.status(), flags.json);
    }
    if (line.empty()) continue;
    EventPrinter printer(FormOf(flags));
    auto turn = RunTurn(**runtime, flags, *session, {line}, printer);
    if (!turn.ok()) return Fail(turn.status(), flags.json);
    reasoning = printer.reasoning();
    if (!flags.json) PrintUsage(*turn);
  }
}

/// What `--arg NAME=VALUE` make of the input: a JSON object. Errors: INVALID_ARGUMENT.
Result<std::string> ArgumentsObject(const std::vector<std::string>& arguments) {
  auto object = nlohmann::ordered_json::object();
  for (const std::string& argument : arguments) {
    const auto bad = [&](const std::string& what) {
      return InvalidArgumentError(
          "--arg '" + ReplaceInvalidUtf8(argument.substr(0, 80)) + "': " + what, "BAD_FIELD");
    };
    const size_t equals = argument.find('=');
    if (equals == std::string::npos) return bad("expected NAME=VALUE, got no '='");
    if (equals == 0) return bad("expected a name before the '='");
    if (Utf8ValidPrefix(argument) != argument.size()) return bad("it is not valid UTF-8");
    const std::string name = argument.substr(0, equals);
    if (object.contains(name)) return bad("'" + name + "' is given twice");
    object[name] = argument.substr(equals + 1);
  }
  return object.dump();
}

int RunScript(const TurnFlags& flags) {
  auto object = ArgumentsObject(flags.arguments);
  if (!object.ok()) return Fail(object.status(), flags.json);
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto session = OpenSession(**runtime, flags);
  if (!session.ok()) return Fail(session.status(), flags.json);
  std::cerr << "session " << session->session << "\n";
  Result<TurnView> turn = InternalError("not run");
  EventPrinter printer(FormOf(flags));
  if (!session->open_turn.empty()) {
    // The run was broken off: it continues by itself, and is watched to its end.
    turn = Follow(**runtime, session->session, session->open_turn, session->head_cursor, flags.json,
                  printer);
  } else {
    std::vector<std::string> input = flags.input;
    for (const std::string& path : flags.input_files) {
      auto text = ReadTextFile(path);
      if (!text.ok()) return Fail(text.status(), flags.json);
      input.push_back(std::move(text).value());
    }
    if (!flags.arguments.empty()) input.push_back(std::move(object).value());
    turn = RunTurn(**runtime, flags, *session, input, printer);
  }
  if (!turn.ok()) return Fail(turn.status(), flags.json);
  if (turn->state != TurnState::kSucceeded) return Fail(turn->error, flags.json);
  if (!flags.json) {
    std::cout << turn->text << "\n";
    PrintUsage(*turn);
  }
  return kExitOk;
}

void AddCommon(CLI::App& command, const std::shared_ptr<TurnFlags>& flags) {
  flags->runtime.AddTo(command);
  flags->sampling.AddTo(command);
  flags->constraint.AddTo(command);
  command.add_option("--session", flags->session, "Session to use; made if it doesn't exist");
  command.add_option("--workspace", flags->workspace, "Folder that the file tools may read");
  command
      .add_option("--tools", flags->tools,
                  "Built-in tools of a new session beside read, list and grep: glob, write, edit, "
                  "todo, ask_user, remember, recall, task, find_tools, web_fetch, bash")
      ->delimiter(',');
  command
      .add_option("--defer-tools", flags->defer_tools,
                  "With find_tools: which tools of plugins, servers and HTTP a new session's model "
                  "must find before it can call them, as 'github_*'; default: all")
      ->delimiter(',');
  command
      .add_option("--allow-host", flags->network_hosts,
                  "Host that bash and plugins of a new session may reach: HOST, *.DOMAIN or *, "
                  "with :PORT if it is one alone; may be repeated; default: none")
      ->allow_extra_args(false);
  command
      .add_option("--allow-secret-file", flags->readable_secrets,
                  "Secret file of the workspace (.env, a private key ...) that tools and commands "
                  "of a new session may read: its path below it, or a pattern as 'config/.env.*'; "
                  "may be repeated; default: none")
      ->allow_extra_args(false);
  command.add_option("--system", flags->system, "System prompt of a new session");
  command.add_option("--thinking", flags->thinking, "chat or thinking, for a new session")
      ->check(CLI::IsMember({"chat", "thinking"}));
  command.add_option("--engine", flags->engine,
                     "What a new session thinks with: remote:NAME of [engines.NAME] in "
                     "baleen.toml; default: the embedded engine");
  command.add_option("--goal", flags->goal,
                     "Of a new session: what compactions of its context keep word for word; "
                     "default: what the first turn is told");
  command.add_option("--note", flags->notes, "The same, for what else must not be lost");
  command
      .add_option("--compact-at", flags->compact_at,
                  "Percent of the context at which a new session's is compacted; 0: never")
      ->capture_default_str()
      ->check(CLI::Range(0, 99));
  flags->policy.AddTo(command);
  command.add_option("--budget-tokens", flags->budget.tokens,
                     "Tokens after which a turn pauses and asks; 0: no limit");
  command.add_option("--budget-calls", flags->budget.tool_calls, "The same for calls of tools");
  command.add_option("--budget-ms", flags->budget.wall_ms, "The same for working milliseconds");
  command.add_flag("--trace", flags->trace, "Journal a hash of the logits behind every token");
  command.add_flag("--json", flags->json, "Events as JSON lines");
}

}  // namespace

void AddChat(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<TurnFlags>();  // owners: the callback below
  CLI::App* command = app.add_subcommand("chat", "Talk to a session, a line per turn");
  AddCommon(*command, flags);
  command->callback([flags, exit_code] { *exit_code = Chat(*flags); });
}

void AddRun(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<TurnFlags>();  // owners: the callback below
  CLI::App* command = app.add_subcommand(
      "run", "Run a Lua script as one turn; with --session, continue a run that was broken off");
  CLI::Option_group* source = command->add_option_group("script");
  source->require_option(1);
  source->add_option("file", flags->script_file, "Lua file")->check(CLI::ExistingFile);
  source->add_option("--stored", flags->stored_script,
                     "Instead: a script that `baleen scripts put` keeps");
  CLI::Option* input =
      command->add_option("--input", flags->input, "User text; may be given several times");
  CLI::Option* files =
      command->add_option("--input-file", flags->input_files, "User text from files");
  command
      ->add_option("--arg", flags->arguments,
                   "NAME=VALUE, which a flow reads as input.NAME: the user text is a JSON object "
                   "of these; may be given several times")
      ->allow_extra_args(false)
      ->excludes(input)
      ->excludes(files);
  AddCommon(*command, flags);
  command->callback([flags, exit_code] { *exit_code = RunScript(*flags); });
}

}  // namespace baleen::cli

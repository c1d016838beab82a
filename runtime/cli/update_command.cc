// `baleen sessions update`: each flag that is given is a setting that changes.
#include <CLI/CLI.hpp>
#include <iostream>
#include <string>
#include <vector>

#include "runtime/cli/policy_flags.h"
#include "runtime/cli/session_commands.h"
#include "runtime/sessions/view_json.h"

namespace baleen::cli {
namespace {

int Update(const SessionFlags& flags) {
  if (flags.update.mask.empty()) {
    std::cerr << "baleen: what is to change? Give one of the flags that --help lists\n";
    return kExitUsage;
  }
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  UpdateSessionRequest request = flags.update;
  request.session = flags.session;
  request.expected_head = flags.expected_head;
  auto view = (*runtime)->UpdateSession(request);
  if (!view.ok()) return Fail(view.status(), flags.json);
  if (flags.json) PrintFields(ViewJson(*view), true);
  return kExitOk;
}

/// A flag that sets `*target`, which is the setting `path`.
template <typename T>
CLI::Option* Change(CLI::App& command, UpdateSessionRequest& update, const std::string& flag,
                    const std::string& path, T* target, const std::string& about) {
  return command.add_option_function<T>(
      flag,
      [&update, path, target](const T& value) {
        *target = value;
        update.mask.push_back(path);
      },
      about);
}

void AddRules(CLI::App& command, UpdateSessionRequest& update, const std::string& decision,
              const std::string& about) {
  command.add_option_function<std::vector<std::string>>(
      "--" + decision,
      [&update, decision](const std::vector<std::string>& tools) {
        for (const std::string& tool : tools) {
          update.settings.policy.rules.push_back({tool, "", decision, ""});
        }
        update.mask.push_back("policy.rules");
      },
      about);
  const std::string flag = "--" + decision + "-command";
  command
      .add_option_function<std::vector<std::string>>(
          flag,
          [&update, flag, decision](const std::vector<std::string>& given) {
            for (const std::string& text : given) {
              update.settings.policy.rules.push_back(CommandRuleOf(flag, text, decision));
            }
            update.mask.push_back("policy.rules");
          },
          "The same, of commands of bash by their first words: 'git status|diff'")
      ->allow_extra_args(false);
}

void AddBudget(CLI::App& command, UpdateSessionRequest& update, const std::string& flag,
               const std::string& path, BudgetSettings* budget, const std::string& of) {
  Change(command, update, flag + "-tokens", path + ".tokens", &budget->tokens,
         "Tokens after which " + of + " and asks; 0: no limit");
  Change(command, update, flag + "-calls", path + ".tool_calls", &budget->tool_calls,
         "The same for calls of tools");
  Change(command, update, flag + "-ms", path + ".wall_ms", &budget->wall_ms,
         "The same for working milliseconds");
  Change(command, update, flag + "-micro-usd", path + ".micro_usd", &budget->micro_usd,
         "The same for millionths of a dollar");
}

}  // namespace

void AddUpdate(const AddSessionCommand& add, SessionFlags& flags) {
  CLI::App& command = *add("update", "Change settings of an idle session", &Update);
  command.add_option("session", flags.session)->required();
  command.add_option("--expected-head", flags.expected_head,
                     "Refuse if the session's head is another cursor");
  UpdateSessionRequest& update = flags.update;
  SessionSettings& to = update.settings;
  Change(command, update, "--title", "title", &to.title, "What lists show");
  Change(command, update, "--goal", "goal", &to.goal,
         "What compactions of its context keep word for word; empty: what the first turn was told");
  Change(command, update, "--note", "notes", &to.notes,
         "In place of its pinned notes; may be repeated");
  command.add_flag_callback(
      "--no-notes", [&update] { update.mask.push_back("notes"); }, "It has no pinned notes");
  Change(command, update, "--compact-at", "compact_at_percent", &to.compact_at_percent,
         "Percent of the context at which it is compacted; 0: never");
  Change(command, update, "--max-tokens", "tokens_max", &to.tokens_max,
         "Tokens that one generation may have");
  Change(command, update, "--temperature", "sampling.temperature", &to.sampling.temperature,
         "0: greedy");
  Change(command, update, "--top-p", "sampling.top_p", &to.sampling.top_p, "");
  Change(command, update, "--min-p", "sampling.min_p", &to.sampling.min_p, "");
  Change(command, update, "--top-k", "sampling.top_k", &to.sampling.top_k, "0: all");
  Change(command, update, "--seed", "sampling.seed", &to.sampling.seed, "Of the random draws");
  AddRules(command, update, "ask",
           "Tool that it asks about before each call; with --deny and --allow in place of all its "
           "rules; may be repeated");
  AddRules(command, update, "deny", "Tool that it never runs");
  AddRules(command, update, "allow", "Tool that it runs without asking");
  command.add_flag_callback(
      "--no-rules", [&update] { update.mask.push_back("policy.rules"); }, "It has no rules");
  AddBudget(command, update, "--total-budget", "budget", &to.budget,
            "a turn pauses, all together,");
  AddBudget(command, update, "--turn-budget", "turn_budget", &to.turn_budget, "each turn pauses");
  Change(command, update, "--price-prompt", "prices.prompt", &to.prices.prompt,
         "Millionths of a dollar per million tokens");
  Change(command, update, "--price-generated", "prices.generated", &to.prices.generated,
         "The same");
}

}  // namespace baleen::cli

#include "runtime/cli/policy_flags.h"

#include <CLI/CLI.hpp>
#include <sstream>

#include "runtime/sandbox/bash_tools.h"
#include "tools_sdk/shell/command_rules.h"

namespace baleen::cli {
namespace {

/// "status|diff" as its alternatives; empty ones are kept, to be refused.
std::vector<std::string> AlternativesOf(const std::string& word) {
  std::vector<std::string> alternatives;
  for (size_t begin = 0; begin <= word.size();) {
    const size_t end = std::min(word.find('|', begin), word.size());
    alternatives.push_back(word.substr(begin, end - begin));
    begin = end + 1;
  }
  return alternatives;
}

}  // namespace

PolicyRule CommandRuleOf(const std::string& flag, const std::string& text,
                         const std::string& decision) {
  PolicyRule rule;
  rule.tool = kBashTool;
  rule.decision = decision;
  std::istringstream words(text);
  for (std::string word; words >> word;) rule.argv.push_back(AlternativesOf(word));
  if (const Status status = CheckCommandRule({CommandLevel::kAsk, rule.argv, ""}); !status.ok()) {
    throw CLI::ValidationError(flag, "'" + text +
                                         "': expected the first words of a command, as in "
                                         "'git status|diff': " +
                                         status.message());
  }
  return rule;
}

void PolicyFlags::AddTo(CLI::App& command) {
  command.add_option("--ask", ask_,
                     "Tool that a new session asks about before each call; '*' for any run of "
                     "characters, may be repeated");
  command.add_option("--deny", deny_, "Tool that a new session never runs");
  command.add_option(
      "--allow", allow_,
      "Tool that a new session runs without asking, unless --ask or --deny names it");
  const auto add = [&](const std::string& decision, const std::string& about) {
    const std::string flag = "--" + decision + "-command";
    command
        .add_option_function<std::vector<std::string>>(
            flag,
            [this, flag, decision](const std::vector<std::string>& given) {
              for (const std::string& text : given) {
                commands_.push_back(CommandRuleOf(flag, text, decision));
              }
            },
            about)
        ->allow_extra_args(false);
  };
  add("allow",
      "First words of commands that bash runs without asking, if all parts of a text are such: "
      "'git status|diff|log'; may be repeated");
  add("ask", "The same, of commands that it asks about");
  add("deny", "The same, of commands that it never runs: 'rm|dd'");
}

std::vector<PolicyRule> PolicyFlags::Rules() const {
  std::vector<PolicyRule> rules;
  const auto of_tools = [&rules](const std::vector<std::string>& tools, const char* decision) {
    for (const std::string& tool : tools) rules.push_back({tool, "", decision, ""});
  };
  of_tools(allow_, "allow");
  of_tools(ask_, "ask");
  of_tools(deny_, "deny");
  rules.insert(rules.end(), commands_.begin(), commands_.end());
  return rules;
}

}  // namespace baleen::cli

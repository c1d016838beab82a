// `baleen tools`: the tools of new sessions, shown and called by hand, over a folder and without a
// model.
#include "runtime/cli/tools_command.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/cli/flags.h"
#include "runtime/http_tools/web_fetch.h"
#include "runtime/sandbox/bash_tools.h"
#include "runtime/sandbox/ripgrep.h"
#include "runtime/sessions/known_secrets.h"
#include "runtime/sessions/outside_tools.h"
#include "runtime/workspace/workspace.h"
#include "runtime/workspace/workspace_editor.h"
#include "tools_sdk/builtin/builtin.h"
#include "tools_sdk/schema.h"

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ToolsFlags {
  std::string workspace = ".";
  std::vector<std::string> readable_secrets;
  std::string tool, arguments = "{}";
  bool json = false, jsonl = false;
  RuntimeOptions options;  ///< Of them, what is about tools from outside.
  ReadConfig config;
};

/// Owners: the one that is returned to.
Result<std::vector<std::shared_ptr<Tool>>> AllBuiltins(const ProcessBounds& bounds,
                                                       const RuntimeOptions& options,
                                                       std::shared_ptr<LazySandbox> sandbox) {
  std::vector<std::shared_ptr<Tool>> tools;
  for (auto&& tool : MakeBuiltinTools()) tools.push_back(std::move(tool));
  for (auto&& tool : MakeOptionalTools()) tools.push_back(std::move(tool));
  ASSIGN_OR_RETURN(auto web_fetch, WebFetch::Create(options.web_fetch_hosts));
  tools.push_back(std::move(web_fetch));
  const BashTools bash(std::move(sandbox), bounds);
  tools.insert(tools.end(), bash.tools().begin(), bash.tools().end());
  return tools;
}

void PrintTool(const ToolSpec& spec, const std::string& origin, bool json) {
  if (json) {
    std::cout << Json{{"name", spec.name},
                      {"origin", origin},
                      {"description", spec.description},
                      {"parameters", Json::parse(spec.parameters)},
                      {"effect", spec.effect == EffectClass::kPure         ? "PURE"
                                 : spec.effect == EffectClass::kIdempotent ? "IDEMPOTENT"
                                                                           : "EFFECT"},
                      {"timeout_ms", spec.timeout_ms},
                      {"output_bytes_max", spec.output_bytes_max}}
                     .dump()
              << "\n";
  } else {
    std::cout << spec.name << " (" << origin << ")\n  " << spec.description << "\n";
  }
}

/// Tools from outside, and what must not be read in what they say.
struct Outside {
  std::unique_ptr<Redactor> redactor;
  std::unique_ptr<OutsideTools> tools;

  static Result<Outside> Open(ToolsFlags flags) {
    flags.config.named.AddTo(flags.options);
    Outside outside;
    outside.redactor = MakeRedactor(flags.options);
    ASSIGN_OR_RETURN(outside.tools, OutsideTools::Open(flags.options, outside.redactor.get(),
                                                       std::make_shared<LazySandbox>()));
    return outside;
  }
};

int ListTools(const ToolsFlags& flags) {
  const auto outside = Outside::Open(flags);
  if (!outside.ok()) return Fail(outside.status(), flags.json);
  const auto list = outside->tools->Ask();
  if (!list.ok()) return Fail(list.status(), flags.json);
  const auto builtins = AllBuiltins({}, flags.options, std::make_shared<LazySandbox>());
  if (!builtins.ok()) return Fail(builtins.status(), flags.json);
  for (const auto& tool : *builtins) PrintTool(tool->spec(), "built in", flags.json);
  for (const OutsideTool& tool : list->tools) PrintTool(tool.spec, tool.origin, flags.json);
  for (const std::string& note : list->notes) std::cerr << "baleen: " << note << "\n";
  return kExitOk;
}

/// One session's worth of tools: what one call has read, a later one may change.
class ToolFolder {
 public:
  static Result<ToolFolder> Open(const ToolsFlags& flags) {
    ToolFolder folder;
    ASSIGN_OR_RETURN(folder.workspace_, Workspace::Open(flags.workspace, flags.readable_secrets));
    folder.editor_ = std::make_unique<WorkspaceEditor>(folder.workspace_);
    ASSIGN_OR_RETURN(folder.outside_, Outside::Open(flags));
    std::error_code gone;
    folder.bounds_.workspace = std::filesystem::canonical(flags.workspace, gone).string();
    folder.bounds_.readable_secrets = flags.readable_secrets;
    const auto sandbox = std::make_shared<LazySandbox>();  // owners: the tools and the sieve
    folder.ripgrep_ = std::make_unique<Ripgrep>(sandbox, folder.bounds_.workspace);
    ASSIGN_OR_RETURN(folder.builtins_, AllBuiltins(folder.bounds_, flags.options, sandbox));
    for (const auto& tool : folder.builtins_) folder.tools_.push_back(tool.get());
    return folder;
  }

  Result<ToolResult> Call(const ToolCall& call) {
    ASSIGN_OR_RETURN(ToolResult result, Run(call));
    outside_.redactor->Refresh();
    result.content = outside_.redactor->Redact(result.content);
    return result;
  }

 private:
  Result<ToolResult> Run(const ToolCall& call) {
    CallContext context;
    context.files = workspace_.get();
    context.changes = editor_.get();
    context.sieve = ripgrep_.get();
    for (Tool* tool : tools_) {
      if (tool->spec().name == call.name) return tool->Call(call, context);
    }
    ASSIGN_OR_RETURN(const OutsideToolList list, outside_.tools->Ask());
    for (const OutsideTool& tool : list.tools) {
      if (tool.spec.name == call.name) {
        return outside_.tools->Call(tool.spec, bounds_, call, context);
      }
    }
    return NotFoundError("no tool '" + call.name + "'; see `baleen tools list`");
  }

 private:
  ProcessBounds bounds_;
  std::shared_ptr<const Workspace> workspace_;  // owners: this and the editor
  std::unique_ptr<WorkspaceEditor> editor_;
  std::unique_ptr<Ripgrep> ripgrep_;
  std::vector<std::shared_ptr<Tool>> builtins_;
  Outside outside_;
  std::vector<Tool*> tools_;
};

Json ToJson(const ToolResult& result) {
  return {{"outcome", ToolOutcomeName(result.outcome)}, {"content", result.content}};
}

int CallLines(ToolFolder& folder) {
  for (std::string line; std::getline(std::cin, line);) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("tool") || !json["tool"].is_string() ||
        !json.contains("arguments")) {
      return Fail(InvalidArgumentError("expected a line {\"tool\": NAME, \"arguments\": {...}}"),
                  true);
    }
    const auto result =
        folder.Call({"call", json["tool"].get<std::string>(), json["arguments"].dump()});
    if (!result.ok()) return Fail(result.status(), true);
    std::cout << ToJson(*result).dump() << std::endl;  // whoever waits for it writes the next
  }
  return kExitOk;
}

int CallTool(const ToolsFlags& flags) {
  auto folder = ToolFolder::Open(flags);
  if (!folder.ok()) return Fail(folder.status(), flags.json || flags.jsonl);
  if (flags.jsonl) return CallLines(*folder);
  const auto result = folder->Call({"call", flags.tool, flags.arguments});
  if (!result.ok()) return Fail(result.status(), flags.json);
  std::cout << (flags.json ? ToJson(*result).dump() : result->content) << "\n";
  return result->outcome == ToolOutcome::kOk ? kExitOk : kExitFailed;
}

}  // namespace

void AddTools(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<ToolsFlags>();  // owners: the callbacks below
  CLI::App* command = app.add_subcommand("tools", "The tools of new sessions, without a model");
  command->require_subcommand(1);
  CLI::App* list =
      command->add_subcommand("list", "What there is, and what the model is told of it");
  list->add_flag("--json", flags->json, "A JSON object per line, with the schema");
  AddOutsideToolSettings(*list, flags->options);
  AddConfig(*list, flags->config);
  list->callback([flags, exit_code] { *exit_code = ListTools(*flags); });
  CLI::App* call = command->add_subcommand(
      "call", "Call one over a folder, as a session would; nothing asks for leave");
  call->add_option("tool", flags->tool, "Name");
  call->add_option("arguments", flags->arguments, "JSON object");
  call->add_option("--workspace", flags->workspace, "Folder; the current one if absent");
  call->add_option("--allow-secret-file", flags->readable_secrets,
                   "Secret file below it that may be read, or a pattern with '*'; may be repeated")
      ->allow_extra_args(false);
  call->add_flag("--json", flags->json, "Outcome and content as JSON");
  call->add_flag(
      "--jsonl", flags->jsonl,
      "Calls from standard input, {\"tool\": NAME, \"arguments\": {...}} a line; a result a "
      "line");
  AddOutsideToolSettings(*call, flags->options);
  AddConfig(*call, flags->config);
  call->callback([flags, exit_code] {
    if (flags->jsonl == !flags->tool.empty()) throw CLI::RequiredError("tool, or --jsonl alone");
    *exit_code = CallTool(*flags);
  });
}

}  // namespace baleen::cli

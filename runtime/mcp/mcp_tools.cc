#include "runtime/mcp/mcp_tools.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "runtime/clock.h"
#include "runtime/http/bearer_key.h"
#include "runtime/mcp/param_headers.h"
#include "runtime/worker.h"
#include "tools_sdk/call_result.h"
#include "tools_sdk/schema.h"
#include "tools_sdk/tool_drift.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr size_t kServersMax = 32;
constexpr size_t kNameBytesMax = 64;
constexpr const char* kInspect =
    " Its effect may or may not have happened: inspect before repeating it.";

/// '_' is for behind it.
bool IsServerName(const std::string& name) {
  if (name.empty() || name.size() > 31 || name[0] == '-') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

std::string NameHere(const std::string& server, const std::string& tool) {
  std::string name = server + "_";
  for (const char c : tool) {
    const bool legal =
        std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '-';
    name += legal ? c : '_';
  }
  return name;
}

/// A tool under its name here. `unfit` says why it can't be had, or nothing.
struct Named {
  ToolSpec spec;
  const McpToolListing* listing = nullptr;
  std::string unfit;
};

std::vector<Named> NamesOf(const McpServerOptions& options, const McpToolList& list,
                           const Redactor* redactor) {
  std::vector<Named> names;
  for (const McpToolListing& tool : list.tools) {
    if (!options.tools.empty() &&
        std::find(options.tools.begin(), options.tools.end(), tool.name) == options.tools.end()) {
      continue;
    }
    Named named;
    named.listing = &tool;
    named.unfit = tool.unfit;
    named.spec.name = NameHere(options.name, tool.name);
    named.spec.description = tool.description;
    named.spec.parameters = tool.parameters;
    // What it says of its own effects is its own word.
    named.spec.effect = EffectClass::kEffect;
    named.spec.of_mcp_server = true;
    named.spec.timeout_ms = options.call_ms_max;
    named.spec.output_bytes_max = options.output_bytes_max;
    if (redactor != nullptr) {
      named.spec.description = redactor->Redact(tool.description);
      // What is left of a schema might mean something else.
      if (redactor->Redact(tool.parameters) != tool.parameters) {
        named.unfit = "its parameters hold a secret";
      }
    }
    if (tool.name.empty() || named.spec.name.size() > kNameBytesMax) {
      named.unfit = "its name has " + std::to_string(tool.name.size()) + " bytes, and '" +
                    options.name + "_' in front it may have " + std::to_string(kNameBytesMax);
    } else if (named.unfit.empty() && !options.url.empty()) {
      named.unfit = CheckParamHeaders(tool.parameters).message();
    }
    for (Named& other : names) {
      if (other.spec.name != named.spec.name) continue;
      other.unfit = named.unfit = "two tools would be called '" + named.spec.name + "'";
    }
    names.push_back(std::move(named));
  }
  return names;
}

/// Of a body that returned.
ToolResult Returned(const McpToolListing& tool, const McpCallAnswer& answer) {
  if (answer.wants_input) {
    return NotRun("the server wants to ask its user something first, which can't be done here");
  }
  ToolResult result =
      ResultOf(answer.is_error ? ToolOutcome::kError : ToolOutcome::kOk, answer.content);
  if (answer.is_error || answer.structured.empty() || tool.output_schema.empty()) return result;
  const auto schema = Schema::ParseValue(tool.output_schema, "structured output");
  if (!schema.ok()) return result;  // it promises what can't be checked
  if (const Status kept = schema->Validate(answer.structured); !kept.ok()) {
    result.outcome = ToolOutcome::kError;
    result.content = "The tool ran, but broke its promise of what it answers (" + kept.message() +
                     "):\n" + result.content;
  }
  return result;
}

void Cut(int64_t bytes_max, ToolResult* result) {
  if (static_cast<int64_t>(result->content.size()) <= bytes_max) return;
  result->content_bytes = static_cast<int64_t>(result->content.size());
  const std::string_view kept = Utf8Prefix(result->content, static_cast<size_t>(bytes_max));
  result->content = std::string(kept) + "\n[cut: " + std::to_string(kept.size()) + " of " +
                    std::to_string(result->content_bytes) + " bytes]";
}

/// Of a call that got no answer.
ToolResult Lost(const McpReply& reply, const McpServerOptions& options, bool late) {
  std::string remains;
  if (!reply.progress.empty()) remains += "\nIts last progress: " + reply.progress;
  if (!reply.words.empty()) remains += "\nThe end of what the server printed: " + reply.words;
  if (reply.end == McpReply::End::kTimedOut || (reply.end == McpReply::End::kCancelled && late)) {
    return ResultOf(ToolOutcome::kTimeout,
                    "The tool gave no answer in time (" + std::to_string(options.call_ms) +
                        " ms without progress, " + std::to_string(options.call_ms_max) +
                        " ms in all), and the call was cancelled." + (reply.sent ? kInspect : "") +
                        remains);
  }
  if (reply.end == McpReply::End::kCancelled) {
    return ResultOf(
        reply.sent ? ToolOutcome::kUnknown : ToolOutcome::kAbortedBeforeDispatch,
        std::string("The call was cancelled.") + (reply.sent ? kInspect : "") + remains);
  }
  if (!reply.sent) return NotRun(reply.status.message() + remains);
  return ResultOf(ToolOutcome::kUnknown, "The server gave no answer: " + reply.status.message() +
                                             "." + kInspect + remains);
}

}  // namespace

Status McpServerOptions::Validate() const {
  const auto bad = [this](const std::string& what) {
    return InvalidArgumentError("MCP server '" + name.substr(0, 80) + "': " + what, "BAD_FIELD");
  };
  if (!IsServerName(name)) return bad("expected a name of a-z, 0-9 and '-', at most 31 bytes");
  if (command.empty() == url.empty()) return bad("expected either a command or a url");
  if (!command.empty() && command[0].find('/') != std::string::npos && command[0][0] != '/') {
    return bad("command: expected a program's name, or its absolute path");
  }
  for (const std::string& entry : environment) {
    if (entry.find('=') == std::string::npos || entry[0] == '=') {
      return bad("environment: expected entries NAME=VALUE");
    }
  }
  if (!url.empty() && !url.starts_with("http://") && !url.starts_with("https://")) {
    return bad("url: expected http:// or https://");
  }
  const KeyPlace place = {key, key_variable, key_file};
  if (!place.empty() && url.empty()) return bad("a key is for a url");
  if (Status status = CheckKeyPlace(place); !status.ok()) return bad(status.message());
  if (!place.empty() && GoesInClear(url) && !key_in_clear) {
    return bad("a key would go over the network in clear; use https, or key_in_clear");
  }
  if (start_ms < 1 || call_ms < 1 || call_ms_max < call_ms) {
    return bad("expected times of at least 1 ms, and call_ms_max of at least call_ms");
  }
  if (message_bytes_max < 1024 || output_bytes_max < 1024) {
    return bad("expected message_bytes_max and output_bytes_max of at least 1024");
  }
  return OkStatus();
}

Result<std::unique_ptr<McpTools>> McpTools::Create(std::vector<McpServerOptions> options,
                                                   const Redactor* redactor) {
  if (options.size() > kServersMax) {
    return InvalidArgumentError("at most " + std::to_string(kServersMax) + " MCP servers",
                                "BAD_FIELD");
  }
  std::vector<std::unique_ptr<McpServer>> servers;
  for (McpServerOptions& one : options) {
    RETURN_IF_ERROR(one.Validate());
    for (const auto& other : servers) {
      if (other->options().name != one.name) continue;
      return InvalidArgumentError("MCP server '" + one.name + "': the name is given twice",
                                  "BAD_FIELD");
    }
    servers.push_back(std::make_unique<McpServer>(std::move(one)));
  }
  return std::unique_ptr<McpTools>(new McpTools(std::move(servers), redactor));
}

std::vector<McpOffer> McpTools::Ask() {
  std::vector<McpOffer> offers(servers_.size());
  Worker asking(static_cast<int>(servers_.size()), servers_.size());
  for (size_t i = 0; i < servers_.size(); ++i) {
    asking.queue().Push([this, server = servers_[i].get(), offer = &offers[i]] {
      offer->server = server->options().name;
      offer->optional = server->options().optional;
      auto list = server->ListTools(nullptr);
      offer->status = list.status();
      if (!list.ok()) return;
      offer->about = list->server + ", protocol " + list->version;
      for (Named& named : NamesOf(server->options(), *list, redactor_)) {
        if (named.unfit.empty()) {
          offer->tools.push_back(std::move(named.spec));
        } else {
          offer->left_out.push_back("'" + named.listing->name + "': " + named.unfit);
        }
      }
      for (const std::string& wanted : server->options().tools) {
        const bool there = std::any_of(list->tools.begin(), list->tools.end(),
                                       [&](const auto& tool) { return tool.name == wanted; });
        if (!there) offer->left_out.push_back("'" + wanted + "': the server has no such tool");
      }
    });
  }
  asking.Stop();
  return offers;
}

McpServer* McpTools::Find(const std::string& tool) const {
  const size_t end = tool.find('_');
  for (const auto& server : servers_) {
    if (end != std::string::npos && server->options().name == tool.substr(0, end)) {
      return server.get();
    }
  }
  return nullptr;
}

ToolResult McpTools::Call(const ToolSpec& made_with, const ToolCall& call,
                          const CallContext& context) {
  McpServer* server = Find(call.name);
  if (server == nullptr) return NotRun("the tool's MCP server isn't known any more");
  const McpServerOptions& options = server->options();
  for (int attempt = 0;; ++attempt) {
    const auto list = server->ListTools(context.cancelled);
    if (!list.ok()) return NotRun(list.status().message());
    const std::vector<Named> names = NamesOf(options, *list, redactor_);
    const auto named = std::find_if(names.begin(), names.end(),
                                    [&](const Named& one) { return one.spec.name == call.name; });
    if (named == names.end()) return NotRun("the server has no such tool any more");
    if (!named->unfit.empty()) return NotRun(named->unfit);
    if (const std::string drift = ToolDrift(made_with, named->spec); !drift.empty()) {
      return NotRun("the server has made another tool of it since this session began: " + drift +
                    ". A new session has it as it is now");
    }
    McpReply reply = server->CallTool(list->connection, named->listing->name, made_with.parameters,
                                      call.arguments, context);
    if (reply.status.reason() == "MCP_RESTARTED" && attempt == 0) continue;
    if (reply.end == McpReply::End::kResult) {
      const auto answer = ReadMcpCallAnswer(reply.result);
      if (!answer.ok()) {
        return ResultOf(ToolOutcome::kUnknown, "The server answered rubbish: " +
                                                   answer.status().message() + "." + kInspect);
      }
      ToolResult result = Returned(*named->listing, *answer);
      Cut(made_with.output_bytes_max, &result);
      return result;
    }
    if (reply.end == McpReply::End::kFailed && reply.code != 0) {
      return ResultOf(ToolOutcome::kError,
                      "The server refuses the call: " + reply.status.message());
    }
    // The runtime sets the flag at the deadline, too.
    return Lost(reply, options, Clock().SteadyMs() >= context.deadline_ms);
  }
}

}  // namespace baleen

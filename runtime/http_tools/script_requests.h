// ScriptRequests: http_request, the request that scripts make (`require "baleen.http"` in Lua).
//
// A tool that scripts call and models are not told of. Whoever runs the runtime says which hosts
// scripts may ask, and which secrets; the tool of a script whose body asks may say fewer hosts.
// Like web_fetch it asks one host per call: what redirects elsewhere is told, not followed. Called
// by the control loop, and on its pool.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/http_tools/fetch.h"
#include "runtime/secret_options.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"
#include "tools_sdk/tool_set.h"

namespace baleen {

inline constexpr char kHttpRequest[] = "http_request";

/// What of a call is judged before it runs.
struct ScriptRequestHead {
  std::string method;  ///< Empty: the arguments aren't valid.
  std::string host;    ///< "HOST:PORT"; empty: the URL is none.
  std::string secret;  ///< That goes along; empty: none.
};
ScriptRequestHead ScriptRequestHeadOf(const std::string& arguments);

/// The tool alone, as it is for a call with these arguments: a GET is pure; any other request, once
/// it was sent and not answered, is one of which nobody knows whether it happened.
const ToolSet& ScriptRequestTools(const std::string& arguments);

/// Threads: any; Call blocks.
class ScriptRequests {
 public:
  /// `hosts`: as RuntimeOptions::script_http_hosts. Asks nobody. Errors:
  /// INVALID_ARGUMENT/BAD_FIELD.
  static Result<std::unique_ptr<ScriptRequests>> Create(const std::vector<std::string>& hosts,
                                                        const std::vector<SecretOptions>& secrets);

  /// However it ends, there is a result. That of an answer, whatever its status, is a line of JSON
  /// (status, content_type, cut, skipped, redirect, retry_after) and behind it the body, if it is
  /// text.
  ToolResult Call(const ToolCall& call, const CallContext& context);

 private:
  struct Secret {
    SecretOptions options;
    HostRules hosts;
  };

  ScriptRequests() = default;
  /// `*within`: what the request borrows. Errors, in words for whoever wrote the script.
  Result<FetchRequest> Make(const nlohmann::ordered_json& arguments, HostRules* within) const;
  Status ChooseHosts(const nlohmann::ordered_json& arguments, FetchRequest* request,
                     HostRules* within) const;
  /// The header with the secret. Errors: it may not go to `url`.
  Result<std::string> SecretLine(const std::string& name, const std::string& header,
                                 const Url& url) const;

  HostRules hosts_;
  std::vector<Secret> secrets_;
  Fetcher fetcher_;
};

}  // namespace baleen

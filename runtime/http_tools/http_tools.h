// HttpTools: the declared HTTP tools of a runtime.
//
// What a session knows as a tool is a template, a place for its arguments, and a secret that is
// looked up when a request is made. Called by OutsideTools.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/http/bearer_key.h"
#include "runtime/http_tool_options.h"
#include "runtime/http_tools/fetch.h"
#include "runtime/http_tools/request_template.h"
#include "runtime/secret_options.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// One declared tool, checked.
struct HttpTool {
  ToolSpec spec;
  HttpToolOptions options;
  RequestTemplate request;
  HostRules hosts;
  KeyPlace secret;  ///< Empty: it has none.
};

/// Threads: any; Call blocks.
class HttpTools {
 public:
  /// Asks nobody. Errors: INVALID_ARGUMENT/BAD_FIELD: options that aren't valid, a name given
  /// twice, a secret that isn't declared or may not be sent to the tool's host.
  static Result<std::unique_ptr<HttpTools>> Create(const std::vector<HttpToolOptions>& options,
                                                   const std::vector<SecretOptions>& secrets);

  /// As they were given.
  const std::vector<HttpTool>& tools() const { return tools_; }
  /// Null: there is none.
  const HttpTool* Find(const std::string& name) const;

  /// However it ends, there is a result. Requires: Find(call.name) isn't null.
  ToolResult Call(const ToolCall& call, const CallContext& context);

 private:
  HttpTools() = default;

  std::vector<HttpTool> tools_;
  Fetcher fetcher_;
};

/// Whether a body of this type, or without one, is a text.
bool IsTextAnswer(const std::string& content_type, const std::string& body);

}  // namespace baleen

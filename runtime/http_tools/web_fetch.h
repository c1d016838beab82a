// web_fetch: the built-in tool that shows a page of the web as text.
//
// GET only, one host per call: what redirects elsewhere is told, not followed, so that whoever
// gives leave for a host gives it for that one. The text is framed as what it is: data from the
// network. Sessions have it if they name it. Called by the runtime and by `baleen tools`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/http_tools/fetch.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

inline constexpr char kWebFetch[] = "web_fetch";

/// "HOST:PORT" that a call with these arguments would ask; empty: none.
std::string WebFetchHost(const std::string& arguments);

/// Threads: any; Call blocks.
class WebFetch final : public Tool {
 public:
  /// `hosts`: as RuntimeOptions::web_fetch_hosts. Errors: INVALID_ARGUMENT/BAD_HOST.
  static Result<std::unique_ptr<WebFetch>> Create(const std::vector<std::string>& hosts);

  const ToolSpec& spec() const override { return spec_; }
  ToolResult Call(const ToolCall& call, CallContext& context) override;

 private:
  explicit WebFetch(HostRules hosts);

  const HostRules hosts_;
  ToolSpec spec_;
  Fetcher fetcher_;
};

}  // namespace baleen

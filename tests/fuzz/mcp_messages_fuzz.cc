// An MCP server may send anything: lines are the same however their bytes are cut, what is read can
// be written, and no text breaks what reads it.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "runtime/mcp/mcp_content.h"
#include "runtime/mcp/param_headers.h"
#include "runtime/mcp/rpc_message.h"
#include "tools_sdk/utf8.h"

namespace {

using baleen::LineReader;

std::vector<std::string> Lines(std::string_view bytes, size_t piece, bool* broken) {
  LineReader reader(4096);
  std::vector<std::string> lines;
  for (size_t at = 0; at < bytes.size() && !*broken; at += piece) {
    *broken = !reader.Push(bytes.substr(at, piece), &lines).ok();
  }
  return lines;
}

void Check(bool holds) {
  if (!holds) std::abort();
}

bool IsText(const std::string& text) { return baleen::Utf8ValidPrefix(text) == text.size(); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  bool broken = false;
  bool cut_broken = false;
  const auto whole = Lines(text, size + 1, &broken);
  const auto cut = Lines(text, 3, &cut_broken);
  Check(broken == cut_broken && whole == cut);
  if (const auto messages = baleen::ReadRpcMessages(text); messages.ok()) {
    for (const auto& message : *messages) {
      Check(IsText(message.body) && IsText(message.id));
      if (!message.id.empty())
        Check(baleen::ReadRpcMessages(baleen::RpcEmptyResult(message.id)).ok());
    }
  }
  if (!baleen::NestsAtMost(text, 64)) return 0;  // what a message has passed
  if (const auto page = baleen::ReadMcpToolPage(text); page.ok()) {
    for (const auto& tool : page->tools) {
      Check(IsText(tool.name + tool.description + tool.parameters));
    }
  }
  if (const auto answer = baleen::ReadMcpCallAnswer(text); answer.ok())
    Check(IsText(answer->content));
  baleen::ReadMcpGreeting(text).status().IgnoreError("any is fine");
  baleen::ReadMcpProgress(text).status().IgnoreError("any is fine");
  for (const std::string& header : baleen::McpParamHeaders(text, text)) {
    Check(header.find('\n') == std::string::npos && header.find('\r') == std::string::npos);
  }
  return 0;
}

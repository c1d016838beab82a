// What the tests of MCP servers share: servers of one manner, their tools, calls.
#pragma once

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/clock.h"
#include "runtime/mcp/mcp_tools.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {

inline std::unique_ptr<McpTools> Tools(McpServerOptions options) {
  std::vector<McpServerOptions> all;
  all.push_back(std::move(options));
  return Must(McpTools::Create(std::move(all)));
}

inline McpOffer Offer(McpTools& tools) { return tools.Ask().at(0); }

inline ToolSpec Spec(const McpOffer& offer, const std::string& name) {
  INFO(offer.status.ToString());
  for (const ToolSpec& spec : offer.tools) {
    if (spec.name == name) return spec;
  }
  FAIL("no tool " << name);
  return {};
}

inline ToolResult Call(McpTools& tools, const ToolSpec& spec, const std::string& arguments = "{}",
                       const std::atomic<bool>* cancelled = nullptr) {
  CallContext context;
  context.deadline_ms = Clock().SteadyMs() + 3'600'000;
  context.cancelled = cancelled;
  return tools.Call(spec, {"c1", spec.name, arguments}, context);
}

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace baleen

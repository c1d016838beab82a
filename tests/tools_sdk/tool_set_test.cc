#include "tools_sdk/tool_set.h"

#include <catch2/catch.hpp>

#include "tools_sdk/builtin/grep.h"
#include "tools_sdk/builtin/list.h"
#include "tools_sdk/builtin/read.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

class NamedTool final : public Tool {
 public:
  explicit NamedTool(std::string name, std::string schema = R"({"type":"object"})") {
    spec_.name = std::move(name);
    spec_.parameters = std::move(schema);
  }
  const ToolSpec& spec() const override { return spec_; }
  ToolResult Call(const ToolCall& call, CallContext&) override { return {call.id, {}, "", 0}; }
  ToolSpec spec_;
};

TEST_CASE("ToolSetKeepsOrderAndRefusesDuplicates") {
  ToolSet tools;
  REQUIRE(tools.Add(NewReadTool()).ok());
  REQUIRE(tools.Add(NewListTool()).ok());
  REQUIRE(tools.Add(NewGrepTool()).ok());
  CHECK(tools.Add(NewListTool()).code() == StatusCode::kAlreadyExists);
  REQUIRE(tools.size() == 3);
  CHECK(tools.Specs()[0].name == "read");
  CHECK(tools.Specs()[2].name == "grep");
  CHECK(tools.Find("list") != nullptr);
  CHECK(tools.Find("write") == nullptr);
}

TEST_CASE("ToolSetRefusesIllegalTools") {
  ToolSet tools;
  for (const char* name : {"", "a b", "a/b", "ä"}) {
    INFO(name);
    CHECK(tools.Add(std::make_unique<NamedTool>(name)).code() == StatusCode::kInvalidArgument);
  }
  CHECK(!tools.Add(std::make_unique<NamedTool>(std::string(65, 'a'))).ok());
  CHECK(!tools.Add(nullptr).ok());
  const Status unknown = tools.Add(std::make_unique<NamedTool>("t", R"({"oneOf":[]})"));
  CHECK(unknown.message().find("tool 't'") == 0);
  CHECK(unknown.message().find("oneOf") != std::string::npos);
  auto endless = std::make_unique<NamedTool>("t");
  endless->spec_.timeout_ms = 0;
  CHECK(!tools.Add(std::move(endless)).ok());
  CHECK(tools.size() == 0);
  for (size_t i = 0; i < kToolsMax; ++i) {
    REQUIRE(tools.Add(std::make_unique<NamedTool>("t" + std::to_string(i))).ok());
  }
  CHECK(tools.Add(std::make_unique<NamedTool>("more")).code() == StatusCode::kResourceExhausted);
}

TEST_CASE("CheckCallNamesTheToolsOrTheFault") {
  ToolSet tools;
  REQUIRE(tools.Add(NewReadTool()).ok());
  CHECK(tools.CheckCall({"1", "read", R"({"path":"a"})"}).ok());
  CHECK(tools.CheckCall({"1", "read", "{}"}).message() ==
        "tool 'read': arguments: 'path' is missing");
  CHECK(tools.CheckCall({"1", "rm", "{}"}).message() ==
        "there is no tool 'rm'; the tools are: read");
}

TEST_CASE("Utf8ReplacesExactlyTheBrokenBytes") {
  CHECK(ReplaceInvalidUtf8("aä€😀") == "aä€😀");
  CHECK(ReplaceInvalidUtf8("a\xff"
                           "b") ==
        "a\xEF\xBF\xBD"
        "b");
  // Overlong, surrogate, past U+10FFFF, cut short.
  for (const char* bad : {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    CHECK(Utf8ValidPrefix(bad) == 0);
  }
  CHECK(Utf8Prefix("aä", 2) == "a");
  CHECK(Utf8Prefix("aä", 3) == "aä");
}

}  // namespace
}  // namespace baleen

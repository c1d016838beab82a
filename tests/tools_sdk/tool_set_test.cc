#include "tools_sdk/tool_set.h"

#include <catch2/catch.hpp>

#include "tools_sdk/builtin/grep.h"
#include "tools_sdk/builtin/list.h"
#include "tools_sdk/builtin/read.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

ToolSpec Named(std::string name, std::string schema = R"({"type":"object"})") {
  ToolSpec spec;
  spec.name = std::move(name);
  spec.parameters = std::move(schema);
  return spec;
}

TEST_CASE("ToolSetKeepsOrderAndRefusesDuplicates") {
  ToolSet tools;
  REQUIRE(tools.Add(NewReadTool()->spec()).ok());
  REQUIRE(tools.Add(NewListTool()->spec()).ok());
  REQUIRE(tools.Add(NewGrepTool()->spec()).ok());
  CHECK(tools.Add(NewListTool()->spec()).code() == StatusCode::kAlreadyExists);
  REQUIRE(tools.specs().size() == 3);
  CHECK(tools.specs()[0].name == "read");
  CHECK(tools.specs()[2].name == "grep");
  CHECK(tools.Find("list") != nullptr);
  CHECK(tools.Find("write") == nullptr);
}

TEST_CASE("ToolSetRefusesIllegalTools") {
  ToolSet tools;
  for (const char* name : {"", "a b", "a/b", "ä"}) {
    INFO(name);
    CHECK(tools.Add(Named(name)).code() == StatusCode::kInvalidArgument);
  }
  CHECK(!tools.Add(Named(std::string(65, 'a'))).ok());
  const Status unknown = tools.Add(Named("t", R"({"oneOf":[]})"));
  CHECK(unknown.message().find("tool 't'") == 0);
  CHECK(unknown.message().find("oneOf") != std::string::npos);
  ToolSpec endless = Named("t");
  endless.timeout_ms = 0;
  CHECK(!tools.Add(std::move(endless)).ok());
  CHECK(tools.specs().empty());
  for (size_t i = 0; i < kToolsMax; ++i) {
    REQUIRE(tools.Add(Named("t" + std::to_string(i))).ok());
  }
  CHECK(tools.Add(Named("more")).code() == StatusCode::kResourceExhausted);
}

TEST_CASE("CheckCallNamesTheToolsOrTheFault") {
  ToolSet tools;
  REQUIRE(tools.Add(NewReadTool()->spec()).ok());
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

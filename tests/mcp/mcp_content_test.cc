// What servers send, read as text: messages, lines, arguments mirrored in headers.
#include <catch2/catch.hpp>

#include "runtime/mcp/mcp_content.h"
#include "runtime/mcp/param_headers.h"
#include "runtime/mcp/rpc_message.h"
#include "tests/store/status_checks.h"

namespace baleen {

TEST_CASE("MessagesAreToldApart") {
  const auto kind = [](const std::string& text) { return Must(ReadRpcMessages(text))[0].kind; };
  REQUIRE(kind(R"({"id":1,"result":{}})") == RpcMessage::Kind::kResult);
  REQUIRE(kind(R"({"id":null,"error":{"code":-32700,"message":"m"}})") == RpcMessage::Kind::kError);
  REQUIRE(kind(R"({"id":"x","method":"ping"})") == RpcMessage::Kind::kRequest);
  REQUIRE(kind(R"({"method":"notifications/x"})") == RpcMessage::Kind::kNotification);
  REQUIRE(Must(ReadRpcMessages(R"([{"method":"a"},{"method":"b"}])")).size() == 2);
  for (const char* wrong : {"", "7", "{}", R"({"id":1.5,"result":{}})", R"({"id":{},"result":1})",
                            R"({"result":{}})", R"({"id":1,"error":"e"})", R"({"method":7})"}) {
    INFO(wrong);
    REQUIRE_FALSE(ReadRpcMessages(wrong).ok());
  }
  REQUIRE_FALSE(ReadRpcMessages(R"({"id":1,"result":)" + std::string(100'000, '[')).ok());
}

TEST_CASE("LinesAreTheSameHoweverTheStreamIsCut") {
  const std::string stream = "{\"a\":1}\r\n\n  \nb\nno end";
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    LineReader reader(100);
    std::vector<std::string> lines;
    for (size_t at = 0; at < stream.size(); at += piece) {
      REQUIRE_OK(reader.Push(std::string_view(stream).substr(at, piece), &lines));
    }
    REQUIRE(lines == std::vector<std::string>{"{\"a\":1}", "b"});
  }
  LineReader small(8);
  std::vector<std::string> lines;
  REQUIRE(small.Push("123456789", &lines).code() == StatusCode::kResourceExhausted);
  REQUIRE_FALSE(small.Push("\n", &lines).ok());
}

TEST_CASE("TheSameDefinitionIsTheSameTextHoweverItIsOrdered") {
  const auto parameters = [](const std::string& schema) {
    return Must(ReadMcpToolPage(R"({"tools":[{"name":"t","inputSchema":)" + schema + "}]}"))
        .tools[0]
        .parameters;
  };
  REQUIRE(parameters(R"({"type":"object","properties":{"b":{},"a":{}}})") ==
          parameters(R"({"properties":{"a":{},"b":{}},"type":"object"})"));
}

TEST_CASE("ArgumentsAreMirroredInHeadersAsTheirSchemaWants") {
  const std::string schema =
      R"({"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},)"
      R"("deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},)"
      R"("other":{"type":"string"}}})";
  REQUIRE_OK(CheckParamHeaders(schema));
  REQUIRE(McpParamHeaders(schema, R"({"region":"us","deep":{"n":-7},"other":"x"})") ==
          std::vector<std::string>{"Mcp-Param-N: -7", "Mcp-Param-Region: us"});
  REQUIRE(McpParamHeaders(schema, R"({"region":null})").empty());
  REQUIRE(McpHeaderValue("Hello, \u4e16\u754c") == "=?base64?SGVsbG8sIOS4lueVjA==?=");
  REQUIRE(McpHeaderValue(" padded ") == "=?base64?IHBhZGRlZCA=?=");
  REQUIRE(McpHeaderValue("line1\nline2") == "=?base64?bGluZTEKbGluZTI=?=");
  REQUIRE(McpHeaderValue("=?base64?literal?=") == "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=");
  for (const char* mark : {R"("a\r\nb")", R"("")", "7"}) {
    REQUIRE_FALSE(CheckParamHeaders(R"({"properties":{"a":{"type":"string","x-mcp-header":)" +
                                    std::string(mark) + "}}}")
                      .ok());
  }
  REQUIRE_FALSE(
      CheckParamHeaders(R"({"properties":{"a":{"type":"number","x-mcp-header":"A"}}})").ok());
}

}  // namespace baleen

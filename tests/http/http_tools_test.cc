// Declared HTTP tools: what may stand in a declaration, what a model may put into its places, and
// servers that do nothing right.
#include "runtime/http_tools/http_tools.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "runtime/clock.h"
#include "tests/remote/scripted_server.h"
#include "tests/store/status_checks.h"
#include "tests/testing/child.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

constexpr char kKey[] = "sk-0123456789abcdef";

HttpToolOptions Tool(const std::string& url, const std::string& method = "GET") {
  HttpToolOptions tool;
  tool.name = "t";
  tool.method = method;
  tool.url = url;
  tool.effect = method == "GET" ? "pure" : "effect";
  return tool;
}

SecretOptions Secret(std::vector<std::string> hosts = {"127.0.0.1"}) {
  SecretOptions secret;
  secret.name = "API";
  secret.key = kKey;
  secret.hosts = std::move(hosts);
  return secret;
}

ToolResult Call(const HttpToolOptions& tool, const std::string& arguments = "{}",
                const std::vector<SecretOptions>& secrets = {},
                const std::atomic<bool>* cancelled = nullptr) {
  const auto tools = Must(HttpTools::Create({tool}, secrets));
  CallContext context;
  context.deadline_ms = Clock().SteadyMs() + tool.whole_ms;
  context.cancelled = cancelled;
  return tools->Call({"s1/t1.call-1", "t", arguments}, context);
}

ScriptedReply Says(const std::string& body, int status = 200,
                   const std::string& type = "text/plain") {
  ScriptedReply reply;
  reply.status = status;
  reply.type = type;
  reply.body = body;
  return reply;
}

ScriptedReply Redirects(const std::string& location, int status = 302) {
  ScriptedReply reply = Says("", status);
  reply.headers = {"Location: " + location};
  return reply;
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("What a model gives stays in the place that it is for", "[http]") {
  const auto request =
      Must(RequestTemplate::Parse("https://api.example.org:8443/a/{p}/b?x=1&q={q}&{n}=2",
                                  R"({"text": {t}, "say": "<{t}>", "n": {n}})"));
  struct Row {
    const char* arguments;
    const char* rest;  ///< Of the URL; "": refused.
    const char* body;
  };
  const Row table[] = {
      {R"({"p":"v","q":"w","n":"k","t":"T"})", "/a/v/b?x=1&q=w&k=2",
       R"({"text": "T", "say": "<T>", "n": "k"})"},
      // Everything that would end a segment or a part is encoded.
      {R"({"p":"a/b?c#d&e=f;g\\h%2f","q":"a&b=c#d+e f"})",
       "/a/a%2Fb%3Fc%23d%26e%3Df%3Bg%5Ch%252f/b?x=1&q=a%26b%3Dc%23d%2Be%20f",
       R"({"text": null, "say": "<>", "n": null})"},
      {R"({"p":"@evil.example","q":"//evil.example"})",
       "/a/%40evil.example/b?x=1&q=%2F%2Fevil.example",
       R"({"text": null, "say": "<>", "n": null})"},
      {R"({"p":"\u00e9\r\nHost: x\u0000"})", "/a/%C3%A9%0D%0AHost%3A%20x%00/b?x=1",
       R"({"text": null, "say": "<>", "n": null})"},
      {R"({"p":12.5,"q":true,"n":-3,"t":[1,{"a":"}{"}]})", "/a/12.5/b?x=1&q=true&-3=2",
       R"({"text": [1,{"a":"}{"}], "say": "<[1,{\"a\":\"}{\"}]>", "n": -3})"},
      {R"({"p":"v","q":"","n":null,"t":"\"},{\"admin\": true}"})", "/a/v/b?x=1&q=",
       R"({"text": "\"},{\"admin\": true}", "say": "<\"},{\"admin\": true}>", "n": null})"},
      {R"({"p":"...","t":"{p}"})", "/a/.../b?x=1", R"({"text": "{p}", "say": "<{p}>", "n": null})"},
      {R"({"p":".."})", "", ""},
      {R"({"p":"."})", "", ""},
      {R"({"p":""})", "", ""},
      {R"({"q":"w"})", "", ""},
      {R"({"p":null})", "", ""},
      {R"({"p":["a"]})", "", ""},
      {R"({"p":{"a":1}})", "", ""},
      {R"(["p"])", "", ""},
      {R"({"p":"v",)", "", ""},
  };
  for (const Row& row : table) {
    INFO(row.arguments);
    const auto filled = request.Fill(row.arguments);
    CHECK(filled.ok() == (row.rest[0] != '\0'));
    if (!filled.ok()) continue;
    CHECK(filled->url.text == std::string("https://api.example.org:8443") + row.rest);
    CHECK(filled->body == row.body);
    CHECK(filled->url.host == "api.example.org");
  }
  CHECK_FALSE(request.Fill(R"({"p":")" + std::string(9000, 'a') + R"("})").ok());
  // Two values make no ".." either.
  CHECK_FALSE(
      Must(RequestTemplate::Parse("https://x.org/{a}{b}/c", "")).Fill(R"({"a":".","b":"."})").ok());
  CHECK_FALSE(Must(RequestTemplate::Parse("https://x.org/%2e{a}/c", "")).Fill(R"({"a":"."})").ok());
}

TEST_CASE("A declaration that could mean something else is refused", "[http]") {
  const auto why = [](const std::function<void(HttpToolOptions&)>& change) {
    HttpToolOptions tool = Tool("https://api.example.org/{p}");
    change(tool);
    return tool.Validate().message();
  };
  CHECK(why([](auto&) {}) == "");
  const std::pair<std::function<void(HttpToolOptions&)>, const char*> table[] = {
      {[](auto& t) { t.name = "Big"; }, "a-z"},
      {[](auto& t) { t.url = "https://{host}/"; }, "no places"},
      {[](auto& t) { t.url = "https://api.example.org:{port}/"; }, "no places"},
      {[](auto& t) { t.url = "{scheme}://api.example.org/"; }, "no places"},
      {[](auto& t) { t.url = "https://{user}@api.example.org/"; }, "no places"},
      {[](auto& t) { t.url = "https://me:pw@api.example.org/"; }, "url"},
      {[](auto& t) { t.url = "https://api.example.org/#{p}"; }, "fragment"},
      {[](auto& t) { t.url = "https://api.example.org/{p"; }, "{NAME}"},
      {[](auto& t) { t.url = "https://api.example.org/{}"; }, "{NAME}"},
      {[](auto& t) { t.url = "https://api.example.org/p}"; }, "'}'"},
      {[](auto& t) { t.url = "ftp://api.example.org/"; }, "http"},
      {[](auto& t) { t.url = "api.example.org"; }, "http"},
      {[](auto& t) { t.url = "https://127.1/"; }, ""},  // libcurl reads it as 127.0.0.1
      {[](auto& t) { t.url = "https://api example.org/"; }, "white space"},
      {[](auto& t) { t.method = "HEAD"; }, "method"},
      {[](auto& t) { t.effect = "none"; }, "effect"},
      {[](auto& t) { t.method = "POST"; }, "only a GET"},
      {[](auto& t) { t.body = "{}"; }, "no body"},
      {[](auto& t) { t.effect = "effect", t.method = "POST", t.body = R"({"a": {p} )"; }, "JSON"},
      {[](auto& t) { t.parameters = R"({"type":"object","properties":{}})"; }, "none of its"},
      {[](auto& t) { t.parameters = R"({"type":"object","properties":{"p":{}}})"; }, "required"},
      {[](auto& t) {
         t.parameters =
             R"({"type":"object","properties":{"p":{"type":"object"}},"required":["p"]})";
       },
       "string"},
      {[](auto& t) {
         t.parameters = R"({"type":"object","properties":{"p":{},"q":{}},"required":["p"]})";
       },
       "no place"},
      {[](auto& t) { t.parameters = "[]"; }, "parameters"},
      {[](auto& t) { t.headers = {"X-A: 1\r\nHost: x"}; }, "control"},
      {[](auto& t) { t.headers = {"Host: x"}; }, "not for tools"},
      {[](auto& t) { t.headers = {"Authorization: Bearer x"}; }, "name a secret"},
      {[](auto& t) { t.headers = {"no colon"}; }, "Name: value"},
      {[](auto& t) { t.secret_header = "X-Key"; }, "no secret"},
      {[](auto& t) { t.secret = "API", t.secret_header = "Cookie"; }, "not for tools"},
      {[](auto& t) { t.secret = "API", t.url = "http://api.example.org/"; }, "in clear"},
      {[](auto& t) { t.hosts = {"other.example.org"}; }, "not among"},
      {[](auto& t) { t.hosts = {"a..b"}; }, "host"},
      {[](auto& t) { t.whole_ms = 0; }, "whole_ms"},
      {[](auto& t) { t.output_bytes_max = 1; }, "1024"},
  };
  for (const auto& [change, words] : table) {
    const std::string message = why(change);
    INFO(words << " <- " << message);
    CHECK(Has(message, words));
    if (words[0] != '\0') CHECK_FALSE(message.empty());
  }
  HttpToolOptions tool = Tool("https://api.example.org/");
  CHECK(HttpTools::Create({tool, tool}, {}).status().reason() == "BAD_FIELD");
  tool.secret = "API";
  CHECK(Has(HttpTools::Create({tool}, {}).status().message(), "no secret 'API'"));
  CHECK(Has(HttpTools::Create({tool}, {Secret({"other.org"})}).status().message(), "not among"));
  CHECK(HttpTools::Create({tool}, {Secret({"*.example.org"})}).ok());
  SecretOptions secret = Secret();
  secret.key = "short";
  CHECK(Has(secret.Validate().message(), "at least 8"));
  secret.key = "";
  CHECK(Has(secret.Validate().message(), "key_env"));
  CHECK(Has(Secret({}).Validate().message(), "hosts"));
}

TEST_CASE("A call is one request, with its arguments, its id and its secret", "[http]") {
  ScriptedServer server;
  server.Then(Says("done"));
  HttpToolOptions tool = Tool(server.url() + "/items/{id}?dry={dry}", "POST");
  tool.parameters =
      R"({"type":"object","properties":{"id":{},"dry":{},"n":{},"s":{}},"required":["id"]})";
  tool.headers = {"X-Client: here"};
  tool.secret = "API";
  const ToolResult result = Call(tool, R"({"s":"x","id":"a/b","n":1})", {Secret()});
  CHECK(result.outcome == ToolOutcome::kOk);
  CHECK(result.content == "done");
  REQUIRE(server.seen().size() == 1);
  const SeenRequest seen = server.seen()[0];
  INFO(seen.head);
  CHECK(seen.head.starts_with("POST /v1/items/a%2Fb HTTP/1.1\r\n"));
  CHECK(Has(seen.head, "\r\nIdempotency-Key: s1/t1.call-1\r\n"));
  CHECK(Has(seen.head, "\r\nAuthorization: Bearer sk-0123456789abcdef\r\n"));
  CHECK(Has(seen.head, "\r\nContent-Type: application/json\r\n"));
  CHECK(Has(seen.head, "\r\nX-Client: here\r\n"));
  CHECK(seen.body == R"({"s":"x","n":1})");
  CHECK(Must(HttpTools::Create({tool}, {Secret()}))->tools()[0].spec.effect ==
        EffectClass::kEffect);
}

TEST_CASE("A pure call has no id, and a secret may have a header of its own and a file", "[http]") {
  const TempDirectory temp;
  temp.Write("key", std::string(kKey) + "\n");
  SecretOptions secret = Secret();
  secret.key = "";
  secret.key_file = temp.File("key");
  ScriptedServer server;
  server.Then(Says("done"));
  HttpToolOptions tool = Tool(server.url() + "/?q={q}");
  tool.secret = "API";
  tool.secret_header = "X-Api-Key";
  std::filesystem::permissions(temp.File("key"), std::filesystem::perms(0600));
  CHECK(Call(tool, R"({"q":"a b"})", {secret}).content == "done");
  const std::string head = server.seen()[0].head;
  INFO(head);
  CHECK(head.starts_with("GET /v1/?q=a%20b HTTP/1.1\r\n"));
  CHECK(Has(head, "\r\nX-Api-Key: sk-0123456789abcdef\r\n"));
  CHECK_FALSE(Has(head, "Idempotency-Key"));
  CHECK_FALSE(Has(head, "Authorization"));
  CHECK_FALSE(Has(head, "Content-Type"));
  std::filesystem::permissions(temp.File("key"), std::filesystem::perms(0644));
  const ToolResult refused = Call(tool, R"({"q":"a"})", {secret});
  CHECK(refused.outcome == ToolOutcome::kError);
  CHECK(Has(refused.content, "chmod 600"));
  CHECK(server.seen().size() == 1);
}

TEST_CASE("Redirects lead to allowed hosts only, and carry no secret to another", "[http]") {
  ScriptedServer first;
  ScriptedServer second;
  second.Then(Says("arrived"));
  const auto host = [](const ScriptedServer& server) {
    return Must(ParseUrl(server.url())).HostAndPort();
  };
  HttpToolOptions tool = Tool(first.url());
  tool.secret = "API";
  tool.headers = {"X-Client: here"};
  const auto redirected = [&](const std::string& to, int status = 302) {
    first.Clear();
    first.Then(Redirects(to, status));
    return Call(tool, "{}", {Secret()});
  };
  // Elsewhere: not by default.
  for (const std::string& to : std::vector<std::string>{
           second.url(), std::string("http://localhost:1/"), "http://169.254.169.254/latest",
           "//evil.example/x", "http://127.0.0.1@evil.example/", "file:///etc/passwd",
           "gopher://127.0.0.1/x", "http://[::ffff:127.0.0.1]/"}) {
    const ToolResult result = redirected(to);
    INFO(to << " -> " << result.content);
    CHECK(result.outcome == ToolOutcome::kError);
    CHECK(first.seen().size() == 1);
  }
  CHECK(second.seen().empty());
  // Where hosts say so: without the secret and the tool's own headers.
  tool.hosts = {host(first), host(second)};
  const ToolResult result = redirected(second.url() + "/x");
  CHECK(result.content == "arrived");
  REQUIRE(second.seen().size() == 1);
  INFO(second.seen()[0].head);
  CHECK(second.seen()[0].head.starts_with("GET /v1/x HTTP/1.1\r\n"));
  CHECK_FALSE(Has(second.seen()[0].head, "sk-"));
  CHECK_FALSE(Has(second.seen()[0].head, "X-Client"));
  CHECK(Has(first.seen()[0].head, "sk-"));
  // On the same one: with them.
  first.Clear();
  first.Then(Redirects("/v1/other?x=1"));
  first.Then(Says("there"));
  CHECK(Call(tool, "{}", {Secret()}).content == "there");
  REQUIRE(first.seen().size() == 2);
  CHECK(first.seen()[1].head.starts_with("GET /v1/other?x=1 HTTP/1.1\r\n"));
  CHECK(Has(first.seen()[1].head, "sk-"));
  // For ever: not.
  CHECK(Has(redirected("/v1").content, "more than 5 times"));
  CHECK(first.seen().size() == 6);
}

TEST_CASE("A redirect from https to http is not followed", "[http]") {
  const TempDirectory temp;
  ScriptedServer plain;
  plain.Then(Says("read by everybody"));
  temp.Write("moved",
             "HTTP/1.1 302 Found\r\nLocation: " + plain.url() + "\r\nContent-Length: 0\r\n\r\n");
  Child server({"sh", "-c",
                "cd " + temp.path() +
                    " && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
                    "-keyout key -out cert -days 2 -subj /CN=127.0.0.1 -addext "
                    "subjectAltName=IP:127.0.0.1 2>/dev/null && exec openssl s_server -accept "
                    "127.0.0.1:0 -cert cert -key key -HTTP 2>/dev/null"});
  std::string line;
  do line = server.ReadLine();
  while (!line.empty() && !line.starts_with("ACCEPT "));
  if (line.empty()) {
    WARN("SKIP: no server for TLS (openssl)");
    return;
  }
  HttpToolOptions tool = Tool("https://" + line.substr(7) + "/moved");
  tool.ca_file = temp.File("cert");
  tool.secret = "API";
  tool.hosts = {Must(ParseUrl(tool.url)).HostAndPort(), Must(ParseUrl(plain.url())).HostAndPort()};
  const ToolResult result = Call(tool, "{}", {Secret()});
  CHECK(result.outcome == ToolOutcome::kError);
  CHECK(Has(result.content, "redirects from https to http"));
  CHECK(plain.seen().empty());
}

TEST_CASE("A POST is repeated elsewhere only where its meaning is clear", "[http]") {
  ScriptedServer server;
  HttpToolOptions tool = Tool(server.url(), "POST");
  const auto redirected = [&](int status) {
    server.Clear();
    server.Then(Redirects("/v1/next", status));
    server.Then(Says("there"));
    return Call(tool, R"({"a":1})");
  };
  CHECK(redirected(307).content == "there");
  CHECK(server.seen()[1].head.starts_with("POST /v1/next"));
  CHECK(server.seen()[1].body == R"({"a":1})");
  CHECK(redirected(303).content == "there");
  CHECK(server.seen()[1].head.starts_with("GET /v1/next"));
  CHECK(server.seen()[1].body.empty());
  const ToolResult unclear = redirected(302);
  CHECK(unclear.outcome == ToolOutcome::kUnknown);  // the first server has read it
  CHECK(server.seen().size() == 1);
}

TEST_CASE("A name that stands for this machine is not connected to", "[http]") {
  ScriptedServer server;
  server.Then(Says("inside"));
  const int port = Must(ParseUrl(server.url())).port;
  HttpToolOptions tool = Tool("http://localhost:" + std::to_string(port) + "/");
  tool.hosts = {"*", "127.0.0.1"};
  const ToolResult result = Call(tool);
  INFO(result.content);
  CHECK(result.outcome == ToolOutcome::kError);
  CHECK(Has(result.content, "loopback"));
  tool.url = "http://0.0.0.0:" + std::to_string(port) + "/";
  CHECK(Has(Call(tool).content, "unspecified"));
  CHECK(server.seen().empty());
  tool.url = "http://127.0.0.1:" + std::to_string(port) + "/";
  CHECK(Call(tool).content == "inside");
}

TEST_CASE("Servers that refuse, flood, stall or answer no text are told as they are", "[http]") {
  ScriptedServer server;
  HttpToolOptions tool = Tool(server.url());
  tool.answer_bytes_max = 64 * 1024;
  tool.output_bytes_max = 1024;
  const auto answered = [&](ScriptedReply reply) {
    server.Clear();
    server.Then(std::move(reply));
    return Call(tool);
  };
  SECTION("an error, with the begin of what it says") {
    const ToolResult result = answered(Says(std::string(10'000, 'e'), 404));
    CHECK(result.outcome == ToolOutcome::kError);
    CHECK(result.content.starts_with("The server answered 404.\neee"));
    CHECK(result.content.ends_with("e\n[cut: 2048 of 10000 bytes]"));
  }
  SECTION("too many requests") {
    ScriptedReply reply = Says("slow down", 429);
    reply.headers = {"Retry-After: 7"};
    CHECK(Has(answered(reply).content, "wait 7 s"));
    CHECK(server.seen().size() == 1);
  }
  SECTION("an endless body") {
    ScriptedReply reply = Says("all work and no play ");
    reply.forever = true;
    const ToolResult result = answered(reply);
    CHECK(result.outcome == ToolOutcome::kOk);
    CHECK(result.content.starts_with("all work"));
    CHECK(result.content.ends_with("[cut: 1024 of more than 65536 bytes]"));
  }
  SECTION("headers without an end") {
    ScriptedReply reply = Says("x");
    reply.headers.assign(5000, "X-Flood: " + std::string(100, 'x'));
    const ToolResult result = answered(reply);
    CHECK(result.outcome == ToolOutcome::kError);
    CHECK(Has(result.content, "headers"));
  }
  SECTION("silence") {
    ScriptedReply reply = Says("never whole");
    reply.stop_at = 5;
    tool.whole_ms = 200;
    CHECK(answered(reply).outcome == ToolOutcome::kTimeout);
  }
  SECTION("a picture, as what it is and as a text") {
    const std::string picture("\x89PNG\0\0\xff", 7);
    CHECK(Has(answered(Says(picture, 200, "image/png")).content, "7 bytes of image/png"));
    CHECK(Has(answered(Says(picture, 200, "text/plain")).content, "isn't text"));
    CHECK(answered(Says("a,b", 200, "application/octet-stream")).content == "a,b");
  }
  SECTION("nothing") {
    CHECK(answered(Says("", 204)).content == "The server answered 204, with nothing in it.");
  }
  SECTION("half an answer") {
    ScriptedReply reply = Says(std::string(1000, 'x'));
    reply.cut_at = 300;
    CHECK(answered(reply).outcome == ToolOutcome::kError);
  }
  SECTION("a turn that ends") {
    ScriptedReply reply = Says("never whole");
    reply.stop_at = 5;
    const std::atomic<bool> cancelled{true};
    server.Then(reply);
    CHECK(Call(tool, "{}", {}, &cancelled).outcome == ToolOutcome::kAborted);
  }
}

TEST_CASE("Whether an effect happened is said, where nobody can know it", "[http]") {
  ScriptedServer server;
  HttpToolOptions tool = Tool(server.url(), "POST");
  ScriptedReply cut = Says("x");
  cut.cut_at = 3;
  server.Then(cut);
  const ToolResult lost = Call(tool);
  CHECK(lost.outcome == ToolOutcome::kUnknown);
  CHECK(Has(lost.content, "may or may not have happened"));
  server.Clear();
  server.Then(Says("oops", 502));
  CHECK(Has(Call(tool).content, "may or may not have happened"));
  server.Clear();
  server.Then(Says("no", 422));
  CHECK_FALSE(Has(Call(tool).content, "may or may not"));
  tool.url = "http://127.0.0.1:1/";  // nobody listens there
  const ToolResult unsent = Call(tool);
  CHECK(unsent.outcome == ToolOutcome::kError);
  CHECK(Has(unsent.content, "was not run"));
}

}  // namespace
}  // namespace baleen

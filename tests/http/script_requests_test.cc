// Requests of scripts: which hosts, which secrets, what goes out and what comes back.
#include "runtime/http_tools/script_requests.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime/clock.h"
#include "tests/remote/scripted_server.h"
#include "tests/store/status_checks.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

constexpr char kKey[] = "sk-0123456789abcdef";

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

SecretOptions Secret(const std::string& name, std::vector<std::string> hosts, bool for_scripts) {
  SecretOptions secret;
  secret.name = name;
  secret.key = kKey;
  secret.hosts = std::move(hosts);
  secret.for_scripts = for_scripts;
  return secret;
}

std::unique_ptr<ScriptRequests> Make(const std::vector<std::string>& hosts) {
  return Must(ScriptRequests::Create(
      hosts, {Secret("API", {"127.0.0.1"}, true), Secret("TOOLS", {"127.0.0.1"}, false),
              Secret("OTHER", {"example.org"}, true)}));
}

ToolResult Ask(ScriptRequests& requests, const Json& arguments, const std::string& id = "s/t1.c1",
               const std::atomic<bool>* cancelled = nullptr) {
  CallContext context;
  context.deadline_ms = Clock().SteadyMs() + 60'000;
  context.cancelled = cancelled;
  return requests.Call({id, kHttpRequest, arguments.dump()}, context);
}

ScriptedReply Says(const std::string& body, int status = 200,
                   const std::string& type = "application/json") {
  ScriptedReply reply;
  reply.status = status;
  reply.type = type;
  reply.body = body;
  return reply;
}

/// The line in front of an answer.
Json Head(const ToolResult& result) {
  INFO(result.content);
  REQUIRE(result.outcome == ToolOutcome::kOk);
  return Json::parse(result.content.substr(0, result.content.find('\n')));
}

std::string Body(const ToolResult& result) {
  return result.content.substr(result.content.find('\n') + 1);
}

TEST_CASE("A script's request goes out as it says, and comes back as it came", "[http]") {
  ScriptedServer server;
  server.Then(Says("{\"n\":1}\nmore"));
  const auto requests = Make({"127.0.0.1"});
  const ToolResult got = Ask(*requests, {{"method", "GET"},
                                         {"url", server.url() + "?q=1"},
                                         {"headers", {{"X-One", "a b"}}},
                                         {"secret", "API"}});
  CHECK(Head(got) == Json({{"status", 200}, {"content_type", "application/json"}}));
  CHECK(Body(got) == "{\"n\":1}\nmore");
  const ToolResult put = Ask(*requests,
                             {{"method", "PUT"},
                              {"url", server.url()},
                              {"headers", {{"content-TYPE", "text/x"}, {"User-AGENT", "mine"}}},
                              {"body", "hällo"},
                              {"secret", "API"},
                              {"secret_header", "X-Key"}},
                             "s/t1.a\r\nEvil: 1 ü");
  CHECK(Head(put)["status"] == 200);
  const auto seen = server.seen();
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].head.starts_with("GET /v1?q=1 HTTP/1.1\r\n"));
  CHECK(Has(seen[0].head, "\r\nX-One: a b\r\n"));
  CHECK(Has(seen[0].head, "\r\nAuthorization: Bearer " + std::string(kKey) + "\r\n"));
  CHECK(!Has(seen[0].head, "Idempotency-Key"));
  CHECK(!Has(seen[0].head, "Content-Type"));
  CHECK(Has(seen[0].head, "\r\nUser-Agent: baleen\r\n"));
  CHECK(Has(seen[1].head, "\r\nUser-AGENT: mine\r\n"));
  CHECK(!Has(seen[1].head, "baleen"));
  CHECK(seen[1].body == "hällo");
  CHECK(Has(seen[1].head, "\r\nContent-Type: text/x\r\n"));
  CHECK(Has(seen[1].head, "\r\nX-Key: " + std::string(kKey) + "\r\n"));
  CHECK(Has(seen[1].head, "\r\nIdempotency-Key: s/t1.a%0D%0AEvil%3A%201%20%C3%BC\r\n"));
  CHECK(!Has(seen[1].head, "Evil: 1"));
}

TEST_CASE("What of an answer isn't text or is too long is left out and said", "[http]") {
  ScriptedServer server;
  server.Then(Says("none", 404, "text/plain"));
  server.Then(Says(std::string("a\0b", 3), 200, "application/octet-stream"));
  server.Then(Says("gr\xFC\xDF", 200, "text/plain"));
  ScriptedReply endless = Says("ä23456789\n", 200, "text/plain");
  endless.forever = true;
  server.Then(endless);
  const auto requests = Make({"127.0.0.1"});
  const Json get = {{"method", "GET"}, {"url", server.url()}};
  CHECK(Head(Ask(*requests, get))["status"] == 404);
  const ToolResult binary = Ask(*requests, get);
  CHECK(Head(binary)["skipped"] == 3);
  CHECK(Body(binary).empty());
  CHECK(Body(Ask(*requests, get)) == "gr\uFFFD\uFFFD");
  const ToolResult cut = Ask(*requests, get);
  CHECK(Head(cut)["cut"] == true);
  CHECK(Body(cut).size() <= 256u << 10);
  CHECK(Body(cut).size() > (256u << 10) - 4);
  CHECK(Utf8ValidPrefix(cut.content) == cut.content.size());
  Json few = get;
  few["bytes_max"] = 12;
  CHECK(Body(Ask(*requests, few)) == "ä23456789\n");
}

TEST_CASE("Hosts and secrets are refused in words that say what to add where", "[http]") {
  ScriptedServer server;
  server.Then(Says("no"));
  const auto none = Make({});
  const auto all = Make({"*", "127.0.0.1"});
  const auto named = Make({"localhost", "10.0.0.1:80"});
  const std::string asked = server.url().substr(7, server.url().size() - 10);
  const Json get = {{"method", "GET"}, {"url", server.url()}};
  const auto with = [&](const Json& more) {
    Json arguments = get;
    arguments.update(more);
    return arguments;
  };
  const struct {
    ScriptRequests& requests;
    Json arguments;
    std::string expected;
  } kTable[] = {
      {*none, get,
       asked + " is none of the hosts that scripts may ask: add \"" + asked +
           "\" to script_http_hosts in [web]"},
      {*named, with({{"url", "http://10.0.0.1:81/"}}), "is none of the hosts"},
      // A name stands for an address that nobody has named.
      {*named, with({{"url", "http://localhost:" + asked.substr(10)}}), "loopback"},
      {*all, with({{"url", "http://169.254.169.254/latest"}}), "169.254.169.254"},
      {*all, with({{"url", "http://[::1]:1/"}}), "::1"},
      {*all, with({{"url", "http://user:pw@127.0.0.1/"}}), "not run"},
      {*all, with({{"url", "file:///etc/passwd"}}), "not run"},
      {*all, with({{"url", "http://127.0.0.1\r\nX: y/"}}), "not run"},
      {*all, with({{"hosts", {"tracker.internal"}}, {"tool", "look"}}),
       "tool 'look' says that it reaches other hosts than " + asked + ": add \"" + asked +
           "\" to its traits.network"},
      {*all, with({{"hosts", {"a b"}}, {"tool", "look"}}), "tool 'look': traits.network: "},
      {*all, with({{"secret", "NONE"}}), "secret 'NONE' isn't declared: add [secrets.NONE]"},
      {*all, with({{"secret", "TOOLS"}}), "add scripts = true to [secrets.TOOLS]"},
      {*all, with({{"secret", "OTHER"}}),
       "may not be sent to " + asked + ": add \"" + asked + "\" to the hosts of [secrets.OTHER]"},
      {*all, with({{"secret", "OTHER"}, {"url", "http://example.org/"}}), "in clear: use https"},
      {*all, with({{"secret", "API"}, {"secret_header", "Host"}}),
       "'Host' is not for tools to set"},
      {*all, with({{"secret", "API"}, {"secret_header", "A\r\nB"}}), "is no name of a header"},
      {*all, with({{"body", "x"}}), "a GET has no body"},
      {*all, with({{"method", "DELETE"}, {"body", "x"}}), "a DELETE has no body"},
  };
  for (const auto& row : kTable) {
    const ToolResult result = Ask(row.requests, row.arguments);
    INFO(row.arguments.dump() << " -> " << result.content);
    CHECK(result.outcome == ToolOutcome::kError);
    CHECK(result.content.starts_with("The call was not run: "));
    CHECK(Has(result.content, row.expected));
    CHECK(!Has(result.content, kKey));
  }
  CHECK(server.seen().empty());
  CHECK(!ScriptRequests::Create({"a b"}, {}).ok());
}

TEST_CASE("A script's headers can't frame, forge or split a request", "[http]") {
  ScriptedServer server;
  server.Then(Says("x"));
  const auto requests = Make({"127.0.0.1"});
  for (const char* name :
       {"Host", "content-length", "Transfer-Encoding", "Cookie", "Authorization", "Connection",
        "Idempotency-Key", "Proxy-Authorization", "Upgrade", "Expect", "A b", "A:", "", "A\r\nB"}) {
    const ToolResult result =
        Ask(*requests, {{"method", "GET"}, {"url", server.url()}, {"headers", {{name, "v"}}}});
    INFO(name << " -> " << result.content);
    CHECK(result.outcome == ToolOutcome::kError);
  }
  for (const std::string& value : {std::string("a\r\nEvil: 1"), std::string("a\nb"),
                                   std::string("a\0b", 3), std::string(5000, 'x')}) {
    for (const char* name : {"X-One", "Content-Type"}) {
      const ToolResult result = Ask(
          *requests,
          {{"method", "POST"}, {"url", server.url()}, {"body", "b"}, {"headers", {{name, value}}}});
      CHECK(result.outcome == ToolOutcome::kError);
    }
  }
  Json many = Json::object();
  for (int i = 0; i < 33; ++i) many["X-" + std::to_string(i)] = "v";
  CHECK(Ask(*requests, {{"method", "GET"}, {"url", server.url()}, {"headers", many}}).outcome ==
        ToolOutcome::kError);
  CHECK(server.seen().empty());
}

TEST_CASE("Where a server sends a script's request on is told, not followed", "[http]") {
  ScriptedServer server, other;
  other.Then(Says("secret stuff"));
  ScriptedReply redirect = Says("", 302, "text/plain");
  redirect.headers = {"Location: http://localhost:" + other.url().substr(17) + "/x"};
  server.Then(redirect);
  const auto requests = Make({"127.0.0.1", "localhost"});
  const ToolResult told = Ask(*requests, {{"method", "GET"}, {"url", server.url()}});
  CHECK(Head(told)["status"] == 302);
  CHECK(Has(Head(told)["redirect"], "http://localhost:"));
  server.Clear();
  // To another port of its own host, which the tool doesn't name.
  redirect.headers = {"Location: " + other.url()};
  server.Then(redirect);
  const std::string only = server.url().substr(7, server.url().size() - 10);
  const ToolResult within = Ask(*requests, {{"method", "GET"},
                                            {"url", server.url()},
                                            {"hosts", {only}},
                                            {"secret", "API"},
                                            {"tool", "look"}});
  INFO(within.content);
  CHECK(within.outcome == ToolOutcome::kError);
  CHECK(Has(within.content, "is not among those allowed"));
  CHECK(other.seen().empty());
}

TEST_CASE("A request without an answer is late or unknown, never silent", "[http]") {
  ScriptedServer server;
  ScriptedReply hangs = Says("x");
  hangs.stop_at = 0;
  server.Then(hangs);
  const auto requests = Make({"127.0.0.1"});
  const ToolResult late =
      Ask(*requests, {{"method", "GET"}, {"url", server.url()}, {"timeout_ms", 300}});
  CHECK(late.outcome == ToolOutcome::kTimeout);
  CHECK(late.content == "The server gave no whole answer within 300 ms.");
  const ToolResult post =
      Ask(*requests, {{"method", "POST"}, {"url", server.url()}, {"timeout_ms", 300}});
  CHECK(post.outcome == ToolOutcome::kTimeout);
  CHECK(Has(post.content, "inspect before repeating it"));
  server.Clear();
  ScriptedReply broken = Says("body");
  broken.cut_at = 12;
  server.Then(broken);
  CHECK(Ask(*requests, {{"method", "GET"}, {"url", server.url()}}).outcome == ToolOutcome::kError);
  CHECK(Ask(*requests, {{"method", "DELETE"}, {"url", server.url()}}).outcome ==
        ToolOutcome::kUnknown);
  const std::atomic<bool> cancelled = true;
  server.Clear();
  server.Then(hangs);
  const ToolOutcome ended =
      Ask(*requests, {{"method", "GET"}, {"url", server.url()}}, "s/t1.c1", &cancelled).outcome;
  CHECK((ended == ToolOutcome::kAborted || ended == ToolOutcome::kAbortedBeforeDispatch));
}

TEST_CASE("What a script's request is judged by is read from its arguments", "[http]") {
  const auto head =
      ScriptRequestHeadOf(R"({"method":"POST","url":"https://A.example/x","secret":"K"})");
  CHECK(head.method == "POST");
  CHECK(head.host == "a.example:443");
  CHECK(head.secret == "K");
  CHECK(ScriptRequestHeadOf("no JSON").method.empty());
  CHECK(ScriptRequestHeadOf(R"({"method":1,"url":[]})").host.empty());
  const auto effect = [](const char* arguments) {
    return ScriptRequestTools(arguments).Find(kHttpRequest)->effect;
  };
  CHECK(effect(R"({"method":"GET"})") == EffectClass::kPure);
  CHECK(effect(R"({"headers":{"method":"GET"},"method":"POST"})") == EffectClass::kEffect);
  CHECK(effect("") == EffectClass::kEffect);
}

}  // namespace
}  // namespace baleen

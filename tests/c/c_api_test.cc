// The C API as a foreign language would use it: handles, JSON, codes; nothing of Baleen's C++.
#include <baleen/baleen.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/runtime/tiny_checkpoint.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

using Json = nlohmann::json;
using VerbFunction = int (*)(baleen_runtime*, const char*, char**, baleen_error**);

constexpr int64_t kPatienceMs = 60'000;

/// Written once.
const std::string& TinyModel() {
  static const TempDirectory folder;
  static const std::string path = [] {
    const Status written = WriteTinyCheckpoint(folder.File("model"), 1, 0);
    INFO(written.ToString());
    REQUIRE(written.ok());
    return folder.File("model");
  }();
  return path;
}

/// A code with the error's words, freed.
struct Outcome {
  int code = 0;
  std::string reason;
  std::string message;
  Json reply;
};

Outcome Taken(int code, baleen_error* error, char* reply) {
  Outcome outcome;
  outcome.code = code;
  CHECK(baleen_error_code(error) == code);
  outcome.reason = baleen_error_reason(error);
  outcome.message = baleen_error_message(error);
  if (reply != nullptr) outcome.reply = Json::parse(reply);
  baleen_error_free(error);
  baleen_string_free(reply);
  return outcome;
}

class Host {
 public:
  explicit Host(const std::string& data_dir) {
    baleen_options* options = baleen_options_new();
    REQUIRE(baleen_options_set(options, "data_dir", data_dir.c_str(), nullptr) == BALEEN_OK);
    REQUIRE(baleen_options_set(options, "model_path", TinyModel().c_str(), nullptr) == BALEEN_OK);
    REQUIRE(baleen_options_set(options, "threads", "1", nullptr) == BALEEN_OK);
    baleen_error* error = nullptr;
    const int code = baleen_open(options, &runtime_, &error);
    INFO(baleen_error_message(error));
    REQUIRE(code == BALEEN_OK);
    baleen_options_free(options);
  }
  ~Host() { Close(); }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  void Close() { baleen_close(std::exchange(runtime_, nullptr)); }

  Outcome Call(VerbFunction verb, const Json& request) const {
    char* reply = nullptr;
    baleen_error* error = nullptr;
    const std::string text = request.is_null() ? "{}" : request.dump();
    const int code = verb(runtime_, text.c_str(), &reply, &error);
    return Taken(code, error, reply);
  }
  Json Do(VerbFunction verb, const Json& request) const {
    const Outcome outcome = Call(verb, request);
    INFO(outcome.message);
    REQUIRE(outcome.code == BALEEN_OK);
    return outcome.reply;
  }
  /// A turn to its end.
  Json Turn(const std::string& session, const std::string& input) const {
    const Json turn = Do(&baleen_start_turn, {{"session", session}, {"input", input}});
    return Do(&baleen_wait_turn,
              {{"session", session}, {"turn", turn["turn"]}, {"timeout_ms", kPatienceMs}});
  }
  baleen_runtime* runtime() const { return runtime_; }

 private:
  baleen_runtime* runtime_ = nullptr;
};

Outcome Next(baleen_watch* watch) {
  char* event = nullptr;
  baleen_error* error = nullptr;
  const int code = baleen_watch_next(watch, kPatienceMs, &event, &error);
  return Taken(code, error, event);
}

constexpr const char* kEcho = "return function(message) return 'heard ' .. message end";

/// Calls the tool that the user names.
constexpr const char* kCaller =
    "return function(message)\n"
    "  local content, outcome = baleen.call(message, { x = 5 })\n"
    "  return outcome .. ':' .. content\n"
    "end\n";

TEST_CASE("A session lives its whole life through C", "[c]") {
  const TempDirectory temp;
  Host host(temp.File("data"));
  const Json session = host.Do(
      &baleen_create_session,
      {{"session", "s"},
       {"settings", {{"title", "first"}, {"system_prompt", "Be brief."}, {"tokens_max", 12}}}});
  CHECK(session["session"] == "s");
  CHECK(session["state"] == "IDLE");
  CHECK(session["settings"]["tokens_max"] == 12);
  const Json turn = host.Turn("s", "hello");
  CHECK(turn["state"] == "SUCCEEDED");
  CHECK(turn["error"].is_null());
  CHECK(turn["tokens_generated"].get<int>() > 0);
  CHECK(host.Do(&baleen_get_turn, {{"session", "s"}, {"turn", "t1"}})["text"] == turn["text"]);

  const Json fork =
      host.Do(&baleen_fork_session, {{"session", "s"}, {"fork", "f"}, {"at", {{"turn", "t1"}}}});
  CHECK(fork["parent"] == "s");
  CHECK(fork["tokens"] == host.Do(&baleen_get_session, {{"session", "s"}})["tokens"]);
  const Json inside =
      host.Do(&baleen_fork_session, {{"session", "s"}, {"fork", "g"}, {"at", {{"tokens", 5}}}});
  CHECK(inside["tokens"] == 5);
  CHECK(host.Do(&baleen_list_sessions, {})["sessions"].size() == 3);
  const Json page = host.Do(&baleen_list_sessions, {{"page_size", 2}});
  CHECK(page["sessions"].size() == 2);
  CHECK(page["next_page_token"] != "");

  host.Turn("s", "again");
  const Json rewound =
      host.Do(&baleen_rewind_session, {{"session", "s"}, {"to", {{"turn", "t1"}}}});
  CHECK(rewound["left_turns"] == 2);
  CHECK(rewound["session"]["timeline"] == 2);
  CHECK(host.Do(&baleen_rewind_session, {{"session", "s"}, {"undo", true}})["session"]["turns"] ==
        2);
  const Json updated =
      host.Do(&baleen_update_session,
              {{"session", "s"}, {"settings", {{"title", "T"}, {"sampling", {{"top_k", 4}}}}}});
  CHECK(updated["settings"]["title"] == "T");
  CHECK(updated["settings"]["sampling"]["top_k"] == 4);
  CHECK(updated["settings"]["sampling"]["seed"] ==
        rewound["session"]["settings"]["sampling"]["seed"]);
  CHECK(host.Call(&baleen_update_session, {{"session", "s"}, {"settings", {{"script", ""}}}})
            .reason == "BAD_FIELD");
  CHECK(host.Do(&baleen_read_tenant, {{"tenant", "t"}})["sessions"] == 0);
  CHECK(host.Do(&baleen_pin_session, {{"session", "s"}, {"pinned", true}})["pinned"] == true);
  CHECK(host.Call(&baleen_delete_session, {{"session", "s"}}).reason == "SESSION_PINNED");
  CHECK(host.Do(&baleen_prefetch_session, {{"session", "f"}})["context_tokens"] == fork["tokens"]);
  host.Do(&baleen_release_session, {{"session", "f"}});
  CHECK(host.Do(&baleen_search, {{"words", "again"}})["hits"].size() == 1);
  CHECK(host.Do(&baleen_explain, {{"session", "s"}})["steps"].size() >= 2);
  const Json trace = host.Do(&baleen_read_tokens, {{"session", "s"}, {"count", 4}});
  CHECK(trace["ids"].size() == 4);
  CHECK(host.Do(&baleen_verify, {})["problems"].empty());
  CHECK(host.Do(&baleen_stats, {})["sessions"] == 3);

  const std::string archive = temp.File("s.baleen");
  CHECK(host.Do(&baleen_export_session, {{"session", "f"}, {"path", archive}})["events"] > 0);
  CHECK(host.Do(&baleen_import_session, {{"path", archive}, {"session", "i"}})["tokens"] ==
        fork["tokens"]);
  host.Do(&baleen_backup, {{"path", temp.File("backup")}});
  CHECK(host.Do(&baleen_delete_session, {{"session", "g"}})["tokens"] == 5);
  host.Do(&baleen_compact, {});
  host.Close();

  const Host again(temp.File("data"));
  CHECK(again.Do(&baleen_get_session, {{"session", "s"}})["turns"] == 2);
  CHECK(again.Call(&baleen_get_session, {{"session", "g"}}).code == BALEEN_NOT_FOUND);
}

TEST_CASE("Events are read at the host's pace, from a cursor on", "[c]") {
  const TempDirectory temp;
  Host host(temp.File("data"));
  host.Do(&baleen_create_session, {{"session", "s"}, {"settings", {{"script", kEcho}}}});
  CHECK(host.Turn("s", "one")["text"] == "heard one");
  baleen_watch* watch = nullptr;
  REQUIRE(baleen_watch_start(host.runtime(), R"({"session":"s"})", &watch, nullptr) == BALEEN_OK);
  std::vector<std::string> kinds;
  std::string cursor;
  while (kinds.empty() || kinds.back() != "turn_finished") {
    const Outcome next = Next(watch);
    REQUIRE(next.code == BALEEN_OK);
    kinds.push_back(next.reply["kind"]);
    cursor = next.reply["cursor"];
    if (kinds.back() == "turn_finished") CHECK(next.reply["payload"]["text"] == "heard one");
  }
  CHECK(kinds.front() == "session_created");
  // A caller that waits is woken, and nothing comes any more.
  std::thread waiting([&] { CHECK(Next(watch).reason == "STOPPED"); });
  baleen_watch_stop(watch);
  waiting.join();
  baleen_watch_free(watch);

  host.Turn("s", "two");
  const std::string after = Json{{"session", "s"}, {"after", cursor}, {"live", false}}.dump();
  REQUIRE(baleen_watch_start(host.runtime(), after.c_str(), &watch, nullptr) == BALEEN_OK);
  CHECK(Next(watch).reply["kind"] == "turn_started");
  // The runtime stays until the last watch is gone.
  host.Close();
  CHECK(Next(watch).code == BALEEN_OK);
  char* event = nullptr;
  int code = BALEEN_OK;
  while (code == BALEEN_OK) {
    code = baleen_watch_next(watch, 0, &event, nullptr);
    baleen_string_free(event);
  }
  CHECK(code == BALEEN_DEADLINE_EXCEEDED);
  baleen_watch_free(watch);
}

TEST_CASE("A host in C serves tools", "[c]") {
  const TempDirectory temp;
  const Host host(temp.File("data"));
  const Json tool = {
      {"name", "probe"},
      {"description", "Probes."},
      {"parameters", {{"type", "object"}, {"properties", {{"x", {{"type", "integer"}}}}}}},
      {"effect", "PURE"}};
  host.Do(&baleen_create_session,
          {{"session", "s"}, {"settings", {{"script", kCaller}, {"host_tools", {tool}}}}});
  baleen_tool_host* tools = nullptr;
  REQUIRE(baleen_tool_host_start(host.runtime(), R"({"session":"s","tools":["probe"]})", &tools,
                                 nullptr) == BALEEN_OK);
  char* text = nullptr;
  CHECK(baleen_tool_host_next(tools, 0, &text, nullptr) == BALEEN_DEADLINE_EXCEEDED);
  CHECK(text == nullptr);
  for (const char* outcome : {"OK", "ERROR"}) {
    const Json turn = host.Do(&baleen_start_turn, {{"session", "s"}, {"input", {"probe"}}});
    REQUIRE(baleen_tool_host_next(tools, kPatienceMs, &text, nullptr) == BALEEN_OK);
    const Json call = Json::parse(text);
    baleen_string_free(text);
    CHECK(call["kind"] == "call");
    CHECK(call["name"] == "probe");
    CHECK(call["arguments"] == Json{{"x", 5}});
    const std::string result =
        Json{{"call_id", call["call_id"]}, {"content", "seen"}, {"outcome", outcome}}.dump();
    REQUIRE(baleen_tool_host_submit(tools, result.c_str(), nullptr) == BALEEN_OK);
    const Json ended = host.Do(
        &baleen_wait_turn, {{"session", "s"}, {"turn", turn["turn"]}, {"timeout_ms", kPatienceMs}});
    CHECK(ended["text"] == std::string(outcome) + ":seen");
    baleen_error* error = nullptr;
    const int code = baleen_tool_host_submit(tools, result.c_str(), &error);
    CHECK(Taken(code, error, nullptr).code == BALEEN_NOT_FOUND);
  }
  baleen_error* error = nullptr;
  const int code = baleen_tool_host_submit(tools, R"({"call_id":"x","outcome":"MAYBE"})", &error);
  CHECK_THAT(Taken(code, error, nullptr).message, Catch::Contains("MAYBE"));
  baleen_tool_host_free(tools);
}

TEST_CASE("A call waits until a host in C grants or denies it", "[c]") {
  const TempDirectory temp;
  const Host host(temp.File("data"));
  const Json tool = {{"name", "probe"},
                     {"description", "Probes."},
                     {"parameters", {{"type", "object"}}},
                     {"effect", "EFFECT"}};
  const Json policy = {{"rules", {{{"tool", "pro*"}, {"decision", "ask"}, {"why", "once a day"}}}}};
  host.Do(&baleen_create_session,
          {{"session", "s"},
           {"settings", {{"script", kCaller}, {"host_tools", {tool}}, {"policy", policy}}}});
  const Json turn = host.Do(&baleen_start_turn, {{"session", "s"}, {"input", {"probe"}}});
  Json waiting = Json::array();
  while (waiting.empty()) waiting = host.Do(&baleen_list_approvals, Json::object())["approvals"];
  CHECK(waiting[0]["description"] == "once a day");
  CHECK(waiting[0]["calls"][0]["arguments"] == Json{{"x", 5}});
  const Json named = {{"session", "s"}, {"approval", waiting[0]["approval"]}};
  CHECK(host.Do(&baleen_get_approval, named)["state"] == "PENDING");
  CHECK(host.Do(&baleen_get_turn, {{"session", "s"}, {"turn", turn["turn"]}})["waiting_on"] ==
        "APPROVAL");
  Json answer = named;
  answer["decision"] = "deny";
  answer["reason"] = "not today";
  CHECK(host.Do(&baleen_resolve_approval, answer)["state"] == "DENIED");
  const Json ended = host.Do(
      &baleen_wait_turn, {{"session", "s"}, {"turn", turn["turn"]}, {"timeout_ms", kPatienceMs}});
  CHECK_THAT(ended["text"].get<std::string>(), Catch::Contains("DENIED:"));
  CHECK_THAT(ended["text"].get<std::string>(), Catch::Contains("not today"));
  CHECK(host.Do(&baleen_list_grants, {{"session", "s"}})["grants"].empty());
  const Json tools = host.Do(&baleen_list_tools, {{"session", "s"}})["tools"];
  REQUIRE(tools.size() == 1);
  CHECK(tools[0]["name"] == "probe");
  CHECK(tools[0]["origin"] == "host");
  CHECK(tools[0]["parameters"] == Json{{"type", "object"}});
  CHECK(host.Do(&baleen_list_models, Json::object())["models"][0]["engine"] == "");
}

TEST_CASE("A host in C grants for a session, and takes it back", "[c]") {
  const TempDirectory temp;
  const Host host(temp.File("data"));
  const Json tool = {{"name", "probe"},
                     {"description", "Probes."},
                     {"parameters", {{"type", "object"}}},
                     {"effect", "EFFECT"}};
  const Json policy = {{"rules", {{{"tool", "probe"}, {"decision", "ask"}}}}};
  host.Do(&baleen_create_session,
          {{"session", "s"},
           {"settings", {{"script", kCaller}, {"host_tools", {tool}}, {"policy", policy}}}});
  host.Do(&baleen_start_turn, {{"session", "s"}, {"input", {"probe"}}});
  Json waiting = Json::array();
  while (waiting.empty()) waiting = host.Do(&baleen_list_approvals, Json::object())["approvals"];
  Json answer = {{"session", "s"}, {"approval", waiting[0]["approval"]}};
  answer["decision"] = "grant";
  answer["scope"] = "session";
  host.Do(&baleen_resolve_approval, answer);
  const Json grants = host.Do(&baleen_list_grants, Json::object())["grants"];
  REQUIRE(grants.size() == 1);
  CHECK(grants[0]["tools"] == Json{"probe"});
  const Json named = {{"session", "s"}, {"approval", grants[0]["approval"]}, {"revoked_by", "c"}};
  CHECK(host.Do(&baleen_revoke_grant, named)["scope"] == "SESSION");
  CHECK(host.Do(&baleen_list_grants, Json::object())["grants"].empty());
}

TEST_CASE("What can't be is refused with a code, a reason and words", "[c]") {
  CHECK(std::string(baleen_version()) != "");
  CHECK(std::string(baleen_code_name(BALEEN_NOT_FOUND)) == "NOT_FOUND");
  CHECK(std::string(baleen_code_name(-7)) == "UNKNOWN");
  CHECK(std::string(baleen_error_message(nullptr)).empty());
  baleen_error_free(nullptr);
  baleen_string_free(nullptr);
  baleen_close(nullptr);
  baleen_watch_free(nullptr);
  baleen_tool_host_free(nullptr);

  baleen_options* options = baleen_options_new();
  baleen_error* error = nullptr;
  const auto set = [&](const char* name, const char* value) {
    const int code = baleen_options_set(options, name, value, &error);
    return Taken(code, error, nullptr);
  };
  CHECK(set("kv_ram_bytes", "1000000").code == BALEEN_OK);
  CHECK_THAT(set("kv_ram", "1").message, Catch::Contains("kv_ram_bytes"));
  CHECK_THAT(set("threads", "two").message, Catch::Contains("integer"));
  CHECK_THAT(set("threads", "99999999999").message, Catch::Contains("integer"));
  CHECK_THAT(set("threads", "").message, Catch::Contains("integer"));
  CHECK_THAT(set("lazy_resume", "yes").message, Catch::Contains("true or false"));
  CHECK(set(nullptr, "1").code == BALEEN_INVALID_ARGUMENT);
  set("data_dir", "/nowhere/at/all");
  set("model_path", "/nowhere/model");
  baleen_runtime* runtime = nullptr;
  int code = baleen_open(options, &runtime, &error);
  CHECK(Taken(code, error, nullptr).code != BALEEN_OK);
  CHECK(runtime == nullptr);
  CHECK(baleen_open(options, nullptr, nullptr) == BALEEN_INVALID_ARGUMENT);
  baleen_options_free(options);

  char* reply = nullptr;
  CHECK(baleen_stats(nullptr, nullptr, &reply, nullptr) == BALEEN_INVALID_ARGUMENT);
  const TempDirectory temp;
  const Host host(temp.File("data"));
  CHECK(baleen_stats(host.runtime(), nullptr, nullptr, nullptr) == BALEEN_OK);
  const Outcome misspelt = host.Call(&baleen_create_session, {{"sesion", "s"}});
  CHECK(misspelt.reason == "BAD_FIELD");
  CHECK_THAT(misspelt.message, Catch::Contains("\"sesion\"") && Catch::Contains("request_id"));
  CHECK_THAT(
      host.Call(&baleen_create_session, {{"settings", {{"token_max", 3}}}}).message,
      Catch::Contains("settings") && Catch::Contains("token_max") && Catch::Contains("tokens_max"));
  CHECK_THAT(host.Call(&baleen_create_session, {{"settings", {{"tokens_max", "3"}}}}).message,
             Catch::Contains("tokens_max"));
  CHECK(host.Call(&baleen_start_turn, {{"session", "s"}}).code == BALEEN_INVALID_ARGUMENT);
  const Outcome unknown = host.Call(&baleen_start_turn, {{"session", "s"}, {"input", "x"}});
  CHECK(unknown.code == BALEEN_NOT_FOUND);
  CHECK(unknown.reason == "SESSION_UNKNOWN");
  CHECK(host.Call(&baleen_fork_session, {{"session", "s"}, {"at", {{"turns", "t1"}}}}).reason ==
        "BAD_FIELD");
  baleen_watch* watch = nullptr;
  code = baleen_watch_start(host.runtime(), R"({"session":"s"})", &watch, &error);
  CHECK(Taken(code, error, nullptr).code == BALEEN_NOT_FOUND);
  CHECK(watch == nullptr);
}

}  // namespace
}  // namespace baleen

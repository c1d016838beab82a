// `baleen sessions`: what is stored, and whether it is sound.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "runtime/cli/session_commands.h"

namespace baleen::cli {

using Json = nlohmann::ordered_json;

namespace {

const char* StateName(SessionState state) {
  switch (state) {
    case SessionState::kIdle: return "IDLE";
    case SessionState::kRunning: return "RUNNING";
    case SessionState::kBroken: return "BROKEN";
  }
  return "BROKEN";
}

int List(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  Json all = Json::array();
  std::string token;
  do {
    std::string next;
    auto page = (*runtime)->ListSessions(0, token, &next);
    if (!page.ok()) return Fail(page.status(), flags.json);
    for (const SessionView& view : *page) {
      if (flags.json) {
        all.push_back(SessionJson(view));
      } else {
        std::printf("%-24s %-8s %10lld tokens  %s\n", view.session.c_str(), StateName(view.state),
                    static_cast<long long>(view.tokens), view.settings.title.c_str());
      }
    }
    token = next;
  } while (!token.empty());
  if (flags.json) std::cout << all.dump(2) << "\n";
  return kExitOk;
}

int Show(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto view = (*runtime)->GetSession(flags.session);
  if (!view.ok()) return Fail(view.status(), flags.json);
  PrintFields(SessionJson(*view), flags.json);
  return kExitOk;
}

int Verify(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto report = (*runtime)->Verify(flags.session);
  if (!report.ok()) return Fail(report.status(), flags.json);
  if (flags.json) {
    std::cout << Json{{"sessions", report->sessions},
                      {"events", report->events},
                      {"tokens", report->tokens},
                      {"blocks", report->blocks},
                      {"block_bytes", report->block_bytes},
                      {"checkpoints", report->checkpoints},
                      {"checkpoint_bytes", report->checkpoint_bytes},
                      {"problems", report->problems}}
                     .dump(2)
              << "\n";
  } else {
    std::printf("%lld sessions, %lld events, %lld tokens, %lld blocks, %lld checkpoints: %s\n",
                static_cast<long long>(report->sessions), static_cast<long long>(report->events),
                static_cast<long long>(report->tokens), static_cast<long long>(report->blocks),
                static_cast<long long>(report->checkpoints),
                report->problems.empty() ? "clean" : "PROBLEMS");
    for (const std::string& problem : report->problems) std::printf("  %s\n", problem.c_str());
  }
  return report->problems.empty() ? kExitOk : kExitFailed;
}

int Stats(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto stats = (*runtime)->Stats();
  if (!stats.ok()) return Fail(stats.status(), flags.json);
  const Json json = {{"sessions", stats->sessions},
                     {"timelines", stats->timelines},
                     {"timeline_tokens", stats->timeline_tokens},
                     {"journal_tokens", stats->journal_tokens},
                     {"sharing_factor", stats->SharingFactor()},
                     {"journal_bytes", stats->journal_bytes},
                     {"kv_blocks", stats->kv_blocks},
                     {"kv_bytes_per_token", stats->KvBytesPerToken()},
                     {"kv_write_amplification", stats->kv_write_amplification},
                     {"kv_blocks_found", stats->kv_blocks_found},
                     {"kv_blocks_missed", stats->kv_blocks_missed},
                     {"turns_running", stats->turns_running},
                     {"sequences_resident", stats->sequences_resident},
                     {"kv_bytes_on_disk", stats->kv_bytes_on_disk},
                     {"block_tokens", stats->block_tokens},
                     {"block_payload_bytes", stats->block_payload_bytes},
                     {"engine_wakeups", stats->engine_wakeups},
                     {"fingerprint", stats->fingerprint},
                     {"arithmetic_id", stats->arithmetic_id},
                     {"model", stats->model_path},
                     {"notes", stats->notes}};
  PrintFields(json, flags.json);
  return kExitOk;
}

int Tokens(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto trace = (*runtime)->ReadTokens(flags.session, flags.begin, flags.count);
  if (!trace.ok()) return Fail(trace.status(), flags.json);
  Json hashes = Json::array();
  for (const uint64_t hash : trace->logits_hashes) {
    char text[20];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
    hashes.push_back(text);
  }
  std::cout << Json{{"begin", trace->begin}, {"ids", trace->ids}, {"logits_hashes", hashes}}.dump()
            << "\n";
  return kExitOk;
}

}  // namespace

Json SessionJson(const SessionView& view) {
  return {{"session", view.session},
          {"title", view.settings.title},
          {"state", StateName(view.state)},
          {"tokens", view.tokens},
          {"turns", view.turns},
          {"open_turn", view.open_turn},
          {"workspace", view.settings.workspace},
          {"created_ms", view.created_ms},
          {"updated_ms", view.updated_ms},
          {"head", view.head_cursor},
          {"pinned", view.pinned},
          {"timeline", view.timeline},
          {"parent", view.parent}};
}

void PrintFields(const Json& fields, bool json) {
  if (json) {
    std::cout << fields.dump(2) << "\n";
    return;
  }
  for (const auto& [name, value] : fields.items()) {
    std::printf("%-22s %s\n", name.c_str(),
                value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
  }
}

void AddSessions(CLI::App& app, int* exit_code) {
  CLI::App* sessions = app.add_subcommand("sessions", "Stored sessions");
  sessions->require_subcommand(1);
  auto flags = std::make_shared<SessionFlags>();  // owners: the callbacks below
  const AddSessionCommand add = [&](const char* name, const char* about, SessionCommand body) {
    CLI::App* command = sessions->add_subcommand(name, about);
    flags->runtime.AddTo(*command);
    command->add_flag("--json", flags->json, "JSON on stdout");
    command->callback([flags, exit_code, body] { *exit_code = body(*flags); });
    return command;
  };
  add("list", "All sessions, oldest first", &List);
  add("show", "One session", &Show)->add_option("session", flags->session)->required();
  add("verify", "Check journal and KV cache, of one session or of all", &Verify)
      ->add_option("session", flags->session);
  add("stats", "Engine and store figures", &Stats);
  CLI::App* tokens = add("tokens", "Token ids, and hashes of the logits of traced turns", &Tokens);
  tokens->add_option("session", flags->session)->required();
  tokens->add_option("--begin", flags->begin, "First position")->capture_default_str();
  tokens->add_option("--count", flags->count, "How many")->capture_default_str();
  AddHistory(add, *flags);
  AddPorting(add, *flags);
  AddUpkeep(add, *flags);
}

}  // namespace baleen::cli

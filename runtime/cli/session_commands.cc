// `baleen sessions`: what is stored, and whether it is sound.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "runtime/cli/session_commands.h"
#include "runtime/sessions/view_json.h"

namespace baleen::cli {

using Json = nlohmann::ordered_json;

namespace {

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
        all.push_back(ViewJson(view));
      } else {
        std::printf("%-24s %-8s %10lld tokens  %s\n", view.session.c_str(),
                    SessionStateName(view.state), static_cast<long long>(view.tokens),
                    view.settings.title.c_str());
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
  Json fields = ViewJson(*view);
  if (!flags.json) {
    fields.erase("settings");
    fields["title"] = view->settings.title;
    fields["workspace"] = view->settings.workspace;
  }
  PrintFields(fields, flags.json);
  return kExitOk;
}

int Verify(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto report = (*runtime)->Verify(flags.session);
  if (!report.ok()) return Fail(report.status(), flags.json);
  if (flags.json) {
    PrintFields(ViewJson(*report), true);
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
  if (!flags.tenant.empty()) {
    auto usage = (*runtime)->ReadTenant(flags.tenant);
    if (!usage.ok()) return Fail(usage.status(), flags.json);
    PrintFields(ViewJson(*usage), flags.json);
    return kExitOk;
  }
  auto stats = (*runtime)->Stats();
  if (!stats.ok()) return Fail(stats.status(), flags.json);
  PrintFields(ViewJson(*stats), flags.json);
  return kExitOk;
}

int Tokens(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto trace = (*runtime)->ReadTokens(flags.session, flags.begin, flags.count);
  if (!trace.ok()) return Fail(trace.status(), flags.json);
  std::cout << ViewJson(*trace).dump() << "\n";
  return kExitOk;
}

/// A context of a million tokens may have to be computed for it.
constexpr int64_t kCompactionMsMax = int64_t{24} * 3600 * 1000;

int Steer(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto view = (*runtime)->GetSession(flags.session);
  if (!view.ok()) return Fail(view.status(), flags.json);
  if (view->open_turn.empty()) {
    return Fail(FailedPreconditionError("session '" + flags.session + "' runs no turn",
                                        "TURN_NOT_STEERABLE"),
                flags.json);
  }
  SteerTurnRequest request;
  request.session = flags.session;
  request.turn = view->open_turn;
  request.input = {flags.words};
  request.delivery = flags.after_turn ? SteerDelivery::kAfterTurn : SteerDelivery::kNextStep;
  auto turn = (*runtime)->SteerTurn(request);
  if (!turn.ok()) return Fail(turn.status(), flags.json);
  PrintFields(ViewJson(*turn), flags.json);
  return kExitOk;
}

int CompactContext(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  StartTurnRequest request;
  request.session = flags.session;
  request.compact = true;
  if (!flags.words.empty()) request.input = {flags.words};
  auto turn = (*runtime)->StartTurn(request);
  if (!turn.ok()) return Fail(turn.status(), flags.json);
  turn = (*runtime)->WaitTurn(flags.session, turn->turn, kCompactionMsMax);
  if (!turn.ok()) return Fail(turn.status(), flags.json);
  PrintFields(ViewJson(*turn), flags.json);
  return turn->state == TurnState::kSucceeded ? kExitOk : Fail(turn->error, flags.json);
}

}  // namespace

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
  add("stats", "Engine and store figures", &Stats)
      ->add_option("--tenant", flags->tenant,
                   "Instead: what the sessions come to that this client of the daemon made");
  CLI::App* tokens = add("tokens", "Token ids, and hashes of the logits of traced turns", &Tokens);
  tokens->add_option("session", flags->session)->required();
  tokens->add_option("--begin", flags->begin, "First position")->capture_default_str();
  tokens->add_option("--count", flags->count, "How many")->capture_default_str();
  CLI::App* steer = add("steer", "Say more to the turn that runs", &Steer);
  steer->add_option("session", flags->session)->required();
  steer->add_option("text", flags->words)->required();
  steer->add_flag("--after-turn", flags->after_turn,
                  "As a turn of its own behind it, not at its next step");
  CLI::App* compact = add("compact-context",
                          "Let the model write a summary that stands in place of the context; a "
                          "rewind brings it back",
                          &CompactContext);
  compact->add_option("session", flags->session)->required();
  compact->add_option("--note", flags->words, "Kept word for word, by this and later compactions");
  AddUpdate(add, *flags);
  AddHistory(add, *flags);
  AddPorting(add, *flags);
  AddUpkeep(add, *flags);
}

}  // namespace baleen::cli

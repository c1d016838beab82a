#include "runtime/sessions/session_update.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/sessions/control_loop.h"

namespace baleen {
namespace {

constexpr char kUpdateMethod[] = "UpdateSession";
constexpr size_t kPathsMax = 64;

struct Changeable {
  std::string_view path;
  void (*take)(const SessionSettings& from, SessionSettings* to);
};

template <auto kMember>
void Take(const SessionSettings& from, SessionSettings* to) {
  to->*kMember = from.*kMember;
}

template <auto kOuter, auto kInner>
void TakeInner(const SessionSettings& from, SessionSettings* to) {
  to->*kOuter.*kInner = from.*kOuter.*kInner;
}

using Settings = SessionSettings;
constexpr std::array kChangeable = {
    Changeable{"title", &Take<&Settings::title>},
    Changeable{"goal", &Take<&Settings::goal>},
    Changeable{"notes", &Take<&Settings::notes>},
    Changeable{"compact_at_percent", &Take<&Settings::compact_at_percent>},
    Changeable{"tokens_max", &Take<&Settings::tokens_max>},
    Changeable{"sampling", &Take<&Settings::sampling>},
    Changeable{"sampling.temperature",
               &TakeInner<&Settings::sampling, &SamplingSettings::temperature>},
    Changeable{"sampling.top_p", &TakeInner<&Settings::sampling, &SamplingSettings::top_p>},
    Changeable{"sampling.min_p", &TakeInner<&Settings::sampling, &SamplingSettings::min_p>},
    Changeable{"sampling.top_k", &TakeInner<&Settings::sampling, &SamplingSettings::top_k>},
    Changeable{"sampling.seed", &TakeInner<&Settings::sampling, &SamplingSettings::seed>},
    Changeable{"policy", &Take<&Settings::policy>},
    Changeable{"policy.rules", &TakeInner<&Settings::policy, &PolicySettings::rules>},
    Changeable{"policy.approval_ms_max",
               &TakeInner<&Settings::policy, &PolicySettings::approval_ms_max>},
    Changeable{"policy.repeat_guard", &TakeInner<&Settings::policy, &PolicySettings::repeat_guard>},
    Changeable{"policy.ignore_taint", &TakeInner<&Settings::policy, &PolicySettings::ignore_taint>},
    Changeable{"budget", &Take<&Settings::budget>},
    Changeable{"budget.tokens", &TakeInner<&Settings::budget, &BudgetSettings::tokens>},
    Changeable{"budget.wall_ms", &TakeInner<&Settings::budget, &BudgetSettings::wall_ms>},
    Changeable{"budget.tool_calls", &TakeInner<&Settings::budget, &BudgetSettings::tool_calls>},
    Changeable{"budget.micro_usd", &TakeInner<&Settings::budget, &BudgetSettings::micro_usd>},
    Changeable{"turn_budget", &Take<&Settings::turn_budget>},
    Changeable{"turn_budget.tokens", &TakeInner<&Settings::turn_budget, &BudgetSettings::tokens>},
    Changeable{"turn_budget.wall_ms", &TakeInner<&Settings::turn_budget, &BudgetSettings::wall_ms>},
    Changeable{"turn_budget.tool_calls",
               &TakeInner<&Settings::turn_budget, &BudgetSettings::tool_calls>},
    Changeable{"turn_budget.micro_usd",
               &TakeInner<&Settings::turn_budget, &BudgetSettings::micro_usd>},
    Changeable{"prices", &Take<&Settings::prices>},
    Changeable{"prices.prompt", &TakeInner<&Settings::prices, &PriceSettings::prompt>},
    Changeable{"prices.generated", &TakeInner<&Settings::prices, &PriceSettings::generated>},
};

/// What the model has been told of, or what the journal's tokens were made with.
constexpr std::array<std::string_view, 13> kFixed = {
    "workspace",   "script",           "script_name",     "system_prompt", "thinking",
    "tools",       "host_tools",       "network_hosts",   "constraint",    "engine",
    "defer_tools", "reasoning_effort", "readable_secrets"};

std::string_view Head(std::string_view path) { return path.substr(0, path.find('.')); }

Status NotChangeable(const std::string& path) {
  const std::string shown = path.substr(0, 80);
  if (std::find(kFixed.begin(), kFixed.end(), Head(path)) != kFixed.end()) {
    return InvalidArgumentError(
        "mask: '" + shown + "' is fixed when a session is made; make another session", "BAD_FIELD");
  }
  std::string all;
  for (const Changeable& one : kChangeable) {
    if (one.path.find('.') != std::string_view::npos) continue;
    all += (all.empty() ? "" : ", ") + std::string(one.path);
  }
  return InvalidArgumentError("mask: '" + shown + "' is no setting: expected " + all +
                                  ", or a member of one, as sampling.temperature",
                              "BAD_FIELD");
}

}  // namespace

Status ApplyUpdate(const UpdateSessionRequest& request, SessionSettings* settings,
                   SettingsMarks* marks) {
  if (request.mask.empty() || request.mask.size() > kPathsMax) {
    return InvalidArgumentError("mask: expected 1 to " + std::to_string(kPathsMax) +
                                    " paths of settings that change, got " +
                                    std::to_string(request.mask.size()),
                                "BAD_FIELD");
  }
  marks->revision += 1;
  for (const std::string& path : request.mask) {
    const auto found = std::find_if(kChangeable.begin(), kChangeable.end(),
                                    [&](const Changeable& one) { return one.path == path; });
    if (found == kChangeable.end()) return NotChangeable(path);
    found->take(request.settings, settings);
    if (Head(path) == "goal") marks->goal_revision = marks->revision;
    if (Head(path) == "notes") marks->notes_revision = marks->revision;
    if (Head(path) == "budget") marks->budget_revision = marks->revision;
  }
  return OkStatus();
}

void ControlLoop::UpdateSession(const UpdateSessionRequest& request,
                                const Answer<SessionView>& reply) {
  const auto answer = FirstOnly(kUpdateMethod, request.request_id, reply,
                                [this, request, reply] { UpdateSession(request, reply); });
  if (!answer) return;
  if (auto earlier = EarlierAnswer(request.request_id, kUpdateMethod); earlier.ok()) {
    return GetSession(IdFromAnswer(*earlier), answer);
  }
  auto loaded = Load(request.session);
  if (!loaded.ok()) return answer(loaded.status());
  SessionRun& session = **loaded;
  if (Status status = CheckIdle(session); !status.ok()) return answer(status);
  if (session.state == SessionState::kBroken) return answer(session.broken);
  if (Status status = CheckHead(session, request.expected_head); !status.ok()) {
    return answer(status);
  }
  SessionSettings settings = session.settings;
  SettingsMarks marks = session.marks;
  if (Status status = ApplyUpdate(request, &settings, &marks); !status.ok()) return answer(status);
  if (Status status = CheckChangeable(settings); !status.ok()) return answer(status);
  SessionRecord record = session.record;
  record.title = settings.title;
  record.settings = SettingsToJson(settings, marks);
  // Numbers that JSON doesn't have would make the session unreadable.
  if (Status status = SettingsFromJson(record.settings).status(); !status.ok()) {
    return answer(InvalidArgumentError(status.message(), "BAD_FIELD"));
  }
  JournalBatch batch;
  batch.events.push_back(
      NewEvent(session, event_kind::kSessionUpdated, SettingsUpdateToJson(request.mask, settings)));
  record.updated_ms = session.record.updated_ms;
  batch.update_sessions.push_back(record);
  if (!request.request_id.empty()) {
    batch.answers.push_back(
        {request.request_id, kUpdateMethod, AnswerJson(record.id), parts_.clock->WallMs()});
  }
  session.changing = true;
  Commit(session, std::move(batch), Durability::kSynced,
         [this, id = record.id, answer](const Status& status) {
           SessionRun& changed = *sessions_.at(id);  // a changing session stays loaded
           changed.changing = false;
           if (!status.ok()) return answer(status);
           Status read = ReadTimeline(changed);
           if (read.ok()) read = ReadGrants(changed);
           NotePolicy(changed);
           if (!read.ok()) {
             Break(changed, read);
             return answer(read);
           }
           answer(View(changed));
         });
}

}  // namespace baleen

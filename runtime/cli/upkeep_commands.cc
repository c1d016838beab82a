// `baleen sessions search|explain|prefetch|release|backup|compact|prune`.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "runtime/cli/session_commands.h"
#include "runtime/cli/settings.h"
#include "runtime/sessions/view_json.h"

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;

int Search(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto hits = (*runtime)->Search({flags.words, flags.hits_max, flags.left_timelines});
  if (!hits.ok()) return Fail(hits.status(), flags.json);
  Json all = Json::array();
  for (const SearchHit& hit : *hits) {
    if (!flags.json) {
      std::string more;
      if (hit.sessions > 1) more = " (shared by " + std::to_string(hit.sessions) + " sessions)";
      if (hit.timeline > 0) more = " (timeline " + std::to_string(hit.timeline) + ", left)";
      std::printf("%-24s %-5s %s%s\n", hit.session.c_str(), hit.turn.c_str(), hit.snippet.c_str(),
                  more.c_str());
      continue;
    }
    all.push_back(ViewJson(hit));
  }
  if (flags.json) PrintFields(all, true);
  return kExitOk;
}

int Explain(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto steps = (*runtime)->Explain(flags.session, flags.turn);
  if (!steps.ok()) return Fail(steps.status(), flags.json);
  Json all = Json::array();
  if (!flags.json) {
    std::printf("%-8s %10s %10s %10s %10s %10s %10s %9s\n", "step", "context", "RAM", "disk",
                "recomputed", "prefilled", "generated", "ms");
  }
  for (const StepReuse& step : *steps) {
    if (flags.json) {
      all.push_back(ViewJson(step));
      continue;
    }
    const std::string name = step.turn + "." + std::to_string(step.step);
    std::printf("%-8s %10lld %10lld %10lld %10lld %10lld %10lld %9.0f\n", name.c_str(),
                static_cast<long long>(step.context_tokens),
                static_cast<long long>(step.reused_ram), static_cast<long long>(step.reused_disk),
                static_cast<long long>(step.recomputed), static_cast<long long>(step.prefilled),
                static_cast<long long>(step.generated), step.restore_ms + step.prefill_ms);
    for (const std::string& reason : step.reasons) std::printf("         %s\n", reason.c_str());
  }
  if (flags.json) PrintFields(all, true);
  return kExitOk;
}

int Backup(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  // A daemon has another working directory than its caller.
  auto report = (*runtime)->Backup(std::filesystem::absolute(flags.path).lexically_normal());
  if (!report.ok()) return Fail(report.status(), flags.json);
  if (flags.json) {
    PrintFields(ViewJson(*report), true);
  } else {
    std::printf("%s: %lld bytes of journal; open it with --data-dir\n", report->path.c_str(),
                static_cast<long long>(report->journal_bytes));
  }
  return kExitOk;
}

int Prefetch(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto reuse = (*runtime)->PrefetchSession(flags.session);
  if (!reuse.ok()) return Fail(reuse.status(), flags.json);
  PrintFields(ViewJson(*reuse), flags.json);
  return kExitOk;
}

int Release(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto view = (*runtime)->ReleaseSession(flags.session);
  if (!view.ok()) return Fail(view.status(), flags.json);
  if (flags.json) PrintFields(ViewJson(*view), true);
  return kExitOk;
}

int Compact(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto report = (*runtime)->Compact();
  if (!report.ok()) return Fail(report.status(), flags.json);
  PrintFields(ViewJson(*report), flags.json);
  return kExitOk;
}

int Prune(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  PruneRequest request;
  request.validate_only = flags.dry_run;
  if (flags.unused_days > 0 || flags.bytes_max > 0) {
    request.limits = RetentionLimits{DaysToMs(flags.unused_days), flags.bytes_max};
  }
  auto view = (*runtime)->PruneSessions(request);
  if (!view.ok()) return Fail(view.status(), flags.json);
  if (flags.json) {
    PrintFields(ViewJson(*view), true);
    return kExitOk;
  }
  for (const PrunedSession& gone : view->sessions) {
    std::printf("%s  %s: %s\n", flags.dry_run ? "would go" : "deleted", gone.session.c_str(),
                gone.reason.c_str());
  }
  std::printf("%zu sessions\n", view->sessions.size());
  return kExitOk;
}

}  // namespace

void AddUpkeep(const AddSessionCommand& add, SessionFlags& flags) {
  CLI::App* search = add("search", "What users and models wrote, and titles", &Search);
  search->add_option("words", flags.words, "Text to find as it stands; letters of either case")
      ->required();
  search->add_option("--limit", flags.hits_max, "Hits shown")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  search->add_flag("--left", flags.left_timelines,
                   "Also what was said on timelines that rewinds have left");
  CLI::App* explain =
      add("explain", "Where each turn's context came from, and why not more was reused", &Explain);
  explain->add_option("session", flags.session)->required();
  explain->add_option("--turn", flags.turn, "Only this turn (t1, t2 ...)");
  add("prefetch", "Bring a session's KV into the daemon's RAM, and wait for it", &Prefetch)
      ->add_option("session", flags.session)
      ->required();
  add("release", "Let a session's KV go from the daemon's RAM; it stays on disk", &Release)
      ->add_option("session", flags.session)
      ->required();
  add("backup", "Copy everything into a new data directory, while sessions go on", &Backup)
      ->add_option("path", flags.path, "New directory, on the machine of the daemon")
      ->required();
  add("compact", "Give back the space that deleted sessions left", &Compact);
  CLI::App* prune = add("prune",
                        "Delete sessions beyond limits of age and size, the daemon's if none are "
                        "given; never pinned ones or those in use",
                        &Prune);
  prune->add_option("--unused-days", flags.unused_days, "Those that nobody used for so long")
      ->check(CLI::Range(0.0, kRetentionDaysMax));
  prune
      ->add_option("--bytes-max", flags.bytes_max,
                   "The least recently used, until the others' text and tokens fit, e.g. 2GiB")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false));
  prune->add_flag("--dry-run", flags.dry_run, "Say what would go, and delete nothing");
}

}  // namespace baleen::cli

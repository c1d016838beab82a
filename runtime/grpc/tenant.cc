#include "runtime/grpc/tenant.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <system_error>
#include <utility>

namespace baleen {
namespace {

/// A client repeats a request soon, or not at all.
constexpr size_t kRememberedMax = 256;

std::vector<std::string> RealPaths(const std::vector<std::string>& folders) {
  std::vector<std::string> real;
  for (const std::string& folder : folders) {
    std::error_code error;
    const auto path = std::filesystem::canonical(folder, error);
    if (!error) real.push_back(path.string());  // Server::Start has said which aren't there
  }
  return real;
}

/// Whether `path` is `root` or lies below it; both are real paths.
bool IsWithin(const std::filesystem::path& path, const std::filesystem::path& root) {
  return std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first == root.end();
}

}  // namespace

Tenant::Tenant(std::string name, const ClientQuota& quota, std::vector<std::string> roots,
               std::vector<std::string> hosts, std::vector<std::string> secrets)
    : name_(std::move(name)),
      quota_(quota),
      roots_(RealPaths(roots)),
      hosts_(std::move(hosts)),
      secrets_(std::move(secrets)),
      requests_left_(static_cast<double>(quota.requests_per_second)),
      counted_at_(Clock::now()) {}

Status Tenant::CountRequest(Clock::time_point now, wire::Details* details) {
  if (quota_.requests_per_second == 0) return OkStatus();
  const auto rate = static_cast<double>(quota_.requests_per_second);
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::chrono::duration<double> since = now - counted_at_;
  requests_left_ = std::min(rate, requests_left_ + std::max(0.0, since.count()) * rate);
  counted_at_ = std::max(counted_at_, now);
  if (requests_left_ >= 1) {
    requests_left_ -= 1;
    return OkStatus();
  }
  details->retry_ms = static_cast<int64_t>(std::ceil((1 - requests_left_) / rate * 1e3));
  details->metadata = {{"limit", std::to_string(quota_.requests_per_second)},
                       {"quota", "requests_per_second"}};
  return ResourceExhaustedError(
      "client '" + name_ + "' may make " + std::to_string(quota_.requests_per_second) +
          " requests a second; try again in " + std::to_string(details->retry_ms) + " ms",
      "REQUEST_RATE");
}

Status Tenant::CheckWorkspace(std::string* folder) const {
  if (folder->empty()) return OkStatus();
  std::error_code error;
  const auto path = std::filesystem::canonical(*folder, error);
  const bool within = !error && folder->starts_with('/') &&
                      std::any_of(roots_.begin(), roots_.end(),
                                  [&](const std::string& root) { return IsWithin(path, root); });
  if (!within) {
    return PermissionDeniedError(
        "client '" + name_ + "' may not name the workspace '" + folder->substr(0, 200) +
            "': it is in none of the folders that are open to it; whoever runs the server can open "
            "one (`workspaces` in the file of clients)",
        "WORKSPACE_REFUSED");
  }
  *folder = path.string();
  return OkStatus();
}

Status Tenant::CheckNetworkHosts(const std::vector<std::string>& hosts) const {
  for (const std::string& host : hosts) {
    if (std::find(hosts_.begin(), hosts_.end(), host) != hosts_.end()) continue;
    return PermissionDeniedError(
        "client '" + name_ + "' may not name the host '" + host.substr(0, 200) +
            "' for its sessions' commands; whoever runs the server can allow it, word for word "
            "(`network_hosts` in the file of clients)",
        "NETWORK_REFUSED");
  }
  return OkStatus();
}

Status Tenant::CheckReadableSecrets(const std::vector<std::string>& paths) const {
  for (const std::string& path : paths) {
    if (std::find(secrets_.begin(), secrets_.end(), path) != secrets_.end()) continue;
    return PermissionDeniedError(
        "client '" + name_ + "' may not let its sessions read the secret file '" +
            path.substr(0, 200) + "'; whoever runs the server can allow it, word for word " +
            "(`readable_secrets` in the file of clients)",
        "SECRETS_REFUSED");
  }
  return OkStatus();
}

void Tenant::Prune(Runtime& runtime) {
  std::vector<Turn> known;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    known = turns_;
  }
  // Asked without the lock: one tenant's slow answer must not hold all call threads.
  std::erase_if(known, [&](const Turn& turn) {
    const auto view = runtime.GetTurn(turn.session, turn.turn);
    return view.ok() && view->state == TurnState::kRunning;
  });
  const std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(turns_, [&](const Turn& turn) {
    return std::any_of(known.begin(), known.end(), [&](const Turn& ended) {
      return ended.session == turn.session && ended.turn == turn.turn;
    });
  });
}

void Tenant::Remember(const StoringRequest& request) {
  if (request.request_id.empty()) return;
  carried_out_.push_back(request);
  if (carried_out_.size() > kRememberedMax) carried_out_.pop_front();
}

Status Tenant::CheckStored(Runtime& runtime, const StoringRequest& request, int64_t sessions,
                           wire::Details* details) {
  const bool repeat =
      std::any_of(carried_out_.begin(), carried_out_.end(), [&](const StoringRequest& known) {
        return known.method == request.method && known.request_id == request.request_id;
      });
  if (repeat) return OkStatus();
  ASSIGN_OR_RETURN(const TenantUsage usage, runtime.ReadTenant(name_));
  const auto refuse = [&](const char* quota, int64_t limit, int64_t used, const char* unit) {
    details->metadata = {
        {"limit", std::to_string(limit)}, {"used", std::to_string(used)}, {"quota", quota}};
    details->quota_subject = "client:" + name_;
    return ResourceExhaustedError("client '" + name_ + "' holds " + std::to_string(used) + unit +
                                      ", and may hold " + std::to_string(limit) +
                                      "; delete sessions that it made, or ask whoever runs the "
                                      "server for more (" +
                                      quota + " in the file of clients)",
                                  "QUOTA");
  };
  const int64_t made = usage.sessions + making_;
  if (sessions > 0 && quota_.sessions_max > 0 && made + sessions > quota_.sessions_max) {
    return refuse("sessions_max", quota_.sessions_max, made, " sessions");
  }
  if (quota_.stored_bytes_max > 0 && usage.stored_bytes >= quota_.stored_bytes_max) {
    return refuse("stored_bytes_max", quota_.stored_bytes_max, usage.stored_bytes,
                  " bytes of text and token ids");
  }
  return OkStatus();
}

Status Tenant::BeginSession(Runtime& runtime, const StoringRequest& request,
                            wire::Details* details) {
  if (quota_.sessions_max == 0 && quota_.stored_bytes_max == 0) return OkStatus();
  const std::lock_guard<std::mutex> lock(storing_mutex_);
  RETURN_IF_ERROR(CheckStored(runtime, request, 1, details));
  ++making_;
  return OkStatus();
}

void Tenant::EndSession(const StoringRequest& request, bool made) {
  if (quota_.sessions_max == 0 && quota_.stored_bytes_max == 0) return;
  const std::lock_guard<std::mutex> lock(storing_mutex_);
  --making_;
  if (made) Remember(request);
}

Result<TurnView> Tenant::StartTurn(Runtime& runtime, const StartTurnRequest& request,
                                   wire::Details* details) {
  if (quota_.stored_bytes_max == 0) return StartCounted(runtime, request, details);
  const StoringRequest storing = {"StartTurn", request.request_id};
  {
    const std::lock_guard<std::mutex> lock(storing_mutex_);
    RETURN_IF_ERROR(CheckStored(runtime, storing, 0, details));
  }
  Result<TurnView> view = StartCounted(runtime, request, details);
  const std::lock_guard<std::mutex> lock(storing_mutex_);
  if (view.ok()) Remember(storing);
  return view;
}

Result<TurnView> Tenant::StartCounted(Runtime& runtime, const StartTurnRequest& request,
                                      wire::Details* details) {
  if (quota_.running_turns == 0) return runtime.StartTurn(request);
  Prune(runtime);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const bool repeat = !request.request_id.empty() &&
                        std::any_of(turns_.begin(), turns_.end(), [&](const Turn& turn) {
                          return turn.request_id == request.request_id;
                        });
    const int64_t used = std::ssize(turns_) + starting_;
    if (!repeat && used >= quota_.running_turns) {
      details->metadata = {{"limit", std::to_string(quota_.running_turns)},
                           {"used", std::to_string(used)},
                           {"quota", "running_turns"}};
      return ResourceExhaustedError(
          "client '" + name_ + "' has " + std::to_string(used) + " turns running, and may have " +
              std::to_string(quota_.running_turns) + "; try again when one has ended",
          "RUNNING_TURNS");
    }
    ++starting_;
  }
  Result<TurnView> view = runtime.StartTurn(request);
  const std::lock_guard<std::mutex> lock(mutex_);
  --starting_;
  const bool known = view.ok() && std::any_of(turns_.begin(), turns_.end(), [&](const Turn& turn) {
                       return turn.session == view->session && turn.turn == view->turn;
                     });
  if (view.ok() && !known && view->state == TurnState::kRunning) {
    turns_.push_back({view->session, view->turn, request.request_id});
  }
  return view;
}

}  // namespace baleen

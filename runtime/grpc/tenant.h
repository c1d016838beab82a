// Tenant: what one client of the server uses and holds, and what it may.
//
// A tenant is a name in the file of clients, however many connections show its token or
// certificate; those let in by an authority alone are one together. Who owns the server (a peer on
// its Unix socket) is none, and has no bounds. Used by the services of this folder.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/grpc/server.h"
#include "runtime/grpc/wire_status.h"
#include "runtime/runtime.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Threads: any.
class Tenant {
 public:
  using Clock = std::chrono::steady_clock;

  /// `roots`: folders that it may name as a workspace, and all below them. `hosts`: that it may
  /// name for its sessions' commands.
  Tenant(std::string name, const ClientQuota& quota, std::vector<std::string> roots,
         std::vector<std::string> hosts = {}, std::vector<std::string> secrets = {});
  Tenant(const Tenant&) = delete;
  Tenant& operator=(const Tenant&) = delete;

  /// A request that stores something. Ids are those of one method.
  struct StoringRequest {
    std::string method;
    std::string request_id;  ///< Empty: never a repeat.
  };

  const std::string& name() const { return name_; }

  /// Counts a call or a stream against the rate. A second's worth may come at once.
  /// Errors: RESOURCE_EXHAUSTED/REQUEST_RATE, with when to come again.
  Status CountRequest(Clock::time_point now, wire::Details* details);
  /// Makes `*folder` the real path of itself. Empty is fine: no workspace.
  /// Errors: PERMISSION_DENIED/WORKSPACE_REFUSED; the same whether the folder is there or not.
  Status CheckWorkspace(std::string* folder) const;
  /// Errors: PERMISSION_DENIED/NETWORK_REFUSED.
  Status CheckNetworkHosts(const std::vector<std::string>& hosts) const;
  /// Errors: PERMISSION_DENIED/SECRETS_REFUSED.
  Status CheckReadableSecrets(const std::vector<std::string>& paths) const;
  /// Starts a turn unless too many of the tenant's run, or it holds too much. A repeat of a request
  /// is let through. Errors: RESOURCE_EXHAUSTED/RUNNING_TURNS, /QUOTA; the runtime's.
  Result<TurnView> StartTurn(Runtime& runtime, const StartTurnRequest& request,
                             wire::Details* details);
  /// Lets `make` make a session for the tenant, unless it holds too much. A repeat of a request is
  /// let through. Errors: RESOURCE_EXHAUSTED/QUOTA, with limit, what is used and what to do; what
  /// `make` says.
  template <typename Make>
  auto AddSession(Runtime& runtime, const StoringRequest& request, wire::Details* details,
                  const Make& make) -> decltype(make()) {
    RETURN_IF_ERROR(BeginSession(runtime, request, details));
    auto made = make();
    EndSession(request, made.ok());
    return made;
  }

 private:
  struct Turn {
    std::string session;
    std::string turn;
    std::string request_id;
  };

  /// Forgets turns that have ended.
  void Prune(Runtime& runtime);
  /// As StartTurn, whatever is stored.
  Result<TurnView> StartCounted(Runtime& runtime, const StartTurnRequest& request,
                                wire::Details* details);
  Status BeginSession(Runtime& runtime, const StoringRequest& request, wire::Details* details);
  void EndSession(const StoringRequest& request, bool made);
  /// Requires: storing_mutex_. `sessions`: how many more are to be, beside those on their way.
  Status CheckStored(Runtime& runtime, const StoringRequest& request, int64_t sessions,
                     wire::Details* details);
  /// Requires: storing_mutex_.
  void Remember(const StoringRequest& request);

  const std::string name_;
  const ClientQuota quota_;
  const std::vector<std::string> roots_;  ///< Real paths.
  const std::vector<std::string> hosts_;
  const std::vector<std::string> secrets_;
  std::mutex mutex_;
  // Guarded by mutex_:
  double requests_left_;
  Clock::time_point counted_at_;
  std::vector<Turn> turns_;  ///< At most quota_.running_turns.
  int64_t starting_ = 0;     ///< Turns that are being started.
  /// Held while what is stored is counted, so that what is on its way counts once at least.
  std::mutex storing_mutex_;
  // Guarded by storing_mutex_:
  int64_t making_ = 0;  ///< Sessions on their way.
  /// The latest that had an id and stored something, the oldest first.
  std::deque<StoringRequest> carried_out_;
};

}  // namespace baleen

// What the processes of a session may reach besides the system: its workspace, and the hosts that
// it names.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/http/address_rules.h"

namespace baleen {

class NameResolver;  // runtime/sandbox/network_proxy.h

/// What became of one wish to connect.
struct HostDecision {
  std::string host;  ///< Canonical; empty: the request couldn't be read.
  int port = 0;
  bool allowed = false;
  std::string address;  ///< Allowed: that is connected to.
  std::string why;      ///< Refused: in words.
};

/// The network of one session's processes.
struct NetworkBounds {
  HostRules rules;
  std::shared_ptr<NameResolver> resolver;  ///< Owners: the runtime, and sessions' bounds.
  std::string starter;                     ///< baleen-tool-host; empty: FindToolHost().
  bool loopback_outside = false;           ///< A rule names this machine: no exception for it.
  std::function<void(const HostDecision&)> on_decision;  ///< On proxies' threads; may be empty.
};

/// What a process that a tool starts may reach besides the system.
struct ProcessBounds {
  std::string workspace;                         ///< Absolute, plain path; empty: none.
  std::shared_ptr<const NetworkBounds> network;  ///< Null: none. Owners: sessions and calls.
  std::vector<std::string> readable_secrets{};   ///< As SandboxedCommand's.
};

}  // namespace baleen

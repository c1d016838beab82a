// RpcWire: how JSON-RPC messages get to one server and back, over a child's pipes or over HTTP.
//
// Knows no method and keeps no time: who asks decides how long to wait. Called by McpServer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/mcp/rpc_message.h"
#include "tools_sdk/status.h"

namespace baleen {

struct OutgoingMessage {
  int64_t id = 0;  ///< Of a request; 0: not one, and nobody waits for an answer.
  std::string text;
  std::vector<std::string> headers;  ///< Over HTTP: "Name: value", on top of its own.
  /// No request, but `id` gets an empty result when the server has accepted it. Over HTTP only,
  /// where messages may overtake each other.
  bool to_be_accepted = false;
};

/// Told on the wire's thread; must not block, and must not end the wire.
class RpcListener {
 public:
  virtual ~RpcListener() = default;
  /// false: nobody waits for it.
  virtual bool OnMessage(RpcMessage message) = 0;
  /// Request `id` gets no answer, or none does any more (0), because of `why`.
  /// UNAVAILABLE/MCP_REFUSED: the server did not take the request.
  virtual void OnLost(int64_t id, const Status& why) = 0;
};

/// Threads: any. Its end waits until the listener is left alone.
class RpcWire {
 public:
  virtual ~RpcWire() = default;
  /// Takes a message to be sent, without waiting for that. Errors: UNAVAILABLE/MCP_REFUSED.
  virtual Status Send(OutgoingMessage message) = 0;
  /// Nobody waits for the answer to `id` any more.
  virtual void Forget(int64_t id) = 0;
  /// The end of what the server printed beside its messages; may be empty.
  virtual std::string Words() = 0;
};

}  // namespace baleen

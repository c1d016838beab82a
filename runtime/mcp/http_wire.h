// HttpWire: a server at a URL, by MCP's streamable HTTP: a POST for each message, answered by JSON
// or by a stream of events.
//
// Keeps the session that a server opens (Mcp-Session-Id) and ends it with DELETE. Opens no stream
// of its own (GET), and takes up none that broke.
#pragma once

#include <memory>

#include "runtime/mcp/rpc_wire.h"
#include "runtime/mcp_options.h"

namespace baleen {

/// To the listener, in place of MCP_REFUSED: the server has forgotten the session.
inline constexpr char kMcpSessionGone[] = "MCP_SESSION_GONE";

/// Borrows: listener, until the wire is gone. Errors: INTERNAL (libcurl can't be set up).
Result<std::unique_ptr<RpcWire>> NewHttpWire(const McpServerOptions& options,
                                             RpcListener* listener);

}  // namespace baleen

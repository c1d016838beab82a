// StdioWire: a server that is a child of this process, spoken with over its standard files.
//
// A thread starts it, speaks with it and ends it. The child has a session and process group of its
// own, PATH, HOME, LANG and what the options say as its environment, and no other file of ours; it
// is killed with its whole group, and when that thread ends in whatever way.
#pragma once

#include <memory>

#include "runtime/mcp/rpc_wire.h"
#include "runtime/mcp_options.h"

namespace baleen {

/// Borrows: listener, until the wire is gone. What goes wrong at the start is told to the listener.
std::unique_ptr<RpcWire> NewStdioWire(const McpServerOptions& options, RpcListener* listener);

}  // namespace baleen

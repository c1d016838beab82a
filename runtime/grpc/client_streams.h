// The two streaming RPCs as seen by a client: each is one thread that reads and calls back.
//
// Used by client.cc only.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/runtime.h"
#include "tools_sdk/status.h"

namespace baleen {

/// As Runtime::Watch. The channel is gRPC's own shared handle.
Result<std::unique_ptr<Subscription>> RemoteWatch(const std::shared_ptr<grpc::Channel>& channel,
                                                  const WatchOptions& options,
                                                  EventSubscriber* subscriber);

/// As Runtime::ConnectToolHost.
Result<std::unique_ptr<ToolHostConnection>> RemoteToolHost(
    const std::shared_ptr<grpc::Channel>& channel, const std::string& session,
    const std::vector<std::string>& tools, ToolHostSink* sink);

}  // namespace baleen

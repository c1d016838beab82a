// Upkeep of the whole server, and work on whole sessions: what an RPC does while its caller waits,
// and an operation does while he doesn't.
//
// Used by the services of this folder only.
#pragma once

#include <baleen/v1/admin.pb.h>

#include "runtime/grpc/access.h"
#include "tools_sdk/status.h"

namespace baleen {

// Each checks the request, asks the caller's runtime and fills the response. `progress` is for
// those that know how far they are. Errors: as the RPC of that request.
Status RunUpkeep(const Caller& caller, const v1::BackupRequest& request,
                 const PortProgress& progress, v1::BackupResponse* response);
Status RunUpkeep(const Caller& caller, const v1::CompactRequest& request,
                 const PortProgress& progress, v1::CompactResponse* response);
Status RunUpkeep(const Caller& caller, const v1::VerifySessionRequest& request,
                 const PortProgress& progress, v1::VerifySessionResponse* response);
Status RunUpkeep(const Caller& caller, const v1::ExportSessionRequest& request,
                 const PortProgress& progress, v1::ExportSessionResponse* response);
Status RunUpkeep(const Caller& caller, const v1::ImportSessionRequest& request,
                 const PortProgress& progress, v1::ImportSessionResponse* response,
                 wire::Details* details = nullptr);  ///< Where a refusal may say more.
Status RunUpkeep(const Caller& caller, const v1::PruneSessionsRequest& request,
                 const PortProgress& progress, v1::PruneSessionsResponse* response);

}  // namespace baleen

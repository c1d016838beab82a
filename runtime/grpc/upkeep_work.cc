#include "runtime/grpc/upkeep_work.h"

#include <string>

#include "runtime/grpc/convert.h"
#include "runtime/grpc/resource_names.h"
#include "runtime/grpc/tenant.h"
#include "runtime/grpc/unary.h"

namespace baleen {
namespace {

Status CheckPath(const std::string& path) {
  if (path.starts_with('/')) return OkStatus();
  return wire::BadField("path", "an absolute path", path);
}

}  // namespace

Status RunUpkeep(const Caller& caller, const v1::BackupRequest& request,
                 const PortProgress& /*progress*/, v1::BackupResponse* response) {
  RETURN_IF_ERROR(CheckPath(request.path()));
  return Reply(caller.runtime->Backup(request.path()), response);
}

Status RunUpkeep(const Caller& caller, const v1::CompactRequest& /*request*/,
                 const PortProgress& /*progress*/, v1::CompactResponse* response) {
  return Reply(caller.runtime->Compact(), response);
}

Status RunUpkeep(const Caller& caller, const v1::VerifySessionRequest& request,
                 const PortProgress& /*progress*/, v1::VerifySessionResponse* response) {
  std::string id;  // empty: all
  if (request.name() != "sessions/-") {
    ASSIGN_OR_RETURN(id, wire::ParseSessionName(request.name(), "name"));
  }
  return Reply(caller.runtime->Verify(id), response);
}

Status RunUpkeep(const Caller& caller, const v1::ExportSessionRequest& request,
                 const PortProgress& progress, v1::ExportSessionResponse* response) {
  ASSIGN_OR_RETURN(const std::string id, wire::ParseSessionName(request.name(), "name"));
  RETURN_IF_ERROR(CheckPath(request.path()));
  return Reply(caller.runtime->ExportSession(id, request.path(), progress), response);
}

Status RunUpkeep(const Caller& caller, const v1::ImportSessionRequest& request,
                 const PortProgress& progress, v1::ImportSessionResponse* response,
                 wire::Details* details) {
  RETURN_IF_ERROR(CheckPath(request.path()));
  ImportRequest wanted = wire::FromWire(request);
  const auto import = [&] { return caller.runtime->ImportSession(wanted, progress); };
  if (caller.tenant == nullptr) return Reply(import(), response);
  RETURN_IF_ERROR(caller.tenant->CheckWorkspace(&wanted.workspace));
  wanted.tenant = caller.tenant->name();
  wire::Details unsaid;
  return Reply(caller.tenant->AddSession(*caller.runtime, {"ImportSession", wanted.request_id},
                                         details != nullptr ? details : &unsaid, import),
               response);
}

Status RunUpkeep(const Caller& caller, const v1::PruneSessionsRequest& request,
                 const PortProgress& /*progress*/, v1::PruneSessionsResponse* response) {
  return Reply(caller.runtime->PruneSessions(wire::FromWire(request)), response);
}

}  // namespace baleen

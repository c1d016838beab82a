// Admin: upkeep of the whole server, one long piece of work at a time, waited for or as an
// operation.

#include <baleen/v1/admin.grpc.pb.h>

#include <mutex>
#include <string>
#include <type_traits>

#include "runtime/grpc/operation_table.h"
#include "runtime/grpc/unary.h"
#include "runtime/grpc/upkeep_work.h"

namespace baleen {
namespace {

using Work = v1::StartOperationRequest;

/// The work that `request` asks for, on a copy of it: its caller doesn't wait.
template <typename Response, typename Request>
OperationTable::Work AsOperation(const Caller& caller, const Request& request) {
  return [caller, request](const PortProgress& progress, google::protobuf::Any* response) {
    Response filled;
    const Status status = RunUpkeep(caller, request, progress, &filled);
    if (status.ok()) response->PackFrom(filled);
    return status;
  };
}

class AdminService final : public v1::Admin::CallbackService {
 public:
  explicit AdminService(const ServiceContext& context) : service_(context) {}

  Reactor* GetStats(Context* context, const v1::GetStatsRequest* /*request*/,
                    v1::Stats* response) override {
    return Answer(service_, context, Scope::kAdmin,
                  [response](Runtime& runtime) { return Reply(runtime.Stats(), response); });
  }

  Reactor* GetTenant(Context* context, const v1::GetTenantRequest* request,
                     v1::Tenant* response) override {
    return Answer(service_, context, Scope::kAdmin,
                  [request, response](Runtime& runtime) -> Status {
                    RETURN_IF_ERROR(CheckKey(request->name(), "name"));
                    ASSIGN_OR_RETURN(const std::string tenant,
                                     wire::ParseTenantName(request->name(), "name"));
                    response->set_name(request->name());
                    return Reply(runtime.ReadTenant(tenant), response);
                  });
  }

  Reactor* Backup(Context* context, const v1::BackupRequest* request,
                  v1::BackupResponse* response) override {
    return Upkeep(context, request, response);
  }
  Reactor* Compact(Context* context, const v1::CompactRequest* request,
                   v1::CompactResponse* response) override {
    return Upkeep(context, request, response);
  }
  Reactor* PruneSessions(Context* context, const v1::PruneSessionsRequest* request,
                         v1::PruneSessionsResponse* response) override {
    return Upkeep(context, request, response);
  }

  Reactor* ListNotes(Context* context, const v1::ListNotesRequest* request,
                     v1::ListNotesResponse* response) override {
    return Answer(
        service_, context, Scope::kAdmin, [request, response](Runtime& runtime) -> Status {
          std::string next;
          ASSIGN_OR_RETURN(const auto notes, runtime.ListNotes(wire::FromWire(*request), &next));
          for (const NoteView& note : notes) wire::ToWire(note, response->add_notes());
          response->set_next_page_token(next);
          return OkStatus();
        });
  }

  Reactor* DeleteNote(Context* context, const v1::DeleteNoteRequest* request,
                      v1::Note* response) override {
    return Answer(
        service_, context, Scope::kAdmin, [request, response](Runtime& runtime) -> Status {
          ASSIGN_OR_RETURN(const std::string note, wire::ParseNoteName(request->name(), "name"));
          return Reply(runtime.DeleteNote(note), response);
        });
  }

  Reactor* ExportSession(Context* context, const v1::ExportSessionRequest* request,
                         v1::ExportSessionResponse* response) override {
    return Upkeep(context, request, response);
  }
  Reactor* ImportSession(Context* context, const v1::ImportSessionRequest* request,
                         v1::ImportSessionResponse* response) override {
    return Upkeep(context, request, response);
  }

  Reactor* StartOperation(Context* context, const Work* request,
                          google::longrunning::Operation* response) override {
    return AnswerCaller(service_, context, Scope::kAdmin,
                        [this, request, response](const Caller& caller, wire::Details*) {
                          return Start(caller, *request, response);
                        });
  }

 private:
  /// Long work, one at a time: it may not take every call thread. Ends when nobody waits for it any
  /// more, if it can.
  template <typename Request, typename Response>
  Reactor* Upkeep(Context* context, const Request* request, Response* response) {
    return AnswerCaller(
        service_, context, Scope::kAdmin,
        [this, context, request, response](const Caller& caller, wire::Details* details) -> Status {
          const std::unique_lock<std::mutex> works(service_.operations->working(),
                                                   std::try_to_lock);
          if (!works.owns_lock()) {
            return ResourceExhaustedError(
                "another backup, compaction, verification, export or import runs; try again after "
                "it, or let StartOperation wait for it",
                "UPKEEP_RUNNING");
          }
          const auto progress = [context](int64_t, int64_t) { return !context->IsCancelled(); };
          if constexpr (std::is_same_v<Request, v1::ImportSessionRequest>) {
            return RunUpkeep(caller, *request, progress, response, details);
          } else {
            return RunUpkeep(caller, *request, progress, response);
          }
        });
  }

  Status Start(const Caller& caller, const Work& request,
               google::longrunning::Operation* response) {
    RETURN_IF_ERROR(CheckAccepting(service_));
    RETURN_IF_ERROR(CheckKey(request.request_id(), "request_id"));
    std::string verb;
    OperationTable::Work work;
    switch (request.work_case()) {
      case Work::kBackup:
        verb = "Backup";
        work = AsOperation<v1::BackupResponse>(caller, request.backup());
        break;
      case Work::kCompact:
        verb = "Compact";
        work = AsOperation<v1::CompactResponse>(caller, request.compact());
        break;
      case Work::kVerifySession:
        verb = "VerifySession";
        work = AsOperation<v1::VerifySessionResponse>(caller, request.verify_session());
        break;
      case Work::kExportSession:
        verb = "ExportSession";
        work = AsOperation<v1::ExportSessionResponse>(caller, request.export_session());
        break;
      case Work::kImportSession:
        verb = "ImportSession";
        work = AsOperation<v1::ImportSessionResponse>(caller, request.import_session());
        break;
      case Work::kPruneSessions:
        verb = "PruneSessions";
        work = AsOperation<v1::PruneSessionsResponse>(caller, request.prune_sessions());
        break;
      case Work::WORK_NOT_SET: return wire::BadField("work", "one of its members", "none");
    }
    ASSIGN_OR_RETURN(*response,
                     service_.operations->Start(verb, request.request_id(), std::move(work)));
    return OkStatus();
  }

  const ServiceContext service_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewAdminService(const ServiceContext& context) {
  return std::make_unique<AdminService>(context);
}

}  // namespace baleen

// Admin: upkeep of the whole server, one long piece of work at a time.

#include <baleen/v1/admin.grpc.pb.h>

#include <atomic>
#include <functional>
#include <string>
#include <utility>

#include "runtime/grpc/tenant.h"
#include "runtime/grpc/unary.h"

namespace baleen {
namespace {

class AdminService final : public v1::Admin::CallbackService {
 public:
  explicit AdminService(const ServiceContext& context) : service_(context) {}

  Reactor* GetStats(Context* context, const v1::GetStatsRequest* /*request*/,
                    v1::Stats* response) override {
    return Answer(service_, context, Scope::kAdmin,
                  [response](Runtime& runtime) { return Reply(runtime.Stats(), response); });
  }

  Reactor* Backup(Context* context, const v1::BackupRequest* request,
                  v1::BackupResponse* response) override {
    return Upkeep(context, [request, response](const Caller& caller) -> Status {
      if (!request->path().starts_with('/')) {
        return wire::BadField("path", "an absolute path", request->path());
      }
      return Reply(caller.runtime->Backup(request->path()), response);
    });
  }

  Reactor* Compact(Context* context, const v1::CompactRequest* /*request*/,
                   v1::CompactResponse* response) override {
    return Upkeep(context, [response](const Caller& caller) {
      return Reply(caller.runtime->Compact(), response);
    });
  }

  Reactor* PruneSessions(Context* context, const v1::PruneSessionsRequest* request,
                         v1::PruneSessionsResponse* response) override {
    return Upkeep(context, [request, response](const Caller& caller) {
      return Reply(caller.runtime->PruneSessions(wire::FromWire(*request)), response);
    });
  }

  Reactor* ExportSession(Context* context, const v1::ExportSessionRequest* request,
                         v1::ExportSessionResponse* response) override {
    return Upkeep(context, [context, request, response](const Caller& caller) -> Status {
      ASSIGN_OR_RETURN(const std::string id, wire::ParseSessionName(request->name(), "name"));
      if (!request->path().starts_with('/')) {
        return wire::BadField("path", "an absolute path", request->path());
      }
      return Reply(caller.runtime->ExportSession(id, request->path(), StopWith(context)), response);
    });
  }

  Reactor* ImportSession(Context* context, const v1::ImportSessionRequest* request,
                         v1::ImportSessionResponse* response) override {
    return Upkeep(context, [context, request, response](const Caller& caller) -> Status {
      if (!request->path().starts_with('/')) {
        return wire::BadField("path", "an absolute path", request->path());
      }
      ImportRequest wanted = wire::FromWire(*request);
      if (caller.tenant != nullptr) {
        RETURN_IF_ERROR(caller.tenant->CheckWorkspace(&wanted.workspace));
      }
      return Reply(caller.runtime->ImportSession(wanted, StopWith(context)), response);
    });
  }

 private:
  /// Ends the work when nobody waits for it any more.
  static PortProgress StopWith(Context* context) {
    return [context](int64_t, int64_t) { return !context->IsCancelled(); };
  }

  /// Long work, one at a time: it may not take every call thread.
  Reactor* Upkeep(Context* context, std::function<Status(const Caller& caller)> body) {
    return AnswerCaller(
        service_, context, Scope::kAdmin,
        [this, body = std::move(body)](const Caller& caller, wire::Details*) -> Status {
          if (working_.exchange(true)) {
            return ResourceExhaustedError(
                "another backup, compaction, export or import runs; try again after it",
                "UPKEEP_RUNNING");
          }
          Status status = body(caller);
          working_.store(false);
          return status;
        });
  }

  const ServiceContext service_;
  std::atomic<bool> working_ = false;
};

}  // namespace

std::unique_ptr<grpc::Service> NewAdminService(const ServiceContext& context) {
  return std::make_unique<AdminService>(context);
}

}  // namespace baleen

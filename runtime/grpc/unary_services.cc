// Sessions, Turns and Admin: parse, call the runtime on a call thread, answer.

#include <baleen/v1/admin.grpc.pb.h>
#include <baleen/v1/approvals.grpc.pb.h>
#include <baleen/v1/sessions.grpc.pb.h>
#include <baleen/v1/turns.grpc.pb.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/grpc/convert.h"
#include "runtime/grpc/services.h"
#include "runtime/grpc/wire_status.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

using Context = grpc::CallbackServerContext;
using Reactor = grpc::ServerUnaryReactor;

constexpr int64_t kPageDefault = 50;
constexpr int64_t kPageMax = 1000;
constexpr int64_t kTokensDefault = 65'536;
// 12 bytes a token with its hash, so that an answer stays far below 64 MiB.
constexpr int64_t kTokensMax = 1 << 20;
// Room for the widest use: a resource name, or a UUID, or a cursor.
constexpr size_t kKeyBytesMax = 1024;
constexpr int kPrefetchesMax = 2;

/// Runs `body` on a call thread and answers with its status. gRPC keeps request and response until
/// then, also when the client has left.
Reactor* Answer(const ServiceContext& service, Context* context, std::function<Status()> body) {
  Reactor* reactor = context->DefaultReactor();
  const bool queued = service.threads.calls->Post(
      [reactor, body = std::move(body)] { reactor->Finish(wire::ToGrpc(body())); });
  if (!queued) {
    reactor->Finish(wire::ToGrpc(ResourceExhaustedError(
        std::to_string(service.options.calls_queued_max) + " calls are waiting already; try later",
        "OVERLOADED")));
  }
  return reactor;
}

Status CheckKey(const std::string& key, const char* field) {
  if (key.size() <= kKeyBytesMax) return OkStatus();
  return InvalidArgumentError(std::string(field) + ": expected at most " +
                                  std::to_string(kKeyBytesMax) + " bytes, got " +
                                  std::to_string(key.size()),
                              wire::kBadField);
}

Status CheckAccepting(const ServiceContext& service) {
  if (!service.threads.open->draining()) return OkStatus();
  return UnavailableError("the server is shutting down; try again once it is back", "DRAINING");
}

template <typename View, typename Message>
Status Reply(Result<View> view, Message* response) {
  if (!view.ok()) return view.status();
  wire::ToWire(*view, response);
  return OkStatus();
}

class SessionsService final : public v1::Sessions::CallbackService {
 public:
  explicit SessionsService(const ServiceContext& context) : service_(context) {}

  Reactor* CreateSession(Context* context, const v1::CreateSessionRequest* request,
                         v1::Session* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      RETURN_IF_ERROR(CheckAccepting(service_));
      RETURN_IF_ERROR(CheckKey(request->request_id(), "request_id"));
      CreateSessionRequest wanted;
      wanted.session = request->session_id();
      if (!wanted.session.empty()) {
        RETURN_IF_ERROR(wire::CheckSessionId(wanted.session, "session_id"));
      }
      ASSIGN_OR_RETURN(wanted.settings, wire::FromWire(request->session().settings()));
      wanted.request_id = request->request_id();
      return Reply(service_.runtime->CreateSession(wanted), response);
    });
  }

  Reactor* GetSession(Context* context, const v1::GetSessionRequest* request,
                      v1::Session* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      ASSIGN_OR_RETURN(const std::string id, wire::ParseSessionName(request->name(), "name"));
      return Reply(service_.runtime->GetSession(id), response);
    });
  }

  Reactor* ListSessions(Context* context, const v1::ListSessionsRequest* request,
                        v1::ListSessionsResponse* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      if (request->page_size() < 0) {
        return InvalidArgumentError(
            "page_size: expected 0 or more, got " + std::to_string(request->page_size()),
            wire::kBadField);
      }
      RETURN_IF_ERROR(CheckKey(request->page_token(), "page_token"));
      const int64_t wanted = request->page_size() == 0 ? kPageDefault : request->page_size();
      std::string next;
      ASSIGN_OR_RETURN(
          const std::vector<SessionView> views,
          service_.runtime->ListSessions(std::min(wanted, kPageMax), request->page_token(), &next));
      for (const SessionView& view : views) wire::ToWire(view, response->add_sessions());
      response->set_next_page_token(ReplaceInvalidUtf8(next));
      return OkStatus();
    });
  }

  Reactor* ForkSession(Context* context, const v1::ForkSessionRequest* request,
                       v1::Session* response) override {
    return Change(context, request, response, &Runtime::ForkSession);
  }

  Reactor* RewindSession(Context* context, const v1::RewindSessionRequest* request,
                         v1::RewindSessionResponse* response) override {
    return Change(context, request, response, &Runtime::RewindSession);
  }

  Reactor* DeleteSession(Context* context, const v1::DeleteSessionRequest* request,
                         v1::DeleteSessionResponse* response) override {
    return Change(context, request, response, &Runtime::DeleteSession);
  }

  Reactor* PinSession(Context* context, const v1::PinSessionRequest* request,
                      v1::Session* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      RETURN_IF_ERROR(CheckAccepting(service_));
      ASSIGN_OR_RETURN(const std::string id, wire::ParseSessionName(request->name(), "name"));
      return Reply(service_.runtime->PinSession(id, request->pinned()), response);
    });
  }

  Reactor* PrefetchSession(Context* context, const v1::PrefetchSessionRequest* request,
                           v1::StepReuse* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      RETURN_IF_ERROR(CheckAccepting(service_));
      ASSIGN_OR_RETURN(const std::string id, wire::ParseSessionName(request->name(), "name"));
      // It may take minutes, so it may not take every call thread.
      if (prefetching_.fetch_add(1) >= kPrefetchesMax) {
        prefetching_.fetch_sub(1);
        return ResourceExhaustedError(
            std::to_string(kPrefetchesMax) + " prefetches run already; try again after one",
            "PREFETCH_RUNNING");
      }
      Result<StepReuse> reuse = service_.runtime->PrefetchSession(id);
      prefetching_.fetch_sub(1);
      return Reply(std::move(reuse), response);
    });
  }

  Reactor* ReleaseSession(Context* context, const v1::ReleaseSessionRequest* request,
                          v1::Session* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      ASSIGN_OR_RETURN(const std::string id, wire::ParseSessionName(request->name(), "name"));
      return Reply(service_.runtime->ReleaseSession(id), response);
    });
  }

  Reactor* SearchSessions(Context* context, const v1::SearchSessionsRequest* request,
                          v1::SearchSessionsResponse* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      RETURN_IF_ERROR(CheckKey(request->words(), "words"));
      SearchRequest wanted;
      wanted.words = request->words();
      if (request->hits_max() != 0) wanted.hits_max = request->hits_max();
      return Reply(service_.runtime->Search(wanted), response);
    });
  }

  Reactor* ExplainSession(Context* context, const v1::ExplainSessionRequest* request,
                          v1::ExplainSessionResponse* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      wire::TurnName name;
      if (request->name().find("/turns/") != std::string::npos) {
        ASSIGN_OR_RETURN(name, wire::ParseTurnName(request->name(), "name"));
      } else {
        ASSIGN_OR_RETURN(name.session, wire::ParseSessionName(request->name(), "name"));
      }
      ASSIGN_OR_RETURN(const auto steps, service_.runtime->Explain(name.session, name.turn));
      wire::ToWire(name.session, steps, response);
      return OkStatus();
    });
  }

  Reactor* VerifySession(Context* context, const v1::VerifySessionRequest* request,
                         v1::VerifySessionResponse* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      std::string id;  // empty: all
      if (request->name() != "sessions/-") {
        ASSIGN_OR_RETURN(id, wire::ParseSessionName(request->name(), "name"));
      }
      // It may take minutes, so it may not take every call thread.
      if (verifying_.exchange(true)) {
        return ResourceExhaustedError("another verification is running; try again after it",
                                      "VERIFY_RUNNING");
      }
      Result<VerifyReport> report = service_.runtime->Verify(id);
      verifying_.store(false);
      return Reply(std::move(report), response);
    });
  }

  Reactor* ReadTokens(Context* context, const v1::ReadTokensRequest* request,
                      v1::ReadTokensResponse* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      ASSIGN_OR_RETURN(const std::string id, wire::ParseSessionName(request->name(), "name"));
      if (request->begin() < 0 || request->count() < 0 || request->count() > kTokensMax) {
        return InvalidArgumentError("begin, count: expected begin >= 0 and count 0 to " +
                                        std::to_string(kTokensMax) + ", got " +
                                        std::to_string(request->begin()) + ", " +
                                        std::to_string(request->count()),
                                    wire::kBadField);
      }
      const int64_t count = request->count() == 0 ? kTokensDefault : request->count();
      return Reply(service_.runtime->ReadTokens(id, request->begin(), count), response);
    });
  }

 private:
  /// A call that changes a session's history.
  template <typename Message, typename Response, typename Method>
  Reactor* Change(Context* context, const Message* request, Response* response, Method method) {
    return Answer(service_, context, [this, request, response, method]() -> Status {
      RETURN_IF_ERROR(CheckAccepting(service_));
      RETURN_IF_ERROR(CheckKey(request->request_id(), "request_id"));
      RETURN_IF_ERROR(CheckKey(request->expected_head(), "expected_head"));
      ASSIGN_OR_RETURN(const auto wanted, wire::FromWire(*request));
      return Reply((service_.runtime->*method)(wanted), response);
    });
  }

  const ServiceContext service_;
  std::atomic<bool> verifying_ = false;
  std::atomic<int> prefetching_ = 0;
};

class TurnsService final : public v1::Turns::CallbackService {
 public:
  explicit TurnsService(const ServiceContext& context) : service_(context) {}

  Reactor* StartTurn(Context* context, const v1::StartTurnRequest* request,
                     v1::Turn* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      RETURN_IF_ERROR(CheckAccepting(service_));
      RETURN_IF_ERROR(CheckKey(request->request_id(), "request_id"));
      RETURN_IF_ERROR(CheckKey(request->expected_head(), "expected_head"));
      ASSIGN_OR_RETURN(const StartTurnRequest wanted, wire::FromWire(*request));
      return Reply(service_.runtime->StartTurn(wanted), response);
    });
  }

  Reactor* GetTurn(Context* context, const v1::GetTurnRequest* request,
                   v1::Turn* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      ASSIGN_OR_RETURN(const wire::TurnName name, wire::ParseTurnName(request->name(), "name"));
      return Reply(service_.runtime->GetTurn(name.session, name.turn), response);
    });
  }

  Reactor* CancelTurn(Context* context, const v1::CancelTurnRequest* request,
                      v1::Turn* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      ASSIGN_OR_RETURN(const wire::TurnName name, wire::ParseTurnName(request->name(), "name"));
      return Reply(service_.runtime->CancelTurn(name.session, name.turn), response);
    });
  }

 private:
  const ServiceContext service_;
};

class ApprovalsService final : public v1::Approvals::CallbackService {
 public:
  explicit ApprovalsService(const ServiceContext& context) : service_(context) {}

  Reactor* ListApprovals(Context* context, const v1::ListApprovalsRequest* request,
                         v1::ListApprovalsResponse* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      ASSIGN_OR_RETURN(const ListApprovalsRequest wanted, wire::FromWire(*request));
      return Reply(service_.runtime->ListApprovals(wanted), response);
    });
  }

  Reactor* GetApproval(Context* context, const v1::GetApprovalRequest* request,
                       v1::Approval* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      ASSIGN_OR_RETURN(const wire::ApprovalName name,
                       wire::ParseApprovalName(request->name(), "name"));
      return Reply(service_.runtime->GetApproval(name.session, name.approval), response);
    });
  }

  Reactor* ResolveApproval(Context* context, const v1::ResolveApprovalRequest* request,
                           v1::Approval* response) override {
    return Answer(service_, context, [this, request, response]() -> Status {
      RETURN_IF_ERROR(CheckAccepting(service_));
      RETURN_IF_ERROR(CheckKey(request->request_id(), "request_id"));
      ASSIGN_OR_RETURN(const ResolveApprovalRequest wanted, wire::FromWire(*request));
      return Reply(service_.runtime->ResolveApproval(wanted), response);
    });
  }

 private:
  const ServiceContext service_;
};

class AdminService final : public v1::Admin::CallbackService {
 public:
  explicit AdminService(const ServiceContext& context) : service_(context) {}

  Reactor* GetStats(Context* context, const v1::GetStatsRequest* /*request*/,
                    v1::Stats* response) override {
    return Answer(service_, context,
                  [this, response] { return Reply(service_.runtime->Stats(), response); });
  }

  Reactor* Backup(Context* context, const v1::BackupRequest* request,
                  v1::BackupResponse* response) override {
    return Upkeep(context, [this, request, response]() -> Status {
      if (!request->path().starts_with('/')) {
        return wire::BadField("path", "an absolute path", request->path());
      }
      return Reply(service_.runtime->Backup(request->path()), response);
    });
  }

  Reactor* Compact(Context* context, const v1::CompactRequest* /*request*/,
                   v1::CompactResponse* response) override {
    return Upkeep(context,
                  [this, response] { return Reply(service_.runtime->Compact(), response); });
  }

  Reactor* ExportSession(Context* context, const v1::ExportSessionRequest* request,
                         v1::ExportSessionResponse* response) override {
    return Upkeep(context, [this, context, request, response]() -> Status {
      ASSIGN_OR_RETURN(const std::string id, wire::ParseSessionName(request->name(), "name"));
      if (!request->path().starts_with('/')) {
        return wire::BadField("path", "an absolute path", request->path());
      }
      return Reply(service_.runtime->ExportSession(id, request->path(), StopWith(context)),
                   response);
    });
  }

  Reactor* ImportSession(Context* context, const v1::ImportSessionRequest* request,
                         v1::ImportSessionResponse* response) override {
    return Upkeep(context, [this, context, request, response]() -> Status {
      if (!request->path().starts_with('/')) {
        return wire::BadField("path", "an absolute path", request->path());
      }
      return Reply(service_.runtime->ImportSession(wire::FromWire(*request), StopWith(context)),
                   response);
    });
  }

 private:
  /// Ends the work when nobody waits for it any more.
  static PortProgress StopWith(Context* context) {
    return [context](int64_t, int64_t) { return !context->IsCancelled(); };
  }

  /// Long work, one at a time: it may not take every call thread.
  Reactor* Upkeep(Context* context, std::function<Status()> body) {
    return Answer(service_, context, [this, body = std::move(body)]() -> Status {
      if (working_.exchange(true)) {
        return ResourceExhaustedError(
            "another backup, compaction, export or import runs; try again after it",
            "UPKEEP_RUNNING");
      }
      Status status = body();
      working_.store(false);
      return status;
    });
  }

  const ServiceContext service_;
  std::atomic<bool> working_ = false;
};

}  // namespace

std::unique_ptr<grpc::Service> NewSessionsService(const ServiceContext& context) {
  return std::make_unique<SessionsService>(context);
}

std::unique_ptr<grpc::Service> NewTurnsService(const ServiceContext& context) {
  return std::make_unique<TurnsService>(context);
}

std::unique_ptr<grpc::Service> NewApprovalsService(const ServiceContext& context) {
  return std::make_unique<ApprovalsService>(context);
}

std::unique_ptr<grpc::Service> NewAdminService(const ServiceContext& context) {
  return std::make_unique<AdminService>(context);
}

}  // namespace baleen

// Sessions, Turns and Approvals: parse, call the runtime on a call thread, answer.

#include <baleen/v1/approvals.grpc.pb.h>
#include <baleen/v1/sessions.grpc.pb.h>
#include <baleen/v1/turns.grpc.pb.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "runtime/grpc/tenant.h"
#include "runtime/grpc/unary.h"
#include "runtime/grpc/upkeep_work.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr int64_t kTokensDefault = 65'536;
// 12 bytes a token with its hash, so that an answer stays far below 64 MiB.
constexpr int64_t kTokensMax = 1 << 20;
constexpr int kPrefetchesMax = 2;

/// Of a page of approvals or grants; empty: it isn't full, so it is the last one.
template <typename View>
std::string NextToken(const std::vector<View>& views, int64_t page_size) {
  if (std::ssize(views) < page_size) return "";
  return ReplaceInvalidUtf8(views.back().session + "/" + views.back().approval);
}

class SessionsService final : public v1::Sessions::CallbackService {
 public:
  explicit SessionsService(const ServiceContext& context) : service_(context) {}

  Reactor* CreateSession(Context* context, const v1::CreateSessionRequest* request,
                         v1::Session* response) override {
    return AnswerCaller(
        service_, context, Scope::kSessionsWrite,
        [this, request, response](const Caller& caller, wire::Details* details) -> Status {
          RETURN_IF_ERROR(CheckAccepting(service_));
          RETURN_IF_ERROR(CheckKey(request->request_id(), "request_id"));
          CreateSessionRequest wanted;
          wanted.session = request->session_id();
          if (!wanted.session.empty()) {
            RETURN_IF_ERROR(wire::CheckSessionId(wanted.session, "session_id"));
          }
          ASSIGN_OR_RETURN(wanted.settings, wire::FromWire(request->session().settings()));
          wanted.request_id = request->request_id();
          if (!request->script().empty()) {
            ASSIGN_OR_RETURN(wanted.stored_script,
                             wire::ParseScriptName(request->script(), "script"));
          }
          const auto create = [&] { return caller.runtime->CreateSession(wanted); };
          if (caller.tenant == nullptr) return Reply(create(), response);
          RETURN_IF_ERROR(caller.tenant->CheckWorkspace(&wanted.settings.workspace));
          RETURN_IF_ERROR(caller.tenant->CheckNetworkHosts(wanted.settings.network_hosts));
          RETURN_IF_ERROR(caller.tenant->CheckReadableSecrets(wanted.settings.readable_secrets));
          wanted.tenant = caller.tenant->name();
          return Reply(caller.tenant->AddSession(
                           *caller.runtime, {"CreateSession", wanted.request_id}, details, create),
                       response);
        });
  }

  Reactor* UpdateSession(Context* context, const v1::UpdateSessionRequest* request,
                         v1::Session* response) override {
    return AnswerCaller(
        service_, context, Scope::kSessionsWrite,
        [this, request, response](const Caller& caller, wire::Details*) -> Status {
          RETURN_IF_ERROR(CheckAccepting(service_));
          RETURN_IF_ERROR(CheckKey(request->request_id(), "request_id"));
          RETURN_IF_ERROR(CheckKey(request->expected_head(), "expected_head"));
          ASSIGN_OR_RETURN(const UpdateSessionRequest wanted, wire::FromWire(*request));
          const bool policy =
              std::any_of(wanted.mask.begin(), wanted.mask.end(),
                          [](const std::string& path) { return path.starts_with("policy"); });
          if (caller.tenant != nullptr && policy) {
            // Else it could let the tools of a session loose where it may not make one.
            ASSIGN_OR_RETURN(const SessionView now, caller.runtime->GetSession(wanted.session));
            std::string workspace = now.settings.workspace;  // all are fixed since it was made
            RETURN_IF_ERROR(caller.tenant->CheckWorkspace(&workspace));
            RETURN_IF_ERROR(caller.tenant->CheckNetworkHosts(now.settings.network_hosts));
            RETURN_IF_ERROR(caller.tenant->CheckReadableSecrets(now.settings.readable_secrets));
          }
          return Reply(caller.runtime->UpdateSession(wanted), response);
        });
  }

  Reactor* GetSession(Context* context, const v1::GetSessionRequest* request,
                      v1::Session* response) override {
    return Answer(
        service_, context, Scope::kSessionsRead, [request, response](Runtime& runtime) -> Status {
          ASSIGN_OR_RETURN(const std::string id, wire::ParseSessionName(request->name(), "name"));
          return Reply(runtime.GetSession(id), response);
        });
  }

  Reactor* ListSessions(Context* context, const v1::ListSessionsRequest* request,
                        v1::ListSessionsResponse* response) override {
    return Answer(service_, context, Scope::kSessionsRead,
                  [request, response](Runtime& runtime) -> Status {
                    ASSIGN_OR_RETURN(const int64_t rows,
                                     PageRows(request->page_size(), request->page_token()));
                    std::string next;
                    ASSIGN_OR_RETURN(const std::vector<SessionView> views,
                                     runtime.ListSessions(rows, request->page_token(), &next));
                    for (const SessionView& view : views)
                      wire::ToWire(view, response->add_sessions());
                    response->set_next_page_token(ReplaceInvalidUtf8(next));
                    return OkStatus();
                  });
  }

  Reactor* ForkSession(Context* context, const v1::ForkSessionRequest* request,
                       v1::Session* response) override {
    return AnswerCaller(
        service_, context, Scope::kSessionsWrite,
        [this, request, response](const Caller& caller, wire::Details* details) -> Status {
          RETURN_IF_ERROR(CheckAccepting(service_));
          RETURN_IF_ERROR(CheckKey(request->request_id(), "request_id"));
          RETURN_IF_ERROR(CheckKey(request->expected_head(), "expected_head"));
          ASSIGN_OR_RETURN(ForkRequest wanted, wire::FromWire(*request));
          const auto fork = [&] { return caller.runtime->ForkSession(wanted); };
          if (caller.tenant == nullptr) return Reply(fork(), response);
          wanted.tenant = caller.tenant->name();
          return Reply(caller.tenant->AddSession(*caller.runtime,
                                                 {"ForkSession", wanted.request_id}, details, fork),
                       response);
        });
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
    return Answer(service_, context, Scope::kSessionsWrite,
                  [this, request, response](Runtime& runtime) -> Status {
                    RETURN_IF_ERROR(CheckAccepting(service_));
                    ASSIGN_OR_RETURN(const std::string id,
                                     wire::ParseSessionName(request->name(), "name"));
                    return Reply(runtime.PinSession(id, request->pinned()), response);
                  });
  }

  Reactor* PrefetchSession(Context* context, const v1::PrefetchSessionRequest* request,
                           v1::StepReuse* response) override {
    return Answer(
        service_, context, Scope::kSessionsWrite,
        [this, request, response](Runtime& runtime) -> Status {
          RETURN_IF_ERROR(CheckAccepting(service_));
          ASSIGN_OR_RETURN(const std::string id, wire::ParseSessionName(request->name(), "name"));
          // It may take minutes, so it may not take every call thread.
          if (prefetching_.fetch_add(1) >= kPrefetchesMax) {
            prefetching_.fetch_sub(1);
            return ResourceExhaustedError(
                std::to_string(kPrefetchesMax) + " prefetches run already; try again after one",
                "PREFETCH_RUNNING");
          }
          Result<StepReuse> reuse = runtime.PrefetchSession(id);
          prefetching_.fetch_sub(1);
          return Reply(std::move(reuse), response);
        });
  }

  Reactor* ReleaseSession(Context* context, const v1::ReleaseSessionRequest* request,
                          v1::Session* response) override {
    return Answer(
        service_, context, Scope::kSessionsWrite, [request, response](Runtime& runtime) -> Status {
          ASSIGN_OR_RETURN(const std::string id, wire::ParseSessionName(request->name(), "name"));
          return Reply(runtime.ReleaseSession(id), response);
        });
  }

  Reactor* SearchSessions(Context* context, const v1::SearchSessionsRequest* request,
                          v1::SearchSessionsResponse* response) override {
    return Answer(service_, context, Scope::kSessionsRead,
                  [request, response](Runtime& runtime) -> Status {
                    RETURN_IF_ERROR(CheckKey(request->words(), "words"));
                    SearchRequest wanted;
                    wanted.words = request->words();
                    if (request->hits_max() != 0) wanted.hits_max = request->hits_max();
                    wanted.left_timelines = request->left_timelines();
                    return Reply(runtime.Search(wanted), response);
                  });
  }

  Reactor* ExplainSession(Context* context, const v1::ExplainSessionRequest* request,
                          v1::ExplainSessionResponse* response) override {
    return Answer(
        service_, context, Scope::kSessionsRead, [request, response](Runtime& runtime) -> Status {
          wire::TurnName name;
          if (request->name().find("/turns/") != std::string::npos) {
            ASSIGN_OR_RETURN(name, wire::ParseTurnName(request->name(), "name"));
          } else {
            ASSIGN_OR_RETURN(name.session, wire::ParseSessionName(request->name(), "name"));
          }
          ASSIGN_OR_RETURN(const auto steps, runtime.Explain(name.session, name.turn));
          wire::ToWire(name.session, steps, response);
          return OkStatus();
        });
  }

  Reactor* VerifySession(Context* context, const v1::VerifySessionRequest* request,
                         v1::VerifySessionResponse* response) override {
    return AnswerCaller(service_, context, Scope::kAdmin,
                        [this, request, response](const Caller& caller, wire::Details*) -> Status {
                          // It may take minutes, so it may not take every call thread.
                          if (verifying_.exchange(true)) {
                            return ResourceExhaustedError(
                                "another verification is running; try again after it",
                                "VERIFY_RUNNING");
                          }
                          const Status status = RunUpkeep(caller, *request, {}, response);
                          verifying_.store(false);
                          return status;
                        });
  }

  Reactor* ReadTokens(Context* context, const v1::ReadTokensRequest* request,
                      v1::ReadTokensResponse* response) override {
    return Answer(
        service_, context, Scope::kSessionsRead, [request, response](Runtime& runtime) -> Status {
          ASSIGN_OR_RETURN(const std::string id, wire::ParseSessionName(request->name(), "name"));
          if (request->begin() < 0 || request->count() < 0 || request->count() > kTokensMax) {
            return InvalidArgumentError("begin, count: expected begin >= 0 and count 0 to " +
                                            std::to_string(kTokensMax) + ", got " +
                                            std::to_string(request->begin()) + ", " +
                                            std::to_string(request->count()),
                                        wire::kBadField);
          }
          const int64_t count = request->count() == 0 ? kTokensDefault : request->count();
          return Reply(runtime.ReadTokens(id, request->begin(), count), response);
        });
  }

 private:
  /// A call that changes a session's history.
  template <typename Message, typename Response, typename Method>
  Reactor* Change(Context* context, const Message* request, Response* response, Method method) {
    return Answer(service_, context, Scope::kSessionsWrite,
                  [this, request, response, method](Runtime& runtime) -> Status {
                    RETURN_IF_ERROR(CheckAccepting(service_));
                    RETURN_IF_ERROR(CheckKey(request->request_id(), "request_id"));
                    RETURN_IF_ERROR(CheckKey(request->expected_head(), "expected_head"));
                    ASSIGN_OR_RETURN(const auto wanted, wire::FromWire(*request));
                    return Reply((runtime.*method)(wanted), response);
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
    return AnswerCaller(
        service_, context, Scope::kTurnsRun,
        [this, request, response](const Caller& caller, wire::Details* details) -> Status {
          RETURN_IF_ERROR(CheckAccepting(service_));
          RETURN_IF_ERROR(CheckKey(request->request_id(), "request_id"));
          RETURN_IF_ERROR(CheckKey(request->expected_head(), "expected_head"));
          ASSIGN_OR_RETURN(const StartTurnRequest wanted, wire::FromWire(*request));
          if (caller.tenant == nullptr) {
            return Reply(caller.runtime->StartTurn(wanted), response);
          }
          return Reply(caller.tenant->StartTurn(*caller.runtime, wanted, details), response);
        });
  }

  Reactor* GetTurn(Context* context, const v1::GetTurnRequest* request,
                   v1::Turn* response) override {
    return Answer(
        service_, context, Scope::kSessionsRead, [request, response](Runtime& runtime) -> Status {
          ASSIGN_OR_RETURN(const wire::TurnName name, wire::ParseTurnName(request->name(), "name"));
          return Reply(runtime.GetTurn(name.session, name.turn), response);
        });
  }

  Reactor* SteerTurn(Context* context, const v1::SteerTurnRequest* request,
                     v1::Turn* response) override {
    return Answer(service_, context, Scope::kTurnsRun,
                  [this, request, response](Runtime& runtime) -> Status {
                    RETURN_IF_ERROR(CheckAccepting(service_));
                    RETURN_IF_ERROR(CheckKey(request->request_id(), "request_id"));
                    ASSIGN_OR_RETURN(const SteerTurnRequest wanted, wire::FromWire(*request));
                    return Reply(runtime.SteerTurn(wanted), response);
                  });
  }

  Reactor* CancelTurn(Context* context, const v1::CancelTurnRequest* request,
                      v1::Turn* response) override {
    return Answer(
        service_, context, Scope::kTurnsRun, [request, response](Runtime& runtime) -> Status {
          ASSIGN_OR_RETURN(const wire::TurnName name, wire::ParseTurnName(request->name(), "name"));
          return Reply(runtime.CancelTurn(name.session, name.turn), response);
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
    return Answer(service_, context, Scope::kSessionsRead,
                  [request, response](Runtime& runtime) -> Status {
                    RETURN_IF_ERROR(CheckKey(request->page_token(), "page_token"));
                    ASSIGN_OR_RETURN(const ListApprovalsRequest wanted, wire::FromWire(*request));
                    ASSIGN_OR_RETURN(const auto views, runtime.ListApprovals(wanted));
                    for (const ApprovalView& view : views) {
                      wire::ToWire(view, response->add_approvals());
                    }
                    response->set_next_page_token(NextToken(views, wanted.approvals_max));
                    return OkStatus();
                  });
  }

  Reactor* ListGrants(Context* context, const v1::ListGrantsRequest* request,
                      v1::ListGrantsResponse* response) override {
    return Answer(service_, context, Scope::kSessionsRead,
                  [request, response](Runtime& runtime) -> Status {
                    RETURN_IF_ERROR(CheckKey(request->page_token(), "page_token"));
                    ASSIGN_OR_RETURN(const ListGrantsRequest wanted, wire::FromWire(*request));
                    ASSIGN_OR_RETURN(const auto views, runtime.ListGrants(wanted));
                    for (const GrantView& view : views) wire::ToWire(view, response->add_grants());
                    response->set_next_page_token(NextToken(views, wanted.grants_max));
                    return OkStatus();
                  });
  }

  Reactor* RevokeGrant(Context* context, const v1::RevokeGrantRequest* request,
                       v1::Grant* response) override {
    return Answer(service_, context, Scope::kApprovalsResolve,
                  [this, request, response](Runtime& runtime) -> Status {
                    RETURN_IF_ERROR(CheckAccepting(service_));
                    RETURN_IF_ERROR(CheckKey(request->request_id(), "request_id"));
                    ASSIGN_OR_RETURN(const RevokeGrantRequest wanted, wire::FromWire(*request));
                    return Reply(runtime.RevokeGrant(wanted), response);
                  });
  }

  Reactor* ExplainDecision(Context* context, const v1::ExplainDecisionRequest* request,
                           v1::Decision* response) override {
    return Answer(
        service_, context, Scope::kSessionsRead, [request, response](Runtime& runtime) -> Status {
          ASSIGN_OR_RETURN(const wire::TurnName name, wire::ParseTurnName(request->turn(), "turn"));
          return Reply(runtime.ExplainDecision(name.session, name.turn, request->call()), response);
        });
  }

  Reactor* GetApproval(Context* context, const v1::GetApprovalRequest* request,
                       v1::Approval* response) override {
    return Answer(service_, context, Scope::kSessionsRead,
                  [request, response](Runtime& runtime) -> Status {
                    ASSIGN_OR_RETURN(const wire::ApprovalName name,
                                     wire::ParseApprovalName(request->name(), "name"));
                    return Reply(runtime.GetApproval(name.session, name.approval), response);
                  });
  }

  Reactor* ResolveApproval(Context* context, const v1::ResolveApprovalRequest* request,
                           v1::Approval* response) override {
    return Answer(service_, context, Scope::kApprovalsResolve,
                  [this, request, response](Runtime& runtime) -> Status {
                    RETURN_IF_ERROR(CheckAccepting(service_));
                    RETURN_IF_ERROR(CheckKey(request->request_id(), "request_id"));
                    ASSIGN_OR_RETURN(const ResolveApprovalRequest wanted, wire::FromWire(*request));
                    return Reply(runtime.ResolveApproval(wanted), response);
                  });
  }

 private:
  const ServiceContext service_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewSessionsService(const ServiceContext& context) {
  return std::make_unique<SessionsService>(context);
}

std::unique_ptr<grpc::Service> NewApprovalsService(const ServiceContext& context) {
  return std::make_unique<ApprovalsService>(context);
}

std::unique_ptr<grpc::Service> NewTurnsService(const ServiceContext& context) {
  return std::make_unique<TurnsService>(context);
}

}  // namespace baleen

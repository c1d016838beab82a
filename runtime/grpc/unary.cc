#include "runtime/grpc/unary.h"

#include "runtime/grpc/wire_status.h"

namespace baleen {
namespace {

// Room for the widest use: a resource name, or a UUID, or a cursor.
constexpr size_t kKeyBytesMax = 1024;

}  // namespace

Reactor* Answer(const ServiceContext& service, Context* context, Scope scope,
                std::function<Status(Runtime& runtime)> body) {
  return AnswerCaller(service, context, scope,
                      [body = std::move(body)](const Caller& caller, wire::Details* /*details*/) {
                        return body(*caller.runtime);
                      });
}

Reactor* AnswerCaller(const ServiceContext& service, Context* context, Scope scope,
                      std::function<Status(const Caller& caller, wire::Details* details)> body) {
  Reactor* reactor = context->DefaultReactor();
  const auto finish = [reactor, observer = service.options.observer](const Status& status,
                                                                     const wire::Details& details) {
    if (observer != nullptr) observer->OnAnswer(status);
    reactor->Finish(wire::ToGrpc(status, details));
  };
  wire::Details details;
  const Result<Caller> admitted = service.access->Admit(*context, scope, &details);
  if (!admitted.ok()) {
    finish(admitted.status(), details);
    return reactor;
  }
  const bool queued =
      service.threads.calls->Post([finish, caller = *admitted, body = std::move(body)] {
        wire::Details why;
        const Status status = body(caller, &why);
        finish(status, why);
      });
  if (!queued) {
    finish(ResourceExhaustedError(std::to_string(service.options.calls_queued_max) +
                                      " calls are waiting already; try later",
                                  "OVERLOADED"),
           {});
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

Result<int64_t> PageRows(int64_t page_size, const std::string& page_token) {
  constexpr int64_t kPageDefault = 50;
  constexpr int64_t kPageMax = 1000;
  RETURN_IF_ERROR(CheckKey(page_token, "page_token"));
  if (page_size < 0) return wire::BadField("page_size", "0 or more", std::to_string(page_size));
  return page_size == 0 ? kPageDefault : std::min(page_size, kPageMax);
}

Status CheckAccepting(const ServiceContext& service) {
  if (!service.threads.open->draining()) return OkStatus();
  return UnavailableError("the server is shutting down; try again once it is back", "DRAINING");
}

}  // namespace baleen

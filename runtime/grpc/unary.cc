#include "runtime/grpc/unary.h"

#include "runtime/grpc/wire_status.h"

namespace baleen {
namespace {

// Room for the widest use: a resource name, or a UUID, or a cursor.
constexpr size_t kKeyBytesMax = 1024;

}  // namespace

Reactor* Answer(const ServiceContext& service, Context* context, Scope scope,
                std::function<Status(Runtime& runtime)> body) {
  Reactor* reactor = context->DefaultReactor();
  const Result<Runtime*> admitted = service.access->Admit(*context, scope);
  if (!admitted.ok()) {
    reactor->Finish(wire::ToGrpc(admitted.status()));
    return reactor;
  }
  const bool queued =
      service.threads.calls->Post([reactor, runtime = *admitted, body = std::move(body)] {
        reactor->Finish(wire::ToGrpc(body(*runtime)));
      });
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

}  // namespace baleen

// What the unary RPCs share: is this caller admitted, a call thread, an answer.
//
// Used by the services of this folder only.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>
#include <utility>

#include "runtime/grpc/access.h"
#include "runtime/grpc/convert.h"
#include "runtime/grpc/services.h"

namespace baleen {

using Context = grpc::CallbackServerContext;
using Reactor = grpc::ServerUnaryReactor;

/// Refuses callers without `scope`; else runs `body` on a call thread with what the caller may see
/// of the runtime, and answers with its status. gRPC keeps request and response until then, also
/// when the client has left.
Reactor* Answer(const ServiceContext& service, Context* context, Scope scope,
                std::function<Status(Runtime& runtime)> body);
/// The same for what depends on who asks.
Reactor* AnswerCaller(const ServiceContext& service, Context* context, Scope scope,
                      std::function<Status(const Caller& caller, wire::Details* details)> body);

/// INVALID_ARGUMENT/BAD_FIELD for a name, UUID or cursor that no honest client sends.
Status CheckKey(const std::string& key, const char* field);
/// Rows of a page: 50 unless the request says otherwise, at most 1,000. Refuses a size below 0, and
/// a token as CheckKey does.
Result<int64_t> PageRows(int64_t page_size, const std::string& page_token);
/// UNAVAILABLE/DRAINING once the server shuts down.
Status CheckAccepting(const ServiceContext& service);

template <typename View, typename Message>
Status Reply(Result<View> view, Message* response) {
  if (!view.ok()) return view.status();
  wire::ToWire(*view, response);
  return OkStatus();
}

}  // namespace baleen

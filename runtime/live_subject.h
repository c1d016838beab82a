// What a live event is about, for queues between a session and those who watch it.
//
// Called by runtime/grpc and runtime/c.
#pragma once

#include <string>

#include "runtime/session.h"

namespace baleen {

/// Of two live events with one subject only the newer says something: it may take the other's place
/// in a queue. Empty: each counts, as those of text do, and durable ones.
inline std::string LiveSubject(const Event& event) {
  if (event.seq != 0) return {};
  const std::string about = event.kind + " " + event.turn;
  if (event.kind == "progress" || event.kind == "waiting" || event.kind == "heartbeat") {
    return about;
  }
  // Each call has its own, and its payload begins with the call's id.
  if (event.kind != "tool_progress") return {};
  return about + " " + event.payload.substr(0, event.payload.find(','));
}

}  // namespace baleen

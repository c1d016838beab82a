// Fork, rewind and delete <-> wire messages.
#include <utility>

#include "runtime/grpc/convert.h"
#include "tools_sdk/utf8.h"

namespace baleen::wire {
namespace {

void ToWirePoint(const std::string& session, const HistoryPoint& point, v1::HistoryPoint* out) {
  if (point.tokens.has_value()) out->set_tokens(*point.tokens);
  if (!point.turn.empty()) out->set_turn(TurnNameOf(session, point.turn));
  out->set_timeline(point.timeline);
}

Result<HistoryPoint> FromWirePoint(const std::string& session, const v1::HistoryPoint& point,
                                   const std::string& field) {
  HistoryPoint out;
  if (point.at_case() == v1::HistoryPoint::kTurn) {
    ASSIGN_OR_RETURN(TurnName name, ParseTurnName(point.turn(), field + ".turn"));
    if (name.session != session) {
      return BadField(field + ".turn", "a turn of session '" + session + "'", point.turn());
    }
    out.turn = std::move(name.turn);
  }
  if (point.at_case() == v1::HistoryPoint::kTokens) out.tokens = point.tokens();
  out.timeline = point.timeline();
  return out;
}

}  // namespace

void ToWire(const ForkRequest& request, v1::ForkSessionRequest* out) {
  out->set_name(SessionName(request.session));
  ToWirePoint(request.session, request.at, out->mutable_at());
  out->set_session_id(ReplaceInvalidUtf8(request.fork));
  out->set_title(ReplaceInvalidUtf8(request.title));
  out->set_expected_head(ReplaceInvalidUtf8(request.expected_head));
  out->set_request_id(ReplaceInvalidUtf8(request.request_id));
}

Result<ForkRequest> FromWire(const v1::ForkSessionRequest& request) {
  ForkRequest out;
  ASSIGN_OR_RETURN(out.session, ParseSessionName(request.name(), "name"));
  ASSIGN_OR_RETURN(out.at, FromWirePoint(out.session, request.at(), "at"));
  out.fork = request.session_id();
  if (!out.fork.empty()) RETURN_IF_ERROR(CheckSessionId(out.fork, "session_id"));
  out.title = request.title();
  out.expected_head = request.expected_head();
  out.request_id = request.request_id();
  return out;
}

void ToWire(const RewindRequest& request, v1::RewindSessionRequest* out) {
  out->set_name(SessionName(request.session));
  ToWirePoint(request.session, request.to, out->mutable_to());
  out->set_undo(request.undo);
  out->set_validate_only(request.validate_only);
  out->set_expected_head(ReplaceInvalidUtf8(request.expected_head));
  out->set_request_id(ReplaceInvalidUtf8(request.request_id));
}

Result<RewindRequest> FromWire(const v1::RewindSessionRequest& request) {
  RewindRequest out;
  ASSIGN_OR_RETURN(out.session, ParseSessionName(request.name(), "name"));
  ASSIGN_OR_RETURN(out.to, FromWirePoint(out.session, request.to(), "to"));
  out.undo = request.undo();
  out.validate_only = request.validate_only();
  out.expected_head = request.expected_head();
  out.request_id = request.request_id();
  return out;
}

void ToWire(const RewindView& view, v1::RewindSessionResponse* out) {
  ToWire(view.session, out->mutable_session());
  out->set_kept_seq(view.kept_seq);
  out->set_left_tokens(view.left_tokens);
  out->set_left_turns(view.left_turns);
  out->set_left_timeline(view.left_timeline);
}

Result<RewindView> FromWire(const v1::RewindSessionResponse& response) {
  RewindView out;
  ASSIGN_OR_RETURN(out.session, FromWire(response.session()));
  out.kept_seq = response.kept_seq();
  out.left_tokens = response.left_tokens();
  out.left_turns = response.left_turns();
  out.left_timeline = response.left_timeline();
  return out;
}

void ToWire(const DeleteRequest& request, v1::DeleteSessionRequest* out) {
  out->set_name(SessionName(request.session));
  out->set_validate_only(request.validate_only);
  out->set_expected_head(ReplaceInvalidUtf8(request.expected_head));
  out->set_request_id(ReplaceInvalidUtf8(request.request_id));
}

Result<DeleteRequest> FromWire(const v1::DeleteSessionRequest& request) {
  DeleteRequest out;
  ASSIGN_OR_RETURN(out.session, ParseSessionName(request.name(), "name"));
  out.validate_only = request.validate_only();
  out.expected_head = request.expected_head();
  out.request_id = request.request_id();
  return out;
}

void ToWire(const DeleteView& view, v1::DeleteSessionResponse* out) {
  out->set_name(SessionName(view.session));
  out->set_tokens(view.tokens);
  out->set_turns(view.turns);
  out->set_timelines(view.timelines);
  out->set_forks(view.forks);
}

Result<DeleteView> FromWire(const v1::DeleteSessionResponse& response) {
  DeleteView out;
  ASSIGN_OR_RETURN(out.session, ParseSessionName(response.name(), "name"));
  out.tokens = response.tokens();
  out.turns = response.turns();
  out.timelines = response.timelines();
  out.forks = response.forks();
  return out;
}

}  // namespace baleen::wire

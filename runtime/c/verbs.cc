// The C API's verbs: a JSON request in, one call of Runtime, a JSON reply out.
#include <functional>
#include <utility>
#include <vector>

#include "runtime/c/handles.h"
#include "runtime/c/json_request.h"
#include "runtime/sessions/journal_json.h"
#include "runtime/sessions/settings_json.h"
#include "runtime/sessions/view_json.h"
#include "tools_sdk/json_text.h"

namespace baleen::c {
namespace {

/// What every verb does around its own lines; `body` reads the request and returns a Result<Json>.
template <typename Body>
int Verb(const char* name, baleen_runtime* runtime, const char* request, char** reply,
         baleen_error** error, Body body) {
  if (reply != nullptr) *reply = nullptr;
  return Guard(error, [&]() -> Status {
    if (runtime == nullptr) {
      return InvalidArgumentError(std::string(name) + ": the runtime is NULL", "BAD_FIELD");
    }
    JsonRequest fields(request, name);
    ASSIGN_OR_RETURN(const Json json, body(*runtime->runtime, fields));
    return ReplyText(JsonText(json), reply);
  });
}

template <typename View>
Result<Json> Viewed(const Result<View>& view) {
  if (!view.ok()) return view.status();
  return ViewJson(*view);
}

template <typename View>
Json Views(const std::vector<View>& views) {
  Json list = Json::array();
  for (const View& view : views) list.push_back(ViewJson(view));
  return list;
}

/// Schemas are texts in the runtime; a host may give them as the objects that they are.
void WriteAsText(Json& holder, const char* member) {
  if (!holder.is_object()) return;
  const auto found = holder.find(member);
  if (found != holder.end() && found->is_object()) *found = JsonText(*found);
}

/// The members that a settings object may have are those that it is written with.
void ReadSettings(JsonRequest& fields, SessionSettings* settings) {
  const Json* json = fields.Find("settings");
  if (json == nullptr) return;
  if (!json->is_object()) return fields.Fail("member \"settings\": expected an object");
  JsonRequest strict(*json, "settings");
  const Json known = Json::parse(SettingsToJson({}));
  for (const auto& [name, value] : known.items()) strict.Find(name.c_str());
  fields.Note(strict.Finish());
  Json given = *json;
  if (const auto tools = given.find("host_tools"); tools != given.end() && tools->is_array()) {
    for (Json& tool : *tools) WriteAsText(tool, "parameters");
  }
  if (given.contains("constraint")) WriteAsText(given["constraint"], "answer_schema");
  auto read = SettingsFromJson(JsonText(given));
  fields.Note(read.status());
  if (read.ok()) *settings = std::move(read).value();
}

HistoryPoint ReadPoint(JsonRequest& fields, const char* name) {
  HistoryPoint point;
  const Json* json = fields.Find(name);
  if (json == nullptr) return point;
  JsonRequest strict(*json, name);
  strict.Get("turn", &point.turn);
  strict.Get("timeline", &point.timeline);
  int64_t tokens = 0;
  if (strict.Find("tokens") != nullptr) {
    strict.Get("tokens", &tokens);
    point.tokens = tokens;
  }
  fields.Note(strict.Finish());
  return point;
}

/// "session" and nothing else.
Status ReadSession(JsonRequest& fields, std::string* session) {
  fields.Need("session", session);
  return fields.Finish();
}

Status ReadTurn(JsonRequest& fields, std::string* session, std::string* turn) {
  fields.Need("session", session);
  fields.Need("turn", turn);
  return fields.Finish();
}

void ReadInput(JsonRequest& fields, std::vector<std::string>* input) {
  const Json* json = fields.Find("input");
  if (json != nullptr && json->is_string()) {
    input->push_back(json->get<std::string>());
  } else {
    fields.Get("input", input);
  }
  if (input->empty()) fields.Fail("member \"input\" is missing or empty");
}

/// Sampling, constraint and budget of one turn, as the journal writes them.
void ReadTurnSettings(JsonRequest& fields, StartTurnRequest* request) {
  Json given = Json::object();
  for (const char* name : {"sampling", "constraint", "budget"}) {
    if (const Json* value = fields.Find(name)) given[name] = *value;
  }
  if (given.empty()) return;
  if (given.contains("constraint")) WriteAsText(given["constraint"], "answer_schema");
  auto read = TurnStartFromJson(JsonText(given));
  fields.Note(read.status());
  if (!read.ok()) return;
  if (given.contains("sampling")) request->sampling = read->sampling;
  if (given.contains("budget")) request->budget = read->budget;
  request->constraint = std::move(read->constraint);
}

Result<Json> CreateSession(Runtime& runtime, JsonRequest& fields) {
  CreateSessionRequest request;
  fields.Get("session", &request.session);
  fields.Get("request_id", &request.request_id);
  fields.Get("stored_script", &request.stored_script);
  fields.Get("tenant", &request.tenant);
  ReadSettings(fields, &request.settings);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.CreateSession(request));
}

/// Paths of all members that the request's settings have: what is there is what changes.
std::vector<std::string> MaskOf(const Json& settings) {
  std::vector<std::string> mask;
  for (const auto& [name, value] : settings.items()) {
    if (!value.is_object()) {
      mask.push_back(name);
      continue;
    }
    for (const auto& [inner, _] : value.items()) mask.push_back(name + "." + inner);
  }
  return mask;
}

Result<Json> UpdateSession(Runtime& runtime, JsonRequest& fields) {
  UpdateSessionRequest request;
  fields.Need("session", &request.session);
  fields.Get("expected_head", &request.expected_head);
  fields.Get("request_id", &request.request_id);
  ReadSettings(fields, &request.settings);
  RETURN_IF_ERROR(fields.Finish());
  if (const Json* settings = fields.Find("settings")) request.mask = MaskOf(*settings);
  return Viewed(runtime.UpdateSession(request));
}

/// A verb that takes a session's id and nothing else.
template <auto kVerb>
Result<Json> OfSession(Runtime& runtime, JsonRequest& fields) {
  std::string session;
  RETURN_IF_ERROR(ReadSession(fields, &session));
  return Viewed((runtime.*kVerb)(session));
}

/// A verb that takes a turn and nothing else.
template <auto kVerb>
Result<Json> OfTurn(Runtime& runtime, JsonRequest& fields) {
  std::string session;
  std::string turn;
  RETURN_IF_ERROR(ReadTurn(fields, &session, &turn));
  return Viewed((runtime.*kVerb)(session, turn));
}

Result<Json> ListSessions(Runtime& runtime, JsonRequest& fields) {
  int64_t page_size = 100;
  std::string page_token;
  fields.Get("page_size", &page_size);
  fields.Get("page_token", &page_token);
  RETURN_IF_ERROR(fields.Finish());
  std::string next;
  ASSIGN_OR_RETURN(const auto sessions, runtime.ListSessions(page_size, page_token, &next));
  return Json{{"sessions", Views(sessions)}, {"next_page_token", next}};
}

Result<Json> ForkSession(Runtime& runtime, JsonRequest& fields) {
  ForkRequest request;
  fields.Need("session", &request.session);
  request.at = ReadPoint(fields, "at");
  fields.Get("fork", &request.fork);
  fields.Get("title", &request.title);
  fields.Get("expected_head", &request.expected_head);
  fields.Get("request_id", &request.request_id);
  fields.Get("tenant", &request.tenant);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.ForkSession(request));
}

RewindScope ReadScope(JsonRequest& fields) {
  std::string scope = "conversation";
  fields.Get("scope", &scope);
  if (scope == "files") return RewindScope::kFiles;
  if (scope == "both") return RewindScope::kBoth;
  if (scope != "conversation") fields.Fail("member 'scope': expected conversation, files or both");
  return RewindScope::kConversation;
}

Result<Json> RewindSession(Runtime& runtime, JsonRequest& fields) {
  RewindRequest request;
  fields.Need("session", &request.session);
  request.to = ReadPoint(fields, "to");
  request.scope = ReadScope(fields);
  fields.Get("undo", &request.undo);
  fields.Get("validate_only", &request.validate_only);
  fields.Get("expected_head", &request.expected_head);
  fields.Get("request_id", &request.request_id);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.RewindSession(request));
}

Result<Json> DeleteSession(Runtime& runtime, JsonRequest& fields) {
  DeleteRequest request;
  fields.Need("session", &request.session);
  fields.Get("validate_only", &request.validate_only);
  fields.Get("expected_head", &request.expected_head);
  fields.Get("request_id", &request.request_id);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.DeleteSession(request));
}

Result<Json> PinSession(Runtime& runtime, JsonRequest& fields) {
  std::string session;
  bool pinned = true;
  fields.Need("session", &session);
  fields.Get("pinned", &pinned);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.PinSession(session, pinned));
}

Result<Json> StartTurn(Runtime& runtime, JsonRequest& fields) {
  StartTurnRequest request;
  fields.Need("session", &request.session);
  fields.Get("compact", &request.compact);
  if (!request.compact || fields.Find("input") != nullptr) ReadInput(fields, &request.input);
  ReadTurnSettings(fields, &request);
  fields.Get("tokens_max", &request.tokens_max);
  fields.Get("trace_logits", &request.trace_logits);
  fields.Get("expected_head", &request.expected_head);
  fields.Get("request_id", &request.request_id);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.StartTurn(request));
}

Result<Json> SteerTurn(Runtime& runtime, JsonRequest& fields) {
  SteerTurnRequest request;
  std::string delivery = "next_step";
  ReadInput(fields, &request.input);
  fields.Get("delivery", &delivery);
  fields.Get("request_id", &request.request_id);
  if (delivery != "next_step" && delivery != "after_turn") {
    fields.Fail("member \"delivery\": expected \"next_step\" or \"after_turn\"");
  }
  if (delivery == "after_turn") request.delivery = SteerDelivery::kAfterTurn;
  RETURN_IF_ERROR(ReadTurn(fields, &request.session, &request.turn));
  return Viewed(runtime.SteerTurn(request));
}

Result<Json> WaitTurn(Runtime& runtime, JsonRequest& fields) {
  std::string session;
  std::string turn;
  int64_t timeout_ms = 0;
  fields.Get("timeout_ms", &timeout_ms);
  RETURN_IF_ERROR(ReadTurn(fields, &session, &turn));
  return Viewed(runtime.WaitTurn(session, turn, timeout_ms));
}

Result<Json> ListApprovals(Runtime& runtime, JsonRequest& fields) {
  ListApprovalsRequest request;
  fields.Get("session", &request.session);
  fields.Get("resolved", &request.resolved);
  fields.Get("approvals_max", &request.approvals_max);
  fields.Get("after", &request.after);
  RETURN_IF_ERROR(fields.Finish());
  ASSIGN_OR_RETURN(const auto approvals, runtime.ListApprovals(request));
  return Json{{"approvals", Views(approvals)}};
}

Result<Json> GetApproval(Runtime& runtime, JsonRequest& fields) {
  std::string approval;
  std::string session;
  fields.Need("approval", &approval);
  RETURN_IF_ERROR(ReadSession(fields, &session));
  return Viewed(runtime.GetApproval(session, approval));
}

Result<Json> ResolveApproval(Runtime& runtime, JsonRequest& fields) {
  ResolveApprovalRequest request;
  std::string decision;
  std::string scope = "once";
  fields.Need("session", &request.session);
  fields.Need("approval", &request.approval);
  fields.Need("decision", &decision);
  fields.Get("scope", &scope);
  fields.Get("calls", &request.calls);
  fields.Get("extend", &request.extend);
  fields.Get("reason", &request.reason);
  fields.Get("resolved_by", &request.resolved_by);
  fields.Get("request_id", &request.request_id);
  if (decision != "grant" && decision != "deny") {
    fields.Fail("member \"decision\": expected \"grant\" or \"deny\"");
  }
  request.grant = decision == "grant";
  if (scope == "turn") {
    request.scope = GrantScope::kTurn;
  } else if (scope == "session") {
    request.scope = GrantScope::kSession;
  } else if (scope == "workspace") {
    request.scope = GrantScope::kWorkspace;
  } else if (scope != "once") {
    fields.Fail("member \"scope\": expected \"once\", \"turn\", \"session\" or \"workspace\"");
  }
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.ResolveApproval(request));
}

Result<Json> ListGrants(Runtime& runtime, JsonRequest& fields) {
  ListGrantsRequest request;
  fields.Get("session", &request.session);
  fields.Get("grants_max", &request.grants_max);
  fields.Get("after", &request.after);
  RETURN_IF_ERROR(fields.Finish());
  ASSIGN_OR_RETURN(const auto grants, runtime.ListGrants(request));
  return Json{{"grants", Views(grants)}};
}

Result<Json> RevokeGrant(Runtime& runtime, JsonRequest& fields) {
  RevokeGrantRequest request;
  fields.Need("session", &request.session);
  fields.Need("approval", &request.approval);
  fields.Get("reason", &request.reason);
  fields.Get("revoked_by", &request.revoked_by);
  fields.Get("request_id", &request.request_id);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.RevokeGrant(request));
}

Result<Json> ExplainDecision(Runtime& runtime, JsonRequest& fields) {
  std::string session, turn, call;
  fields.Need("session", &session);
  fields.Need("turn", &turn);
  fields.Need("call", &call);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.ExplainDecision(session, turn, call));
}

Result<Json> PutScript(Runtime& runtime, JsonRequest& fields) {
  PutScriptRequest request;
  fields.Get("script", &request.script);
  fields.Need("source", &request.source);
  fields.Get("validate_only", &request.validate_only);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.PutScript(request));
}

Result<Json> GetScript(Runtime& runtime, JsonRequest& fields) {
  std::string script;
  fields.Need("script", &script);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.GetScript(script));
}

Result<Json> ListScripts(Runtime& runtime, JsonRequest& fields) {
  int64_t scripts_max = 0;
  std::string after;
  fields.Get("scripts_max", &scripts_max);
  fields.Get("after", &after);
  RETURN_IF_ERROR(fields.Finish());
  ASSIGN_OR_RETURN(const auto scripts, runtime.ListScripts(scripts_max, after));
  return Json{{"scripts", Views(scripts)}};
}

Result<Json> DeleteScript(Runtime& runtime, JsonRequest& fields) {
  std::string script;
  fields.Need("script", &script);
  RETURN_IF_ERROR(fields.Finish());
  RETURN_IF_ERROR(runtime.DeleteScript(script));
  return Json::object();
}

Result<Json> ListTools(Runtime& runtime, JsonRequest& fields) {
  std::string session;
  fields.Get("session", &session);
  RETURN_IF_ERROR(fields.Finish());
  ASSIGN_OR_RETURN(const auto tools, runtime.ListTools(session));
  return Json{{"tools", Views(tools)}};
}

Result<Json> ListModels(Runtime& runtime, JsonRequest& fields) {
  RETURN_IF_ERROR(fields.Finish());
  ASSIGN_OR_RETURN(const auto models, runtime.ListModels());
  return Json{{"models", Views(models)}};
}

Result<Json> Search(Runtime& runtime, JsonRequest& fields) {
  SearchRequest request;
  fields.Need("words", &request.words);
  fields.Get("hits_max", &request.hits_max);
  fields.Get("left_timelines", &request.left_timelines);
  RETURN_IF_ERROR(fields.Finish());
  ASSIGN_OR_RETURN(const auto hits, runtime.Search(request));
  return Json{{"hits", Views(hits)}};
}

Result<Json> Explain(Runtime& runtime, JsonRequest& fields) {
  std::string session;
  std::string turn;
  fields.Get("turn", &turn);
  RETURN_IF_ERROR(ReadSession(fields, &session));
  ASSIGN_OR_RETURN(const auto steps, runtime.Explain(session, turn));
  return Json{{"steps", Views(steps)}};
}

Result<Json> ReadTokens(Runtime& runtime, JsonRequest& fields) {
  std::string session;
  int64_t begin = 0;
  int64_t count = 0;
  fields.Get("begin", &begin);
  fields.Get("count", &count);
  RETURN_IF_ERROR(ReadSession(fields, &session));
  return Viewed(runtime.ReadTokens(session, begin, count));
}

Result<Json> ExportSession(Runtime& runtime, JsonRequest& fields) {
  std::string session;
  std::string path;
  fields.Need("path", &path);
  RETURN_IF_ERROR(ReadSession(fields, &session));
  return Viewed(runtime.ExportSession(session, path, {}));
}

Result<Json> ImportSession(Runtime& runtime, JsonRequest& fields) {
  ImportRequest request;
  fields.Need("path", &request.path);
  fields.Get("session", &request.session);
  fields.Get("workspace", &request.workspace);
  fields.Get("trust_kv", &request.trust_kv);
  fields.Get("request_id", &request.request_id);
  fields.Get("tenant", &request.tenant);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.ImportSession(request, {}));
}

Result<Json> ReadTenant(Runtime& runtime, JsonRequest& fields) {
  std::string tenant;
  fields.Need("tenant", &tenant);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.ReadTenant(tenant));
}

Result<Json> Verify(Runtime& runtime, JsonRequest& fields) {
  std::string session;
  fields.Get("session", &session);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.Verify(session));
}

Result<Json> Backup(Runtime& runtime, JsonRequest& fields) {
  std::string path;
  fields.Need("path", &path);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.Backup(path));
}

Result<Json> ListNotes(Runtime& runtime, JsonRequest& fields) {
  ListNotesRequest request;
  fields.Get("workspace", &request.workspace);
  fields.Get("page_size", &request.page_size);
  fields.Get("page_token", &request.page_token);
  RETURN_IF_ERROR(fields.Finish());
  std::string next;
  ASSIGN_OR_RETURN(const auto notes, runtime.ListNotes(request, &next));
  return Json{{"notes", Views(notes)}, {"next_page_token", next}};
}

Result<Json> DeleteNote(Runtime& runtime, JsonRequest& fields) {
  std::string note;
  fields.Need("note", &note);
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.DeleteNote(note));
}

Result<Json> PruneSessions(Runtime& runtime, JsonRequest& fields) {
  PruneRequest request;
  RetentionLimits limits;
  fields.Get("unused_ms_max", &limits.unused_ms_max);
  fields.Get("bytes_max", &limits.bytes_max);
  fields.Get("validate_only", &request.validate_only);
  RETURN_IF_ERROR(fields.Finish());
  if (limits.unused_ms_max != 0 || limits.bytes_max != 0) request.limits = limits;
  return Viewed(runtime.PruneSessions(request));
}

Result<Json> Compact(Runtime& runtime, JsonRequest& fields) {
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.Compact());
}

Result<Json> Stats(Runtime& runtime, JsonRequest& fields) {
  RETURN_IF_ERROR(fields.Finish());
  return Viewed(runtime.Stats());
}

}  // namespace
}  // namespace baleen::c

#define BALEEN_VERB(name, Body)                                                                \
  int baleen_##name(baleen_runtime* runtime, const char* request_json, char** reply_json,      \
                    baleen_error** error) {                                                    \
    return baleen::c::Verb(#name, runtime, request_json, reply_json, error, &baleen::c::Body); \
  }

extern "C" {
BALEEN_VERB(create_session, CreateSession)
BALEEN_VERB(get_session, OfSession<&baleen::Runtime::GetSession>)
BALEEN_VERB(list_sessions, ListSessions)
BALEEN_VERB(fork_session, ForkSession)
BALEEN_VERB(rewind_session, RewindSession)
BALEEN_VERB(update_session, UpdateSession)
BALEEN_VERB(delete_session, DeleteSession)
BALEEN_VERB(pin_session, PinSession)
BALEEN_VERB(prefetch_session, OfSession<&baleen::Runtime::PrefetchSession>)
BALEEN_VERB(release_session, OfSession<&baleen::Runtime::ReleaseSession>)
BALEEN_VERB(start_turn, StartTurn)
BALEEN_VERB(get_turn, OfTurn<&baleen::Runtime::GetTurn>)
BALEEN_VERB(wait_turn, WaitTurn)
BALEEN_VERB(steer_turn, SteerTurn)
BALEEN_VERB(cancel_turn, OfTurn<&baleen::Runtime::CancelTurn>)
BALEEN_VERB(list_approvals, ListApprovals)
BALEEN_VERB(get_approval, GetApproval)
BALEEN_VERB(resolve_approval, ResolveApproval)
BALEEN_VERB(list_grants, ListGrants)
BALEEN_VERB(revoke_grant, RevokeGrant)
BALEEN_VERB(explain_decision, ExplainDecision)
BALEEN_VERB(list_tools, ListTools)
BALEEN_VERB(list_models, ListModels)
BALEEN_VERB(put_script, PutScript)
BALEEN_VERB(get_script, GetScript)
BALEEN_VERB(list_scripts, ListScripts)
BALEEN_VERB(delete_script, DeleteScript)
BALEEN_VERB(search, Search)
BALEEN_VERB(list_notes, ListNotes)
BALEEN_VERB(delete_note, DeleteNote)
BALEEN_VERB(explain, Explain)
BALEEN_VERB(read_tokens, ReadTokens)
BALEEN_VERB(export_session, ExportSession)
BALEEN_VERB(import_session, ImportSession)
BALEEN_VERB(read_tenant, ReadTenant)
BALEEN_VERB(verify, Verify)
BALEEN_VERB(backup, Backup)
BALEEN_VERB(compact, Compact)
BALEEN_VERB(prune_sessions, PruneSessions)
BALEEN_VERB(stats, Stats)
}  // extern "C"

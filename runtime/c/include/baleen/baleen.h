/* Baleen's C API: sessions that think, act and survive, inside your process.
 *
 * Handles are opaque, options are set by name, requests and replies are JSON text in UTF-8: their
 * members are the fields of runtime/session.h under the same names. A request with a member that
 * doesn't exist is refused. JSON Schemas may be objects or their text. Functions are only ever
 * added; none changes its meaning.
 *
 * Every function that can fail returns a code (0 is OK; numbers equal gRPC's) and, where `error`
 * isn't NULL, sets *error to an object for baleen_error_free. Texts that a function hands out
 * through a `char**` are freed with baleen_string_free. Arguments are borrowed for the call.
 *
 * Threads: any function may be called from any thread, also on the same handle at once, except
 * that nothing may use a handle while or after it is freed. No function calls back into yours.
 * The library never prints, exits, aborts or installs signal handlers. After fork() without exec
 * the child must not use handles of its parent.
 */
#ifndef BALEEN_BALEEN_H_
#define BALEEN_BALEEN_H_

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define BALEEN_API __attribute__((visibility("default")))
#else
#define BALEEN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum {
  BALEEN_OK = 0,
  BALEEN_CANCELLED = 1,
  BALEEN_UNKNOWN = 2,
  BALEEN_INVALID_ARGUMENT = 3,
  BALEEN_DEADLINE_EXCEEDED = 4,
  BALEEN_NOT_FOUND = 5,
  BALEEN_ALREADY_EXISTS = 6,
  BALEEN_PERMISSION_DENIED = 7,
  BALEEN_RESOURCE_EXHAUSTED = 8,
  BALEEN_FAILED_PRECONDITION = 9,
  BALEEN_ABORTED = 10,
  BALEEN_OUT_OF_RANGE = 11,
  BALEEN_UNIMPLEMENTED = 12,
  BALEEN_INTERNAL = 13,
  BALEEN_UNAVAILABLE = 14,
  BALEEN_DATA_LOSS = 15,
  BALEEN_UNAUTHENTICATED = 16
};

typedef struct baleen_error baleen_error;
typedef struct baleen_options baleen_options;
typedef struct baleen_runtime baleen_runtime;
typedef struct baleen_watch baleen_watch;
typedef struct baleen_tool_host baleen_tool_host;

/* "0.1.0"; lives as long as the library. */
BALEEN_API const char* baleen_version(void);
/* "NOT_FOUND" for 5; "UNKNOWN" for a number that is no code. */
BALEEN_API const char* baleen_code_name(int code);
BALEEN_API void baleen_string_free(char* text);

/* What went wrong, for people: what, which, expected, got, and what to do. */
BALEEN_API const char* baleen_error_message(const baleen_error* error);
/* One word for programs, such as "SESSION_BUSY"; may be empty. */
BALEEN_API const char* baleen_error_reason(const baleen_error* error);
BALEEN_API int baleen_error_code(const baleen_error* error);
BALEEN_API void baleen_error_free(baleen_error* error);

/* NULL only if memory is exhausted. */
BALEEN_API baleen_options* baleen_options_new(void);
/* `name` is a field of RuntimeOptions in runtime/runtime.h, such as "data_dir", "model_path",
 * "threads" or "kv_ram_bytes"; numbers in decimal, truth as "true" or "false"; a list, such as
 * "plugins", one call for each.
 * Errors: INVALID_ARGUMENT naming the known ones. */
BALEEN_API int baleen_options_set(baleen_options* options, const char* name, const char* value,
                                  baleen_error** error);
BALEEN_API void baleen_options_free(baleen_options* options);

/* Opens the data directory, loads the model, and continues turns that a crash interrupted.
 * *runtime is for baleen_close. */
BALEEN_API int baleen_open(const baleen_options* options, baleen_runtime** runtime,
                           baleen_error** error);
/* Open turns stop at the next token and continue at the next baleen_open. Watches and tool hosts
 * that weren't freed keep the runtime open until they are. */
BALEEN_API void baleen_close(baleen_runtime* runtime);

/* The verbs of baleen::Runtime (runtime/runtime.h states what each does and its errors). `request`
 * NULL is an empty one. A verb that answers nothing replies {}. */
#define BALEEN_VERB(name)                                                         \
  BALEEN_API int baleen_##name(baleen_runtime* runtime, const char* request_json, \
                               char** reply_json, baleen_error** error)

/* {session?, settings?, request_id?, tenant?: whom it counts for} -> a session */
BALEEN_VERB(create_session);
/* {session} -> a session */
BALEEN_VERB(get_session);
/* {page_size?, page_token?} -> {sessions, next_page_token} */
BALEEN_VERB(list_sessions);
/* {session, settings: {what changes, e.g. "title", "sampling": {"seed"}}, expected_head?,
 * request_id?} -> a session */
BALEEN_VERB(update_session);
/* {session, at: {turn?, tokens?, timeline?}, fork?, title?, expected_head?, request_id?,
 * tenant?} -> a session */
BALEEN_VERB(fork_session);
/* {session, to: {...}, scope?: "conversation", "files" or "both", undo?, validate_only?,
 * expected_head?, request_id?} -> {session, kept_seq, left_tokens, left_turns, left_timeline,
 * files: [{path, action, why?}], notes}; action: "unchanged", "restore", "delete", "recreate",
 * "conflict" (left alone: not as the session left it) or "not_kept" */
BALEEN_VERB(rewind_session);
/* {session, validate_only?, expected_head?, request_id?} ->
 * {session, tokens, turns, timelines, forks} */
BALEEN_VERB(delete_session);
/* {session, pinned} -> a session */
BALEEN_VERB(pin_session);
/* {session} -> where its context came from */
BALEEN_VERB(prefetch_session);
/* {session} -> a session */
BALEEN_VERB(release_session);
/* {session, input: text or [texts], sampling?, constraint?, budget?, tokens_max?,
 * trace_logits?, expected_head?, request_id?} -> a turn, accepted
 * {session, compact: true, input?: a note to pin} -> the same: the context is compacted */
BALEEN_VERB(start_turn);
/* {session, turn} -> a turn */
BALEEN_VERB(get_turn);
/* {session, turn, timeout_ms} -> a turn that has ended, or DEADLINE_EXCEEDED */
BALEEN_VERB(wait_turn);
/* {session, turn, input, delivery?: "next_step" or "after_turn", request_id?} -> a turn */
BALEEN_VERB(steer_turn);
/* {session, turn} -> a turn */
BALEEN_VERB(cancel_turn);
/* {session?, resolved?, approvals_max?, after?: "SESSION/APPROVAL"} -> {approvals} that wait, or of
 * one session all */
BALEEN_VERB(list_approvals);
/* {session, approval} -> an approval */
BALEEN_VERB(get_approval);
/* {session, approval, decision: "grant" or "deny", scope?: "once", "turn", "session" or
 * "workspace", calls?: [ids of those granted], extend?: of a budget, reason?, resolved_by?,
 * request_id?} -> an approval, answered */
BALEEN_VERB(resolve_approval);
/* {session?, grants_max?, after?} -> {grants} that hold for a session's calls, or all */
BALEEN_VERB(list_grants);
/* {session, approval, reason?, revoked_by?, request_id?} -> the grant, which holds no more */
BALEEN_VERB(revoke_grant);
/* {session, turn, call} -> why the call ran, waits or was refused */
BALEEN_VERB(explain_decision);
/* {session?} -> {tools} of a session, or those that new ones may have */
BALEEN_VERB(list_tools);
/* {} -> {models}: what sessions may think with */
BALEEN_VERB(list_models);
/* {script, source, validate_only?} -> the script that is kept, with notes; or only looked at */
BALEEN_VERB(put_script);
/* {script} -> a script, with its source */
BALEEN_VERB(get_script);
/* {scripts_max?, after?} -> {scripts}, without their sources */
BALEEN_VERB(list_scripts);
/* {script} -> {}: sessions that were made with it keep it */
BALEEN_VERB(delete_script);
/* {words, hits_max?, left_timelines?} -> {hits} */
BALEEN_VERB(search);
/* What models remembered. {workspace?, page_size?, page_token?} ->
 * {notes: [{note, workspace, session, time_ms, text}], next_page_token} */
BALEEN_VERB(list_notes);
/* {note} -> the note that is gone now */
BALEEN_VERB(delete_note);
/* {session, turn?} -> {steps} */
BALEEN_VERB(explain);
/* {session, begin?, count} -> {begin, ids, logits_hashes: hexadecimal texts} */
BALEEN_VERB(read_tokens);
/* {session, path} -> {path, bytes, events, tokens, blocks, blocks_missing, checkpoints, notes} */
BALEEN_VERB(export_session);
/* {path, session?, workspace?, trust_kv?, request_id?, tenant?} ->
 * {session, events, tokens, blocks, checkpoints, kv_taken, notes} */
BALEEN_VERB(import_session);
/* {session?} -> counts, and {problems} */
BALEEN_VERB(verify);
/* {path} -> {path, journal_bytes} */
BALEEN_VERB(backup);
/* {} -> bytes before and after */
BALEEN_VERB(compact);
/* {unused_ms_max?, bytes_max?, validate_only?} -> {sessions that went, bytes before and after} */
BALEEN_VERB(prune_sessions);
/* {} -> the figures of RuntimeStats */
BALEEN_VERB(stats);
/* {tenant} -> {sessions, stored_bytes} that count for it */
BALEEN_VERB(read_tenant);

/* Events of a session. {session, after?, live?}; `after` is the cursor of the last event seen. */
BALEEN_API int baleen_watch_start(baleen_runtime* runtime, const char* request_json,
                                  baleen_watch** watch, baleen_error** error);
/* The next event, waiting up to timeout_ms (< 0: for ever):
 * {session, turn, kind, payload, cursor, seq, time_ms}. Errors: DEADLINE_EXCEEDED (none came; ask
 * again); CANCELLED (baleen_watch_stop); any other is the end of the stream, for example
 * RESOURCE_EXHAUSTED/SLOW_CONSUMER if 4,096 events wait unread: start anew after the last cursor.
 */
BALEEN_API int baleen_watch_next(baleen_watch* watch, int64_t timeout_ms, char** event_json,
                                 baleen_error** error);
/* Wakes callers of baleen_watch_next; they get CANCELLED. */
BALEEN_API void baleen_watch_stop(baleen_watch* watch);
BALEEN_API void baleen_watch_free(baleen_watch* watch);

/* Serves host tools of a session. {session, tools: [names]}. */
BALEEN_API int baleen_tool_host_start(baleen_runtime* runtime, const char* request_json,
                                      baleen_tool_host** host, baleen_error** error);
/* The next thing asked of the host, waiting up to timeout_ms (< 0: for ever):
 * {kind: "call", session, call_id, name, arguments, timeout_ms} or
 * {kind: "cancel", session, call_id}. Errors: DEADLINE_EXCEEDED, CANCELLED as above. */
BALEEN_API int baleen_tool_host_next(baleen_tool_host* host, int64_t timeout_ms, char** call_json,
                                     baleen_error** error);
/* {session?, call_id, content, outcome?: "OK" or "ERROR"}. Errors: NOT_FOUND (no such open call).
 */
BALEEN_API int baleen_tool_host_submit(baleen_tool_host* host, const char* result_json,
                                       baleen_error** error);
BALEEN_API void baleen_tool_host_stop(baleen_tool_host* host);
/* Disconnects; open calls wait for a host to come back. */
BALEEN_API void baleen_tool_host_free(baleen_tool_host* host);

#undef BALEEN_VERB

#ifdef __cplusplus
}
#endif

#endif

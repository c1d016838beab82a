/* A host application in C: one session, a tool that the host serves, one turn streamed.
 *
 *   embed_c MODEL DATA_DIR
 *
 * Run it again: the session is still there, and the turn continues the same context. */
#include <baleen/baleen.h>
#include <stdio.h>
#include <string.h>

/* JSON is for a JSON library; one text member is all that this program needs of it. */
static int text_member(const char* json, const char* name, char* out, size_t out_bytes) {
  char pattern[64];
  snprintf(pattern, sizeof(pattern), "\"%s\":\"", name);
  const char* begin = strstr(json, pattern);
  if (begin == NULL) return 0;
  begin += strlen(pattern);
  const char* end = strchr(begin, '"');
  if (end == NULL || (size_t)(end - begin) >= out_bytes) return 0;
  memcpy(out, begin, (size_t)(end - begin));
  out[end - begin] = '\0';
  return 1;
}

static int fail(const char* what, int code, baleen_error* error) {
  fprintf(stderr, "%s: %s: %s\n", what, baleen_code_name(code), baleen_error_message(error));
  baleen_error_free(error);
  return 1;
}

static int open_runtime(const char* model, const char* folder, baleen_runtime** runtime) {
  baleen_error* error = NULL;
  baleen_options* options = baleen_options_new();
  int code = baleen_options_set(options, "model_path", model, &error);
  if (code == BALEEN_OK) code = baleen_options_set(options, "data_dir", folder, &error);
  if (code == BALEEN_OK) code = baleen_open(options, runtime, &error);
  baleen_options_free(options);
  return code == BALEEN_OK ? 0 : fail("open", code, error);
}

static const char kSession[] =
    "{\"session\": \"embedded\", \"settings\": {"
    "  \"system_prompt\": \"You answer briefly.\","
    "  \"tokens_max\": 256,"
    "  \"host_tools\": [{"
    "    \"name\": \"editor_selection\","
    "    \"description\": \"The text that is selected in the editor.\","
    "    \"parameters\": {\"type\": \"object\", \"properties\": {}, \"additionalProperties\": false},"
    "    \"effect\": \"PURE\"}]}}";

/* Answers one call if one waits. */
static int serve_tool(baleen_tool_host* host) {
  baleen_error* error = NULL;
  char* call = NULL;
  int code = baleen_tool_host_next(host, 0, &call, &error);
  if (code == BALEEN_DEADLINE_EXCEEDED) {
    baleen_error_free(error);
    return 0;
  }
  if (code != BALEEN_OK) return fail("tool host", code, error);
  char kind[16], id[128], result[256];
  if (text_member(call, "kind", kind, sizeof(kind)) && strcmp(kind, "call") == 0 &&
      text_member(call, "call_id", id, sizeof(id))) {
    printf("the model asks for the selection\n");
    snprintf(result, sizeof(result), "{\"call_id\": \"%s\", \"content\": \"int main(void);\"}", id);
    code = baleen_tool_host_submit(host, result, &error);
  }
  baleen_string_free(call);
  return code == BALEEN_OK ? 0 : fail("submit", code, error);
}

/* Events and calls in turn, until the turn has ended. */
static int follow(baleen_watch* watch, baleen_tool_host* host, const char* turn) {
  for (;;) {
    baleen_error* error = NULL;
    char* event = NULL;
    if (serve_tool(host) != 0) return 1;
    const int code = baleen_watch_next(watch, 20, &event, &error);
    if (code == BALEEN_DEADLINE_EXCEEDED) {
      baleen_error_free(error);
      continue;
    }
    if (code != BALEEN_OK) return fail("watch", code, error);
    char kind[32], of[32], state[32] = "";
    const int ended = text_member(event, "kind", kind, sizeof(kind)) &&
                      text_member(event, "turn", of, sizeof(of)) &&
                      strcmp(kind, "turn_finished") == 0 && strcmp(of, turn) == 0;
    if (ended && text_member(event, "state", state, sizeof(state))) {
      printf("turn %s: %s\n", turn, state);
    }
    baleen_string_free(event);
    if (ended) return 0;
  }
}

static int run(baleen_runtime* runtime) {
  baleen_error* error = NULL;
  int code = baleen_create_session(runtime, kSession, NULL, &error);
  if (code == BALEEN_ALREADY_EXISTS) {
    printf("the session is there from before\n");
    baleen_error_free(error);
    error = NULL;
  } else if (code != BALEEN_OK) {
    return fail("session", code, error);
  }
  baleen_tool_host* host = NULL;
  baleen_watch* watch = NULL;
  char* reply = NULL;
  char turn[32] = "";
  code = baleen_tool_host_start(
      runtime, "{\"session\": \"embedded\", \"tools\": [\"editor_selection\"]}", &host, &error);
  if (code == BALEEN_OK) {
    code = baleen_start_turn(
        runtime,
        "{\"session\": \"embedded\", \"input\": \"What is selected?\","
        " \"constraint\": {\"tool_choice\": \"required\"}}",
        &reply, &error);
  }
  if (code == BALEEN_OK) {
    code = baleen_watch_start(runtime, "{\"session\": \"embedded\", \"live\": false}", &watch, &error);
  }
  int failed = code == BALEEN_OK ? 0 : fail("turn", code, error);
  if (!failed) failed = !text_member(reply, "turn", turn, sizeof(turn)) || follow(watch, host, turn);
  baleen_string_free(reply);
  baleen_watch_free(watch);
  baleen_tool_host_free(host);
  return failed;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: embed_c MODEL DATA_DIR\n");
    return 2;
  }
  printf("baleen %s\n", baleen_version());
  baleen_runtime* runtime = NULL;
  if (open_runtime(argv[1], argv[2], &runtime) != 0) return 1;
  const int failed = run(runtime);
  baleen_close(runtime);
  return failed;
}

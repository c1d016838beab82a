#include <baleen/baleen.h>

/* Every kind of declaration is used once, so that a C compiler has seen its type. */
int baleen_header_in_c(baleen_runtime* runtime);

int baleen_header_in_c(baleen_runtime* runtime) {
  char* reply = NULL;
  baleen_error* error = NULL;
  const int code = baleen_stats(runtime, NULL, &reply, &error);
  baleen_string_free(reply);
  baleen_error_free(error);
  return code == BALEEN_INVALID_ARGUMENT;
}

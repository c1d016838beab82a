/* The header is C11: every declaration is used once. */
#include <baleen/plugin.h>

int baleen_plugin_header_in_c(const baleen_plugin_host* host, baleen_call* call);

int baleen_plugin_header_in_c(const baleen_plugin_host* host, baleen_call* call) {
  static const baleen_slice name = BALEEN_SLICE("n");
  int64_t value = 0;
  if (!BALEEN_PLUGIN_HAS(host, time_left_ms) || host->time_left_ms(call) == 0) return 1;
  return host->argument_integer(call, name, &value) == BALEEN_ANSWER_OK && value > 0;
}

_Static_assert(offsetof(baleen_plugin, struct_size) == 0, "sizes come first");
_Static_assert(offsetof(baleen_plugin, abi_major) == 4, "where every version has it");
_Static_assert(offsetof(baleen_tool, struct_size) == 0, "sizes come first");
_Static_assert(offsetof(baleen_tool_factory, struct_size) == 0, "sizes come first");
_Static_assert(offsetof(baleen_plugin_host, struct_size) == 0, "sizes come first");

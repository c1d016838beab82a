/* count: the lines, words and bytes of a text. A native tool in C, with nothing but the C ABI. */
#include <baleen/plugin.h>
#include <stdio.h>

static void Count(void* self, const baleen_plugin_host* host, baleen_call* call) {
  static const baleen_slice name = BALEEN_SLICE("text");
  baleen_slice text = {NULL, 0};
  (void)self;
  if (host->argument_text(call, name, &text) != BALEEN_ANSWER_OK) {
    static const baleen_slice why = BALEEN_SLICE("The argument 'text' must be a string.");
    host->fail(call, BALEEN_FAILURE_ERROR, why);
    return;
  }
  size_t lines = 0, words = 0;
  int in_word = 0;
  for (size_t i = 0; i < text.size; ++i) {
    const char c = text.bytes[i];
    const int blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    lines += c == '\n';
    words += !blank && !in_word;
    in_word = !blank;
    /* A long text may take longer than anybody waits. */
    if (i % 65536 == 0 && host->cancelled(call)) {
      static const baleen_slice why = BALEEN_SLICE("Counting was broken off.");
      host->fail(call, BALEEN_FAILURE_ABORTED, why);
      return;
    }
  }
  char line[128];
  const int size = snprintf(line, sizeof(line), "%zu lines, %zu words, %zu bytes", lines, words, text.size);
  const baleen_slice output = {line, (size_t)size};
  host->write(call, output);
}

static const baleen_tool count_tool = {
    .struct_size = sizeof(baleen_tool),
    .effect = BALEEN_EFFECT_PURE,
    .flags = BALEEN_TOOL_REENTRANT,
    .name = BALEEN_SLICE("count"),
    .description = BALEEN_SLICE("Counts the lines, words and bytes of a text."),
    .parameters = BALEEN_SLICE("{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\",\"description\":"
                               "\"What is counted.\"}},\"required\":[\"text\"],\"additionalProperties\":false}"),
    .run = &Count,
};

static const baleen_tool* Tool(uint32_t index) {
  (void)index; /* there is one */
  return &count_tool;
}

static const void* Factory(const char* id) {
  static const baleen_tool_factory factory = {sizeof(baleen_tool_factory), 1, &Tool};
  static const char known[] = BALEEN_TOOL_FACTORY;
  for (size_t i = 0; i < sizeof(known); ++i) {
    if (id[i] != known[i]) return NULL;
  }
  return &factory;
}

const baleen_plugin baleen_plugin_entry = {
    .struct_size = sizeof(baleen_plugin),
    .abi_major = BALEEN_PLUGIN_ABI_MAJOR,
    .abi_minor = BALEEN_PLUGIN_ABI_MINOR,
    .name = BALEEN_SLICE("count"),
    .version = BALEEN_SLICE("1.0"),
    .get_factory = &Factory,
};

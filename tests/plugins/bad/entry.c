/* Plugins whose entry isn't what it should be; which one is a definition's choice. */
#include <baleen/plugin.h>
#include <stdlib.h>
#include <unistd.h>

static void Run(void* self, const baleen_plugin_host* host, baleen_call* call) {
  if (self == NULL) host->fail(call, BALEEN_FAILURE_ERROR, (baleen_slice)BALEEN_SLICE("never"));
}

static baleen_tool tool = {sizeof(baleen_tool),
                           BALEEN_EFFECT_PURE,
                           0,
                           BALEEN_SLICE("never"),
                           BALEEN_SLICE("Never called."),
                           BALEEN_SLICE("{\"type\":\"object\"}"),
                           0,
                           0,
                           NULL,
                           &Run};
static const baleen_tool* Tool(uint32_t index) {
  (void)index;
#if defined(BAD_NULL_TOOL)
  return NULL;
#elif defined(BAD_TOOL_SIZE)
  tool.struct_size = 8;
#elif defined(BAD_NAME)
  tool.name.bytes = "no such\nname";
  tool.name.size = 12;
#elif defined(BAD_SCHEMA)
  tool.parameters.bytes = "{\"type\":";
  tool.parameters.size = 8;
#elif defined(BAD_LENGTH)
  tool.description.size = (size_t)1 << 62;
#elif defined(BAD_LIMIT)
  tool.output_bytes_max = -1;
#endif
  return &tool;
}
static const baleen_tool_factory factory = {sizeof(baleen_tool_factory), 1, &Tool};

static const void* Factory(const char* id) {
  (void)id;
#ifdef BAD_NO_FACTORY
  return NULL;
#endif
  return &factory;
}

static int32_t Init(const baleen_plugin_host* host, baleen_slice* why) {
  (void)host;
  (void)why;
#ifdef BAD_INIT
  *why = (baleen_slice)BALEEN_SLICE("it is Sunday");
  return 7;
#endif
  return 0;
}

#ifdef BAD_CRASH
__attribute__((constructor)) static void Crash(void) { abort(); }
#endif
#ifdef BAD_EXIT
__attribute__((constructor)) static void Exit(void) { _exit(0); }
#endif

#ifdef BAD_MAJOR
#define MAJOR 2
#else
#define MAJOR BALEEN_PLUGIN_ABI_MAJOR
#endif
#ifdef BAD_SIZE
#define SIZE 20
#else
#define SIZE sizeof(baleen_plugin)
#endif
#ifndef BAD_NO_ENTRY
const baleen_plugin baleen_plugin_entry = {
    SIZE, MAJOR, 0, 0, BALEEN_SLICE("bad"), BALEEN_SLICE("1"), &Init, NULL, &Factory};
#else
const void* const baleen_no_entry = (const void*)&factory;
const void* const baleen_no_init = (const void*)&Init;
const void* const baleen_no_get = (const void*)&Factory;
#endif

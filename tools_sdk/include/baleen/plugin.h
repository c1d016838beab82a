/* Native tools for Baleen: the C ABI between a plugin, which is a shared object, and its host.
 *
 * A plugin exports one data symbol, `baleen_plugin_entry`. By default the host is a process of its
 * own for each call (`baleen-tool-host`): a plugin that crashes or hangs fails its call and nothing
 * else, and keeps nothing in memory from one call to the next. Loaded in process, on the operator's
 * request, it is loaded once and shares the runtime's fate.
 *
 * The promises of version 1:
 *  - Every struct begins with its size, which whoever fills it sets to sizeof; members are only
 * ever added at the end. A member that lies beyond the size isn't there: BALEEN_PLUGIN_HAS tells. A
 *    host takes any plugin of its major number. Another major number is refused.
 *  - Nothing is allocated on one side and freed on the other. Each declaration below says how long
 *    what it points to must live, and whoever wants it for longer copies it.
 *  - Texts are slices of UTF-8, not ended by NUL. {NULL, 0} is the empty text.
 *  - No exception and no longjmp may cross a function of this header. A plugin doesn't exit, abort,
 *    install signal handlers or close descriptors that it didn't open; what it prints is shown only
 * when its process ends badly.
 *  - Numbers of enumerators never change. A host may not know a newer one, and says so.
 *
 * C11 and C++17; <baleen/plugin_tool.h> is a C++ wrapper, <baleen/plugin_harness.h> calls tools in
 * tests without a runtime.
 */
#ifndef BALEEN_PLUGIN_H_
#define BALEEN_PLUGIN_H_

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define BALEEN_PLUGIN_EXPORT __attribute__((visibility("default")))
#else
#define BALEEN_PLUGIN_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define BALEEN_PLUGIN_ABI_MAJOR 1
#define BALEEN_PLUGIN_ABI_MINOR 0

/* Whether `pointer`'s struct, as its maker knew it, has the member. */
#define BALEEN_PLUGIN_HAS(pointer, member)                                                 \
  ((const char*)&(pointer)->member + sizeof((pointer)->member) - (const char*)(pointer) <= \
   (ptrdiff_t)(pointer)->struct_size)

typedef struct baleen_slice {
  const char* bytes;
  size_t size;
} baleen_slice;

/* What calling twice with the same arguments would do. After a crash of the runtime, pure and
 * idempotent calls are made again with the same call id; of one with effects, the outcome is
 * declared unknown. */
enum {
  BALEEN_EFFECT_PURE = 0,       /* Changes nothing. */
  BALEEN_EFFECT_IDEMPOTENT = 1, /* Twice is as good as once. */
  BALEEN_EFFECT_EFFECT = 2      /* Anything else. */
};

/* How a call failed; baleen_plugin_host.fail. */
enum {
  BALEEN_FAILURE_ERROR = 1,   /* Nothing was changed, or the text says what. */
  BALEEN_FAILURE_ABORTED = 2, /* Broken off on request, without a lasting effect. */
  BALEEN_FAILURE_UNKNOWN = 3  /* The effect may or may not have happened. */
};

/* What the functions of the host answer. */
enum {
  BALEEN_ANSWER_OK = 0,
  BALEEN_ANSWER_ABSENT = 1,     /* No such argument. */
  BALEEN_ANSWER_WRONG_TYPE = 2, /* It is there, of another type, or a number that doesn't fit. */
  BALEEN_ANSWER_FULL = 3,       /* output_bytes_max is reached: what exceeded it was dropped. */
  BALEEN_ANSWER_CLOSED = 4      /* Nobody reads any more: return soon. */
};

/* Flags of a tool. */
enum {
  /* `run` may be called while another call of the same plugin runs in the same process. Without
   * it, calls in one process are made one after another. */
  BALEEN_TOOL_REENTRANT = 1
};

/* One call, of the host; valid from the start of `run` until it returns. */
typedef struct baleen_call baleen_call;

/* What a host offers. The table lives until `deinit` has returned. All functions may be called from
 * any thread while the call runs; each takes the call that it is about. */
typedef struct baleen_plugin_host {
  uint32_t struct_size;
  uint32_t abi_major;
  uint32_t abi_minor;
  uint32_t reserved; /* 0 */

  /* Unique among the sessions of a data directory, and the same when the call is made again after
   * a crash: the key by which a tool recognises what it has done already. Lives as long as the
   * call. */
  baleen_slice (*call_id)(const baleen_call* call);

  /* The arguments as one JSON object that satisfies the tool's `parameters`. Lives as long as the
   * call. */
  baleen_slice (*arguments)(const baleen_call* call);

  /* One member of the arguments' outermost object, for tools without a JSON library. `name` is
   * read during the call only. On any answer but OK, *value is left alone. Texts live as long as
   * the call. An integer is taken for a number; a number without a fraction for an integer. */
  int32_t (*argument_text)(const baleen_call* call, baleen_slice name, baleen_slice* value);
  int32_t (*argument_integer)(const baleen_call* call, baleen_slice name, int64_t* value);
  int32_t (*argument_number)(const baleen_call* call, baleen_slice name, double* value);
  int32_t (*argument_boolean)(const baleen_call* call, baleen_slice name, int32_t* value);

  /* Appends to what the model will read. The bytes are copied before it returns; it may wait until
   * the runtime has read what came before. Bytes that aren't UTF-8 become U+FFFD. What was
   * written stays even if the call fails or its process dies: write early. Whoever watches the
   * session sees the end of it meanwhile. Answers OK, FULL or CLOSED. */
  int32_t (*write)(baleen_call* call, baleen_slice bytes);

  /* Replaces the line that says how far the call has come, which watchers see while it runs and the
   * model if it ends badly. Copied; cut after 200 bytes. Answers OK or CLOSED. */
  int32_t (*progress)(baleen_call* call, baleen_slice line);

  /* Marks the call as failed; `text` says what went wrong and helps the model to do better. The
   * first mark counts. `run` must still return. `failure` is one of BALEEN_FAILURE_*. Copied. */
  void (*fail)(baleen_call* call, int32_t failure, baleen_slice text);

  /* 1 once the call should stop: it was cancelled, or its time is over. Cheap; ask in every loop.
   * Whoever goes on is killed a little later, or in process abandoned. */
  int32_t (*cancelled)(const baleen_call* call);

  /* A descriptor that becomes readable when `cancelled` becomes 1, for poll loops; -1: none could
   * be made. Don't read from it, write to it or close it. Open as long as the call. */
  int32_t (*cancel_fd)(const baleen_call* call);

  /* Milliseconds that the call may still take; at least 0. */
  int64_t (*time_left_ms)(const baleen_call* call);
} baleen_plugin_host;

/* One tool. The struct and all that it points to live, unchanged, until `deinit` has returned. */
typedef struct baleen_tool {
  uint32_t struct_size;
  int32_t effect;           /* BALEEN_EFFECT_*; an unknown number counts as EFFECT. */
  uint64_t flags;           /* BALEEN_TOOL_*; unknown bits are ignored. */
  baleen_slice name;        /* [a-zA-Z0-9_.-]{1,64} */
  baleen_slice description; /* For the model; at most 4096 bytes. */
  baleen_slice parameters;  /* JSON Schema of an object; at most 64 KiB. */
  int64_t timeout_ms;       /* 1 to 3600000; 0: 30000. */
  int64_t output_bytes_max; /* 1 to 1048576; 0: 65536. */
  void* self;               /* Given to run. */

  /* Makes the call: reads its arguments, writes its output, and returns. Returning without `fail`
   * is success. Called on any thread, one call at a time unless REENTRANT. */
  void (*run)(void* self, const baleen_plugin_host* host, baleen_call* call);
} baleen_tool;

/* What get_factory("baleen.tools/1") gives. Lives until `deinit` has returned. */
typedef struct baleen_tool_factory {
  uint32_t struct_size;
  uint32_t tools_count; /* 1 to 64 */

  /* index < tools_count. Never NULL; the same tool for the same index. */
  const baleen_tool* (*tool)(uint32_t index);
} baleen_tool_factory;

#define BALEEN_TOOL_FACTORY "baleen.tools/1"

/* The type of `baleen_plugin_entry`. All that it points to lives as long as the shared object is
 * loaded. */
typedef struct baleen_plugin {
  uint32_t struct_size;
  uint32_t abi_major;   /* BALEEN_PLUGIN_ABI_MAJOR */
  uint32_t abi_minor;   /* BALEEN_PLUGIN_ABI_MINOR */
  uint32_t reserved;    /* 0 */
  baleen_slice name;    /* As the operator sees it; at most 64 bytes. */
  baleen_slice version; /* At most 64 bytes. */

  /* Called once before anything else; NULL: nothing to do. 0 is success. Otherwise *why may be set
   * to a text that lives as long as the shared object, and nothing else is called. In one process
   * it may be called once for each runtime, each with its own `deinit`. */
  int32_t (*init)(const baleen_plugin_host* host, baleen_slice* why);

  /* Called once after a successful init, when no call runs; NULL: nothing to do. A process that
   * was killed never gets to it. */
  void (*deinit)(void);

  /* What the plugin has under `id`, a C string; NULL: it doesn't know the id. */
  const void* (*get_factory)(const char* id);
} baleen_plugin;

/* What a plugin defines. */
extern BALEEN_PLUGIN_EXPORT const baleen_plugin baleen_plugin_entry;

/* A slice of a string literal, as a constant expression. */
#define BALEEN_SLICE(literal) {"" literal, sizeof(literal) - 1}

#ifdef __cplusplus
}
#endif

#endif /* BALEEN_PLUGIN_H_ */

// DCHECK: programmer errors only. Active in debug and sanitizer builds, free in release.
// Never on anything that user input, a file or a peer can cause: that is a Status.
#pragma once

#if !defined(NDEBUG) || defined(BALEEN_DCHECK)
#include <cstdio>
#include <cstdlib>
#define DCHECK(condition)                                                                 \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: DCHECK failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)
#else
#define DCHECK(condition) \
  do {                    \
  } while (false)
#endif

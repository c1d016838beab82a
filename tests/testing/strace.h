// StraceWorks: whether system calls can be traced here; in some containers they can't.
#pragma once

#include <catch2/catch.hpp>

#include "tests/testing/child.h"

namespace baleen {

inline bool StraceWorks() {
  Child probe({"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "true"});
  if (probe.started() && probe.Wait() == 0) return true;
  WARN("SKIPPED: strace is missing or may not trace here");
  return false;
}

}  // namespace baleen

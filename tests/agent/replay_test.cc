// One script, a hundred processes, one output.
#include <stdio.h>

#include <catch2/catch.hpp>
#include <string>

namespace baleen {
namespace {

std::string OutputOf(const char* program) {
  FILE* pipe = popen(program, "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  char chunk[4096];
  for (size_t got = 0; (got = fread(chunk, 1, sizeof(chunk), pipe)) > 0;) output.append(chunk, got);
  REQUIRE(pclose(pipe) == 0);
  return output;
}

TEST_CASE("HundredProcessesAgree") {
  const std::string first = OutputOf(BALEEN_REPLAY_ONCE);
  CHECK(first.size() > 3000);
  CHECK(first.find("RESOURCE_EXHAUSTED: script.lua:") != std::string::npos);
  for (int i = 1; i < 100; ++i) REQUIRE(OutputOf(BALEEN_REPLAY_ONCE) == first);
}

}  // namespace
}  // namespace baleen

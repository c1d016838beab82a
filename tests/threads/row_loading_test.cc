// The threads that bring rows: readers and the stream fill blocks that the engine computes over,
// while the KV thread writes others and sequences come and go.
#include <catch2/catch.hpp>

#include "tests/runtime/engine_rig.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

TEST_CASE("sequences that push each other out of RAM get their rows back while others compute") {
  constexpr int64_t kStep = 4;
  const TempDirectory folder;
  std::vector<std::vector<int32_t>> contexts;
  for (uint64_t seed = 1; seed <= 3; ++seed) contexts.push_back(RigTokens(800, seed));
  std::vector<std::vector<JobTrace>> expected(contexts.size());
  {
    EngineRig twin("");
    for (size_t s = 0; s < contexts.size(); ++s) {
      std::vector<int32_t> context = contexts[s];
      for (uint64_t round = 0; round < 3; ++round) {
        context = Joined(context, RigTokens(30, 10 * s + round + 1));
        expected[s].push_back(twin.Generate(std::to_string(s), context, kStep));
      }
    }
  }
  const KvLayout layout = KvLayout::Make(RigModel().config(), RigModel().row_format());
  for (const int64_t ram_blocks : {0, 4, 100}) {
    CAPTURE(ram_blocks);
    RigOptions options;
    options.tiers.ram_bytes = ram_blocks * layout.block_bytes;
    options.tiers.row_wait = std::chrono::milliseconds(1);
    options.engine.resident_sequences_max = 2;  // fewer than sequences
    options.engine.prefill_chunk_tokens = 64;
    EngineRig rig(folder.File("kv" + std::to_string(ram_blocks)), options);
    std::vector<std::vector<int32_t>> now = contexts;
    for (uint64_t round = 0; round < 3; ++round) {
      std::vector<uint64_t> jobs;
      for (size_t s = 0; s < now.size(); ++s) {
        now[s] = Joined(now[s], RigTokens(30, 10 * s + round + 1));
        jobs.push_back(rig.Start(std::to_string(s), now[s], kStep));
      }
      if (round == 1) rig.engine().Release("0");
      REQUIRE(rig.engine().LiveKeys().size() <= 3 * 3);
      for (size_t s = 0; s < now.size(); ++s) {
        const JobTrace trace = rig.recorder().Wait(jobs[s]);
        INFO(trace.status.ToString());
        REQUIRE(trace.ids == expected[s][round].ids);
        REQUIRE(trace.hashes == expected[s][round].hashes);
      }
    }
  }
}

}  // namespace
}  // namespace baleen

// Samples: the records that store tests write, made from a number so that readers can check them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/store/journal.h"
#include "runtime/store/kv_store.h"

namespace baleen {

inline const KvScope kSampleScope = {"fingerprint", "native/cpu/1", "tenant"};

inline SessionRecord SampleSession(const std::string& id, int64_t created_ms = 1000) {
  SessionRecord session;
  session.id = id;
  session.title = "Session " + id;
  session.settings = R"({"workspace":"here"})";
  session.created_ms = created_ms;
  session.updated_ms = created_ms;
  return session;
}

inline EventRecord SampleEvent(const std::string& session, int64_t seq) {
  EventRecord event;
  event.session = session;
  event.seq = seq;
  event.time_ms = 2000 + seq;
  event.kind = seq % 2 == 0 ? "item_finished" : "turn_started";
  event.payload = "{\"n\":" + std::to_string(seq) + "}";
  return event;
}

/// `bytes` bytes, rounded down to 512, in two streams of unit 0, with pseudo-random contents from
/// `number`.
inline StoredBlock SampleBlock(int64_t number, int64_t bytes) {
  StoredBlock block;
  for (int32_t i = 0; i < 256; ++i) {
    block.tokens.push_back(static_cast<int32_t>((number * 256 + i) % 129280));
  }
  block.streams = {{"L0.kv.codes", bytes / 512, 256, 0},
                   {"L0.index.codes", bytes / 512, 256, bytes / 512 * 256}};
  uint64_t state = static_cast<uint64_t>(number) * 0x9e3779b97f4a7c15 + 1;
  for (int64_t i = 0; i < bytes / 512 * 512; ++i) {
    state = state * 6364136223846793005 + 1442695040888963407;
    block.bytes.push_back(static_cast<std::byte>(state >> 56));
  }
  return block;
}

/// The same in four units, of which 2 and 3 have one size; `bytes` of which half in unit 0.
inline StoredBlock SampleUnitBlock(int64_t number, int64_t bytes) {
  StoredBlock block = SampleBlock(number, bytes);
  const int64_t rows = 16;
  const int64_t row_bytes = bytes / 16 / rows;
  block.streams.clear();
  int64_t offset = 0;
  const auto add = [&](const std::string& name, int32_t unit, int64_t count) {
    block.streams.push_back({name, row_bytes, count, offset, unit});
    offset += row_bytes * count;
  };
  add("L0.index.codes", 0, 4 * rows);
  add("L1.kv.codes", 0, 4 * rows);
  for (int32_t unit = 1; unit <= 3; ++unit) {
    const std::string layer = "L" + std::to_string(unit + 1);
    add(layer + ".kv.codes", unit, unit == 1 ? 2 * rows : rows);
    add(layer + ".kv.rope", unit, unit == 1 ? 2 * rows : rows);
  }
  block.bytes.resize(static_cast<size_t>(offset));
  return block;
}

inline BlockShape ShapeOf(const StoredBlock& block) {
  auto shape = BlockShape::Make(block.streams, static_cast<int64_t>(block.bytes.size()));
  return shape.ok() ? std::move(shape).value() : BlockShape();
}

inline StoredCheckpoint SampleCheckpoint(int64_t number, int tail = 0) {
  StoredCheckpoint checkpoint;
  checkpoint.position = (number + 1) * 256 + tail;
  for (int i = 0; i < tail; ++i) checkpoint.tail_tokens.push_back(i + 7);
  checkpoint.state = "state " + std::to_string(number) + std::string(10000, 's');
  return checkpoint;
}

/// What tests/data/store/journal_v1.db holds. Never change: the file is older than the code.
inline JournalBatch GoldenBatch() {
  JournalBatch batch;
  batch.create_sessions = {SampleSession("golden", 1000), SampleSession("empty", 1001)};
  batch.events = {SampleEvent("golden", 1), SampleEvent("golden", 2)};
  TokenRun run;
  run.session = "golden";
  for (int32_t i = 0; i < 2000; ++i) {
    run.ids.push_back(i * 3);
    run.logits_hashes.push_back(i % 10 == 0 ? static_cast<uint64_t>(i) + 1 : 0);
  }
  batch.tokens = {run};
  batch.answers = {{"request-1", "StartTurn", R"({"turn":"1"})", 5000}};
  return batch;
}

/// What tests/data/store/journal_v2.db holds, commit by commit. Never change.
inline std::vector<JournalBatch> GoldenBatches2() {
  std::vector<JournalBatch> batches(4);
  const JournalBatch first = GoldenBatch();
  batches[0].create_sessions = first.create_sessions;
  batches[0].events = {first.events[0]};
  batches[0].answers = first.answers;
  batches[1].tokens = first.tokens;
  batches[1].events = {first.events[1]};
  batches[2].forks = {{SampleSession("branch", 3000), {"golden", 0, 1, 970}}};
  batches[2].rewinds = {{{"golden", 0, 1, 500}, 3001}};
  batches[2].pins = {{"branch", true}};
  batches[2].tokens = {{"branch", 970, {1, 2, 3}, {}}, {"golden", 500, {7}, {}}};
  batches[2].events = {SampleEvent("branch", 2), SampleEvent("golden", 2)};
  batches[3].create_sessions = {SampleSession("gone", 4000)};
  batches[3].delete_sessions = {"gone"};
  return batches;
}

/// What tests/data/store/journal_v3.db, journal_v4.db and journal_v5.db hold. Never change; a new
/// version may hold more.
inline std::vector<JournalBatch> GoldenBatches3() { return GoldenBatches2(); }

}  // namespace baleen

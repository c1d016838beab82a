// What an op of the cpu backend works with: the leaves of one instruction set, the threads, and
// scratch memory that is kept between calls so that hot ops do not allocate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "kernels/cpu/leaf.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/integer_math.h"

namespace baleen::kernels::cpu {

/// Cache-line aligned memory that grows and never shrinks. Contents are lost when it grows.
template <class T>
class Scratch {
 public:
  T* Reserve(int64_t count) {
    if (count > capacity_) {
      values_.reset();
      values_.reset(static_cast<T*>(
          ::operator new(static_cast<size_t>(count) * sizeof(T), std::align_val_t{kAlignment})));
      capacity_ = count;
    }
    return values_.get();
  }

 private:
  static constexpr size_t kAlignment = 64;
  struct Free {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<T, Free> values_;
  int64_t capacity_ = 0;
};

/// Scratch of one worker.
struct WorkerScratch {
  Scratch<float> rows;          ///< Dequantised keys, an index panel, a rotated row.
  Scratch<float> scores;        ///< Attention scores.
  Scratch<const float*> keys;   ///< Key list of a token.
  Scratch<uint64_t> ranked;     ///< Candidates of a selection.
  Scratch<int32_t> candidates;  ///< Rows above the sampled threshold.
};

/// cos and sin of one rope call, kept because q, kv and the output of a layer share them.
struct RopeTable {
  std::vector<int64_t> positions;
  std::vector<float> inv_freq;
  std::vector<float> cosine;  ///< [tokens, pairs]
  std::vector<float> sine;    ///< [tokens, pairs]
};

struct Machine {
  Machine(const LeafTable& table, int threads, int64_t fork_cost)
      : leaf(table), pool(threads, fork_cost), workers(static_cast<size_t>(pool.threads())) {}

  const LeafTable& leaf;
  ThreadPool pool;
  std::vector<WorkerScratch> workers;  ///< [threads]
  Scratch<float> shared_rows;          ///< Entries dequantised once per call; HC mixes.
  Scratch<float> shared_scores;        ///< Index scores [tokens, rows].
  static constexpr int kRopeTables = 4;
  RopeTable rope_tables[kRopeTables];
  int next_rope_table = 0;
};

}  // namespace baleen::kernels::cpu

// Rope: sines of the fp32 angle in double, rounded to fp32 once, and kept for the next calls with
// the same positions; the rotation itself is plain fp32 without fusing, alike on every machine.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/ops.h"

namespace baleen::kernels::cpu {
namespace {

bool Matches(const RopeTable& table, const RopeParams& p) {
  return static_cast<int64_t>(table.positions.size()) == p.tokens &&
         static_cast<int64_t>(table.inv_freq.size()) == p.pairs &&
         std::equal(table.positions.begin(), table.positions.end(), p.positions) &&
         std::equal(table.inv_freq.begin(), table.inv_freq.end(), p.inv_freq);
}

const RopeTable& TableFor(Machine& m, const RopeParams& p) {
  for (const RopeTable& table : m.rope_tables) {
    if (Matches(table, p)) return table;
  }
  RopeTable& table = m.rope_tables[m.next_rope_table];
  m.next_rope_table = (m.next_rope_table + 1) % Machine::kRopeTables;
  table.positions.assign(p.positions, p.positions + p.tokens);
  table.inv_freq.assign(p.inv_freq, p.inv_freq + p.pairs);
  table.cosine.resize(static_cast<size_t>(p.tokens * p.pairs));
  table.sine.resize(static_cast<size_t>(p.tokens * p.pairs));
  constexpr int64_t kSineCost = 100;
  m.pool.For(p.tokens, p.pairs * kSineCost, [&](int64_t t, int) {
    for (int64_t i = 0; i < p.pairs; ++i) {
      const float angle = static_cast<float>(p.positions[t]) * p.inv_freq[i];
      table.cosine[t * p.pairs + i] = static_cast<float>(std::cos(static_cast<double>(angle)));
      table.sine[t * p.pairs + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  });
  return table;
}

void RotateToken(const RopeParams& p, int64_t t, const float* cosine, const float* sine) {
  const float sign = p.direction == RopeDirection::kForward ? 1.0f : -1.0f;
  for (int64_t h = 0; h < p.heads; ++h) {
    float* last = p.x + (t * p.heads + h) * p.dim + (p.dim - 2 * p.pairs);
    for (int64_t i = 0; i < p.pairs; ++i) {
      const float a = last[2 * i];
      const float b = last[2 * i + 1];
      const float s = sign * sine[i];
      last[2 * i] = a * cosine[i] - b * s;
      last[2 * i + 1] = a * s + b * cosine[i];
    }
  }
}

}  // namespace

void Rope(Machine& m, const RopeParams& p) {
  const RopeTable& table = TableFor(m, p);
  m.pool.For(p.tokens, p.heads * p.pairs * 6, [&](int64_t t, int) {
    RotateToken(p, t, table.cosine.data() + t * p.pairs, table.sine.data() + t * p.pairs);
  });
}

}  // namespace baleen::kernels::cpu

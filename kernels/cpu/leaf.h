// The instruction-set dependent inner loops, as one table of functions per instruction set.
// A leaf sees raw pointers only: no threads, no allocation, no standard library, because an inline
// library function compiled for AVX-512 could be linked into code that runs elsewhere.
// All tables give equal bits. Called by the ops in this folder.
#pragma once

#include <cstdint>

namespace baleen::kernels::cpu {

inline constexpr int64_t kLaneCount = 16;
inline constexpr int64_t kPanelRows =
    32;  ///< Output rows of a weight panel; index keys of a panel.

/// out[t][first_row + r] = x[t] . w[first_row + r] for a run of panels.
struct LinearTile {
  const void* panels = nullptr;  ///< bf16: [panels][cols][16] words; fp32: [panels][cols][32].
  bool bf16 = false;
  int64_t panel_count = 0;
  int64_t rows = 0;  ///< Valid output rows of this run; the last panel may be partly filled.
  int64_t cols = 0;
  const float* x = nullptr;
  int64_t x_stride = 0;
  int64_t tokens = 0;
  float* out = nullptr;  ///< At the first row of the run.
  int64_t out_stride = 0;
};

/// Attention of some heads of one token over a list of keys.
struct AttendTile {
  const float* q = nullptr;  ///< [heads, dim]
  int64_t heads = 0;
  int64_t dim = 0;
  const float* const* keys = nullptr;  ///< [count] rows of dim values, in key order.
  int64_t count = 0;
  const float* sink = nullptr;  ///< [heads] or null.
  float scale = 0;
  float* scores = nullptr;  ///< Scratch [count + 1][heads rounded up to 16].
  float* out = nullptr;     ///< [heads, dim]
};

/// Scores of up to 32 index keys against consecutive tokens.
struct IndexTile {
  const float* panel = nullptr;  ///< [dim][32]
  int64_t keys = 0;              ///< Valid keys of the panel.
  int64_t dim = 0;
  const float* q = nullptr;        ///< [tokens * heads, dim]
  const float* weights = nullptr;  ///< [tokens * heads]
  int64_t heads = 0;
  int64_t tokens = 0;
  float* scores = nullptr;  ///< Token t's scores of these keys at scores + t * scores_stride.
  int64_t scores_stride = 0;
};

/// 16 consecutive packed index keys to one half of a panel.
struct UnpackTile {
  const uint8_t* codes = nullptr;       ///< [16, dim/2]
  const uint8_t* scales = nullptr;      ///< [16, ceil(dim/32)]
  const float* scale_values = nullptr;  ///< [256] values of the E8M0 codes.
  int64_t dim = 0;                      ///< A multiple of 8.
  float* panel = nullptr;               ///< [dim][32], at lane 0 or 16.
};

struct LeafTable {
  const char* name;
  void (*linear)(const LinearTile& tile);
  float (*dot)(const float* a, const float* b, int64_t n);
  void (*rms_norm)(const float* x, const float* weight, float* out, int64_t dim, float eps);
  void (*exp)(const float* x, float* out, int64_t n);
  void (*log1p)(const float* x, float* out, int64_t n);
  void (*sigmoid)(const float* x, float* out, int64_t n);
  void (*silu)(const float* x, float* out, int64_t n);
  void (*sqrt_softplus)(const float* x, float* out, int64_t n);
  void (*hc_collapse)(const float* streams, const float* pre, int64_t mult, int64_t dim,
                      float* out);
  void (*hc_expand)(float* streams, const float* y, const float* post, const float* comb,
                    int64_t mult, int64_t dim);
  void (*gated_pool)(const float* value, const float* gate, int64_t slots, int64_t dim, float* out);
  void (*swiglu)(const float* gate, const float* up, float weight, float limit, int64_t dim,
                 float* out);
  void (*unpack_index_keys)(const UnpackTile& tile);
  void (*index_scores)(const IndexTile& tile);
  void (*attend)(const AttendTile& tile);
};

/// Null where the build or the processor lacks the instructions.
const LeafTable* Avx512Leaves();
const LeafTable* Avx2Leaves();
const LeafTable* PortableLeaves();

}  // namespace baleen::kernels::cpu

// 16 fp32 lanes as an array, for machines without AVX2 and as the check of the other two. Slow
// where fused multiply-add is a library call. Included by leaf_portable.cc only.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace baleen::kernels::cpu {

struct PortableLanes {
  struct F {
    float v[16];
  };
  struct I {
    uint32_t v[16];
  };
  struct Mask {
    bool v[16];
  };
  static constexpr int kLinearTokens = 2;
  static constexpr int kDotBlock = 2;

  template <typename Result = F, typename Body>
  static Result Each(Body body) {
    Result result;
    for (int i = 0; i < 16; ++i) result.v[i] = body(i);
    return result;
  }

  static F Zero() { return Set(0.0f); }
  static F Set(float v) {
    return Each([&](int) { return v; });
  }
  static F Load(const float* p) {
    return Each([&](int i) { return p[i]; });
  }
  static void Store(float* p, F v) { std::memcpy(p, v.v, sizeof(v.v)); }
  static F LoadPartial(const float* p, int64_t n) {
    return Each([&](int i) { return i < n ? p[i] : 0.0f; });
  }
  static void StorePartial(float* p, int64_t n, F v) {
    std::memcpy(p, v.v, static_cast<size_t>(n) * sizeof(float));
  }

  static F Add(F a, F b) {
    return Each([&](int i) { return a.v[i] + b.v[i]; });
  }
  static F Sub(F a, F b) {
    return Each([&](int i) { return a.v[i] - b.v[i]; });
  }
  static F Mul(F a, F b) {
    return Each([&](int i) { return a.v[i] * b.v[i]; });
  }
  static F Div(F a, F b) {
    return Each([&](int i) { return a.v[i] / b.v[i]; });
  }
  static F Fma(F a, F b, F c) {
    return Each([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); });
  }
  static F Sqrt(F a) {
    return Each([&](int i) { return std::sqrt(a.v[i]); });
  }
  static F Min(F a, F b) {
    return Each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }
  static F Max(F a, F b) {
    return Each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  static Mask Less(F a, F b) {
    return Each<Mask>([&](int i) { return a.v[i] < b.v[i]; });
  }
  static F Select(Mask m, F a, F b) {
    return Each([&](int i) { return m.v[i] ? a.v[i] : b.v[i]; });
  }

  static I SetInt(int32_t v) {
    return Each<I>([&](int) { return static_cast<uint32_t>(v); });
  }
  static I AsInt(F v) { return std::bit_cast<I>(v); }
  static F AsFloat(I v) { return std::bit_cast<F>(v); }
  static I AddInt(I a, I b) {
    return Each<I>([&](int i) { return a.v[i] + b.v[i]; });
  }
  static I SubInt(I a, I b) {
    return Each<I>([&](int i) { return a.v[i] - b.v[i]; });
  }
  static I And(I a, I b) {
    return Each<I>([&](int i) { return a.v[i] & b.v[i]; });
  }
  static I ShiftLeft(I a, int n) {
    return Each<I>([&](int i) { return a.v[i] << n; });
  }
  static I ShiftRight(I a, int n) {
    return Each<I>([&](int i) { return a.v[i] >> n; });
  }
  static I ShiftRightSigned(I a, int n) {
    return Each<I>([&](int i) { return static_cast<uint32_t>(static_cast<int32_t>(a.v[i]) >> n); });
  }

  static void LoadBf16Pair(const uint32_t* p, F& low, F& high) {
    low = AsFloat(Each<I>([&](int i) { return p[i] << 16; }));
    high = AsFloat(Each<I>([&](int i) { return p[i] & 0xFFFF0000u; }));
  }
  static I GatherWords(const uint8_t* p, int32_t stride) {
    return Each<I>([&](int i) {
      const uint8_t* at = p + static_cast<int64_t>(i) * stride;
      return at[0] | static_cast<uint32_t>(at[1]) << 8 | static_cast<uint32_t>(at[2]) << 16 |
             static_cast<uint32_t>(at[3]) << 24;
    });
  }
  static F DecodeE2M1(I codes) {
    constexpr float kTable[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                  -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
    return Each([&](int i) { return kTable[codes.v[i] & 15u]; });
  }
  static float ReduceAdd(F v) {
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) v.v[i] += v.v[i + half];
    }
    return v.v[0];
  }
};

}  // namespace baleen::kernels::cpu

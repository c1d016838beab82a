// Linear in every weight format.
#include "kernels/dequantise.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/op_cases.h"

namespace baleen::kernels::testing {
namespace {

struct Weights {
  std::vector<uint8_t> values;
  std::vector<uint8_t> scales;
  MatrixSource source;
};

// Random codes of `dtype`, avoiding NaN, with scales where the format has them.
// Owners: the run and the bound closure of a case.
std::shared_ptr<Weights> MakeWeights(DType dtype, DType scale_dtype, int64_t rows, int64_t cols,
                                     Random& random) {
  auto w = std::make_shared<Weights>();
  const int64_t row_bytes = (cols * TraitsOf(dtype).bits + 7) / 8;
  w->values.resize(static_cast<size_t>(rows * row_bytes));
  for (uint8_t& byte : w->values) {
    byte = static_cast<uint8_t>(random.Below(256));
    if (dtype == DType::kF8E4M3 && (byte & 0x7F) == 0x7F) byte = 0x38;
  }
  const auto fill = [&](auto make) {
    for (int64_t i = 0; i < rows * cols; ++i) {
      const auto v = make();
      std::memcpy(w->values.data() + static_cast<size_t>(i) * sizeof(v), &v, sizeof(v));
    }
  };
  if (dtype == DType::kF32) fill([&] { return random.Uniform(-1, 1); });
  if (dtype == DType::kBf16) fill([&] { return EncodeBf16(random.Uniform(-1, 1)); });
  if (dtype == DType::kF16) {
    fill([&] { return static_cast<uint16_t>(0x3000 + random.Below(0x800)); });
  }
  w->source = {.dtype = dtype,
               .values = reinterpret_cast<const std::byte*>(w->values.data()),
               .rows = rows,
               .cols = cols};
  if (dtype != DType::kF8E4M3 && dtype != DType::kFp4) return w;
  w->source.scale_block_rows = dtype == DType::kFp4 ? 1 : 128;
  w->source.scale_block_cols = dtype == DType::kFp4 ? 32 : 128;
  w->source.scale_dtype = scale_dtype;
  const int64_t count = ((rows + w->source.scale_block_rows - 1) / w->source.scale_block_rows) *
                        ((cols + w->source.scale_block_cols - 1) / w->source.scale_block_cols);
  for (int64_t i = 0; i < count; ++i) {
    if (scale_dtype == DType::kF8E8M0) {
      w->scales.push_back(static_cast<uint8_t>(120 + random.Below(8)));
    } else {
      const float scale = random.Uniform(0.01f, 0.1f);
      const auto* bytes = reinterpret_cast<const uint8_t*>(&scale);
      w->scales.insert(w->scales.end(), bytes, bytes + sizeof(scale));
    }
  }
  w->source.scales = reinterpret_cast<const std::byte*>(w->scales.data());
  return w;
}

OpCase LinearCase(DType dtype, DType scale_dtype, int64_t tokens, int64_t rows, int64_t cols) {
  Random random(static_cast<uint64_t>(rows * 1000 + cols + tokens));
  auto w = MakeWeights(dtype, scale_dtype, rows, cols, random);
  auto x = std::make_shared<std::vector<float>>(random.Floats(tokens * (cols + 3)));
  const int64_t x_stride = cols + 3;
  OpCase c;
  c.name = "Linear " + std::string(TraitsOf(dtype).name) + "/" +
           std::string(TraitsOf(scale_dtype).name) + " t" + std::to_string(tokens) + " n" +
           std::to_string(rows) + " k" + std::to_string(cols);
  c.tokens = tokens;
  c.run = [=](Backend& backend, int64_t begin, int64_t end) {
    const auto packed = backend.Pack(w->source);
    const int64_t out_stride = rows + 1;
    std::vector<float> out(static_cast<size_t>((end - begin) * out_stride), 7.0f);
    backend.Linear({.x = x->data() + begin * x_stride,
                    .x_stride = x_stride,
                    .w = packed.get(),
                    .out = out.data(),
                    .out_stride = out_stride,
                    .tokens = end - begin});
    return out;  // with the gaps, which must stay untouched
  };
  // cols products and additions, each rounded once, of any partial sum: cols * u * sum |x w|.
  c.bound = [=](const std::vector<float>& expected) {
    std::vector<double> bound(expected.size(), 0);
    std::vector<float> row(static_cast<size_t>(cols));
    for (int64_t r = 0; r < rows; ++r) {
      DequantiseRow(w->source, r, row.data());
      for (int64_t t = 0; t < tokens; ++t) {
        double magnitude = 0;
        for (int64_t k = 0; k < cols; ++k) {
          magnitude += std::fabs(static_cast<double>((*x)[t * x_stride + k]) * row[k]);
        }
        bound[t * (rows + 1) + r] = static_cast<double>(cols + 1) * kUnit * magnitude;
      }
    }
    return bound;
  };
  return c;
}

}  // namespace

std::vector<OpCase> LinearCases() {
  std::vector<OpCase> cases;
  for (int64_t tokens : {1, 2, 3, 61}) {
    cases.push_back(LinearCase(DType::kF32, DType::kF32, tokens, 69, 127));
    cases.push_back(LinearCase(DType::kBf16, DType::kF32, tokens, 129, 61));
    cases.push_back(LinearCase(DType::kF8E4M3, DType::kF8E8M0, tokens, 129, 576));
  }
  cases.push_back(LinearCase(DType::kF16, DType::kF32, 5, 32, 69));
  cases.push_back(LinearCase(DType::kF8E4M3, DType::kF32, 3, 130, 129));
  cases.push_back(LinearCase(DType::kFp4, DType::kF8E8M0, 2, 61, 576));
  cases.push_back(LinearCase(DType::kFp4, DType::kF8E8M0, 69, 33, 64));
  cases.push_back(LinearCase(DType::kBf16, DType::kF32, 127, 1, 2));
  cases.push_back(LinearCase(DType::kF32, DType::kF32, 1, 576, 1));
  return cases;
}

}  // namespace baleen::kernels::testing

// Storing and reading entries, index keys and queries.
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/op_cases.h"

namespace baleen::kernels::testing {
namespace {

using Floats = std::vector<float>;

void AppendBytes(const uint8_t* bytes, int64_t n, Floats& out) {
  for (int64_t i = 0; i < n; ++i) out.push_back(bytes[i]);
}

// Codes, scales and rope bits of each row, then the row read back.
OpCase EntryCase(int64_t rows, int64_t dim, int64_t rope, RowFormat format) {
  Random random(static_cast<uint64_t>(dim));
  const auto x = std::make_shared<const Floats>(random.Floats(rows * dim, -5, 5));
  const int64_t nope = dim - rope;
  const int64_t blocks = (nope + 63) / 64;
  return {
      .name = "StoreEntries d" + std::to_string(dim) + " rope" + std::to_string(rope),
      .tokens = rows,
      .run =
          [=](Backend& backend, int64_t begin, int64_t end) {
            const int64_t n = end - begin;
            std::vector<uint8_t> codes(static_cast<size_t>(n * nope) + 1);
            std::vector<uint8_t> scales(static_cast<size_t>(n * blocks) + 1);
            std::vector<uint16_t> last(static_cast<size_t>(n * rope) + 1);
            Floats values(static_cast<size_t>(n * dim));
            backend.StoreEntries(
                {.x = x->data() + begin * dim,
                 .rows = n,
                 .dim = dim,
                 .rope = rope,
                 .format = format,
                 .out = {codes.data(), scales.data(), last.data(), values.data()}});
            Floats loaded(static_cast<size_t>(n * dim));
            backend.LoadEntries({.in = {codes.data(), scales.data(), last.data(), values.data()},
                                 .rows = n,
                                 .dim = dim,
                                 .rope = rope,
                                 .format = format,
                                 .out = loaded.data()});
            Floats out;
            for (int64_t r = 0; r < n; ++r) {
              AppendBytes(codes.data() + r * nope, nope, out);
              AppendBytes(scales.data() + r * blocks, blocks, out);
              for (int64_t i = 0; i < rope; ++i) out.push_back(last[r * rope + i]);
              out.insert(out.end(), loaded.begin() + r * dim, loaded.begin() + (r + 1) * dim);
            }
            return out;
          },
      .bound = Absolute(0)};
}

// Lattice inputs: every sum of the Hadamard transform is exact in fp32, so that both backends hand
// the same value to the quantiser and codes must be equal.
OpCase IndexKeyCase(int64_t rows, int64_t dim, RowFormat format) {
  Random random(static_cast<uint64_t>(dim));
  const auto x = std::make_shared<const Floats>(random.Lattice(rows * dim));
  const int64_t code_bytes = (dim + 1) / 2;
  const int64_t blocks = (dim + 31) / 32;
  return {
      .name = "StoreIndexKeys d" + std::to_string(dim),
      .tokens = rows,
      .run =
          [=](Backend& backend, int64_t begin, int64_t end) {
            const int64_t n = end - begin;
            std::vector<uint8_t> codes(static_cast<size_t>(n * code_bytes));
            std::vector<uint8_t> scales(static_cast<size_t>(n * blocks));
            Floats values(static_cast<size_t>(n * dim));
            backend.StoreIndexKeys({.x = x->data() + begin * dim,
                                    .rows = n,
                                    .dim = dim,
                                    .format = format,
                                    .out = {codes.data(), scales.data(), nullptr, values.data()}});
            Floats out;
            for (int64_t r = 0; r < n; ++r) {
              AppendBytes(codes.data() + r * code_bytes, code_bytes, out);
              AppendBytes(scales.data() + r * blocks, blocks, out);
              out.insert(out.end(), values.begin() + r * dim, values.begin() + (r + 1) * dim);
            }
            return out;
          },
      .bound = Absolute(0)};
}

OpCase IndexQueryCase(int64_t rows, int64_t dim, RowFormat format) {
  Random random(static_cast<uint64_t>(dim + 7));
  const auto x = std::make_shared<const Floats>(random.Lattice(rows * dim));
  return {.name = "IndexQuery d" + std::to_string(dim),
          .tokens = rows,
          .run =
              [=](Backend& backend, int64_t begin, int64_t end) {
                Floats out(x->begin() + begin * dim, x->begin() + end * dim);
                backend.IndexQuery(
                    {.x = out.data(), .rows = end - begin, .dim = dim, .format = format});
                return out;
              },
          .bound = Absolute(0)};
}

}  // namespace

std::vector<OpCase> StoredRowCases() {
  std::vector<OpCase> cases;
  cases.push_back(EntryCase(3, 576, 64, RowFormat::kPacked));
  cases.push_back(EntryCase(5, 129, 2, RowFormat::kPacked));
  cases.push_back(EntryCase(2, 61, 0, RowFormat::kPacked));
  cases.push_back(EntryCase(2, 16, 16, RowFormat::kPacked));
  cases.push_back(EntryCase(3, 69, 8, RowFormat::kFloat));
  for (int64_t dim : {2, 16, 32, 64, 128}) {
    cases.push_back(IndexKeyCase(3, dim, RowFormat::kPacked));
    cases.push_back(IndexQueryCase(5, dim, RowFormat::kPacked));
  }
  cases.push_back(IndexKeyCase(3, 32, RowFormat::kFloat));
  cases.push_back(IndexQueryCase(3, 32, RowFormat::kFloat));
  return cases;
}

}  // namespace baleen::kernels::testing

// Rows for tests, see the header.
#include "tests/kernels/stored_rows.h"

#include <algorithm>

namespace baleen::kernels::testing {
namespace {

// Allocates the next block and gives its planes.
MutableRowPlanes AddBlock(StoredRows& stored, int64_t rows, int64_t codes, int64_t scales,
                          int64_t rope, int64_t dim) {
  stored.codes.emplace_back(static_cast<size_t>(rows * codes + 1));
  stored.scales.emplace_back(static_cast<size_t>(rows * scales + 1));
  stored.rope.emplace_back(static_cast<size_t>(rows * rope + 1));
  stored.values.emplace_back(static_cast<size_t>(rows * dim + 1));
  const MutableRowPlanes planes = {stored.codes.back().data(), stored.scales.back().data(),
                                   stored.rope.back().data(), stored.values.back().data()};
  stored.tables.push_back({planes.codes, planes.scales, planes.rope, planes.values});
  return planes;
}

void Finish(StoredRows& stored, const PagedRows& shape) {
  stored.paged = shape;
  stored.paged.tables = stored.tables;
}

}  // namespace

std::shared_ptr<StoredRows> StoreAsEntries(const std::vector<float>& x, int64_t dim, int64_t rope,
                                           RowFormat format, int64_t rows_per_block) {
  auto stored = std::make_shared<StoredRows>();
  const auto ref = MakeBackend("ref", 1);
  const int64_t rows = static_cast<int64_t>(x.size()) / dim;
  for (int64_t first = 0; first < rows; first += rows_per_block) {
    const int64_t n = std::min(rows_per_block, rows - first);
    const MutableRowPlanes out =
        AddBlock(*stored, n, dim - rope, (dim - rope + 63) / 64, rope, dim);
    ref->StoreEntries({x.data() + first * dim, n, dim, rope, format, out});
  }
  Finish(*stored, {.format = format,
                   .tables = {},
                   .rows_per_block = rows_per_block,
                   .rows = rows,
                   .dim = dim,
                   .rope = rope});
  return stored;
}

std::shared_ptr<StoredRows> StoreAsIndexKeys(const std::vector<float>& x, int64_t dim,
                                             RowFormat format, int64_t rows_per_block) {
  auto stored = std::make_shared<StoredRows>();
  const auto ref = MakeBackend("ref", 1);
  const int64_t rows = static_cast<int64_t>(x.size()) / dim;
  for (int64_t first = 0; first < rows; first += rows_per_block) {
    const int64_t n = std::min(rows_per_block, rows - first);
    const MutableRowPlanes out = AddBlock(*stored, n, (dim + 1) / 2, (dim + 31) / 32, 0, dim);
    ref->StoreIndexKeys({x.data() + first * dim, n, dim, format, out});
  }
  Finish(*stored, {.format = format,
                   .tables = {},
                   .rows_per_block = rows_per_block,
                   .rows = rows,
                   .dim = dim,
                   .rope = 0});
  return stored;
}

}  // namespace baleen::kernels::testing

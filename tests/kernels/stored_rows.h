// Entries and index keys stored through the oracle, in blocks, for tests that read them.
#pragma once

#include <memory>
#include <vector>

#include "kernels/backend.h"

namespace baleen::kernels::testing {

/// Rows behind a block table; owns their planes.
struct StoredRows {
  std::vector<std::vector<uint8_t>> codes;
  std::vector<std::vector<uint8_t>> scales;
  std::vector<std::vector<uint16_t>> rope;
  std::vector<std::vector<float>> values;
  std::vector<RowPlanes> tables;
  PagedRows paged;
};

/// x [rows, dim] as entries.
/// Owners: the test, and the closures of an op case that read the rows.
std::shared_ptr<StoredRows> StoreAsEntries(const std::vector<float>& x, int64_t dim, int64_t rope,
                                           RowFormat format, int64_t rows_per_block);
/// x [rows, dim] as index keys. Owners: as above.
std::shared_ptr<StoredRows> StoreAsIndexKeys(const std::vector<float>& x, int64_t dim,
                                             RowFormat format, int64_t rows_per_block);

}  // namespace baleen::kernels::testing

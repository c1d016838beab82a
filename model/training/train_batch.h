// TrainBatch: packed token rows for one forward and backward pass. Plain data, made by the packer.
#pragma once

#include <cstdint>
#include <vector>

namespace baleen::training {

/// `rows` rows of `length` tokens; every array is [rows * length], row after row.
///
/// A row holds documents one after the other, then padding. Nothing crosses a document's border:
/// windows, compressor windows, entries, the draft block's next tokens; each document is computed
/// as if it stood alone.
struct TrainBatch {
  int64_t rows = 0;
  int64_t length = 0;
  std::vector<int32_t> tokens;   ///< Below the vocabulary, padding included.
  std::vector<int32_t> targets;  ///< Usually the next token; -1: no loss here.
  std::vector<float> weights;    ///< Of the loss at this position; finite, >= 0.
  /// Index of the document within its row: 0, 1, ... ascending, each one a single run; -1: padding,
  /// to the end of the row. Padding is neither computed with nor counted.
  std::vector<int32_t> document;
  std::vector<int32_t> position;  ///< Within the document: 0, 1, ...; ignored in padding.
};

}  // namespace baleen::training

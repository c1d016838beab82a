// Tensor names: what checkpoints call a tensor, and what DeepSeek calls it.
//
// Knows the released names (with or without "model.") and those of transformers. No files, no
// shapes. Called by Checkpoint and the writer.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace baleen {

/// Which matrices a fused tensor of transformers holds, one per expert along its first dimension.
enum class FusedKind { kNone, kGateUp, kDown };

struct TensorName {
  /// Official name. For fused tensors the prefix "layers.N.ffn.experts.", to which "E.w1.weight"
  /// and so on are added.
  std::string official;
  FusedKind fused = FusedKind::kNone;
  bool scale = false;  ///< Of fused tensors: these are the block scales.
};

/// The official name of a tensor that a file calls `file_name`. Unknown names come back as they
/// are, without "model.".
TensorName OfficialName(std::string_view file_name);

/// The transformers name of an official one; nullopt for expert matrices, which transformers fuses,
/// and for the draft blocks, which it ignores.
std::optional<std::string> TransformersName(std::string_view official);

}  // namespace baleen

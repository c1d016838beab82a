// Split: which of the three disjoint worlds a name, path, word or template belongs to.
//
// By a hash of the text itself, so that no list needs keeping and no two generators can disagree.
// Called by the draw of every task.
#pragma once

#include <string_view>

namespace baleen::training {

/// On disk in configs by name; don't rename.
enum class Split { kTrain, kValidation, kEvaluation };

/// "train", "validation", "evaluation".
const char* SplitName(Split split);

/// Of 16 classes, 13 are for training, 1 for validation, 2 for evaluation. Capitals make no
/// difference.
Split SplitOf(std::string_view text);

}  // namespace baleen::training

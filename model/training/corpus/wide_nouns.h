// Nouns of varied training samples, besides those of the lexicon. Evaluations don't use them.
//
// Called by the draw alone.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace baleen::training {

/// A thousand everyday nouns, in the order of the alphabet.
std::span<const std::string_view> WideNouns();

}  // namespace baleen::training

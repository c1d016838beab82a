// Names matched by a pattern with '*'.
#pragma once

#include <string_view>

namespace baleen {

/// '*' stands for any run of characters. Cost: O(pattern x text).
bool MatchesWildcard(std::string_view pattern, std::string_view text);

}  // namespace baleen

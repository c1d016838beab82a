// Which globals a compiled chunk reads and writes, from its bytecode.
//
// Internal to agent/. Source: ldump.c and lopcodes.h of Lua 5.4, whose format this is.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

struct GlobalUse {
  int line = 0;
  std::string name;
  std::string member;  ///< Of the global's value, where the next instruction reads one by name.
  bool write = false;
};

/// Of what lua_dump wrote of a chunk with its debug information, functions within included; in the
/// order of the code. Errors: INTERNAL for other bytes.
Result<std::vector<GlobalUse>> GlobalUses(std::string_view dumped);

}  // namespace baleen

// Which globals a compiled chunk reads and writes, and which methods it calls, from its bytecode.
//
// Internal to agent/. Source: ldump.c and lopcodes.h of Lua 5.4, whose format this is.
#pragma once

#include <set>
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

/// value:name(...), whatever the value is.
struct MethodCall {
  int line = 0;
  std::string name;
};

struct NameUses {
  std::vector<GlobalUse> globals;
  std::vector<MethodCall> methods;
  std::set<std::string> members_set;  ///< Of any table: value.name = ..., { name = ... }.
};

/// Of what lua_dump wrote of a chunk with its debug information, functions within included; in the
/// order of the code. Errors: INTERNAL for other bytes.
Result<NameUses> ReadNameUses(std::string_view dumped);

}  // namespace baleen

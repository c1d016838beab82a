// What scripts may call and which members their tables have: one list for the bindings, which
// refuse other members, and for the definitions that editors read.
//
// Internal to agent/. A function of `baleen` that isn't listed here fails a test, and vice versa.
#pragma once

#include <span>
#include <string_view>

namespace baleen {

/// A parameter, a result or a member of a table. `type` in the notation of lua-language-server.
struct LuaField {
  const char* name;  ///< Ends in '?' where it may be absent.
  const char* type;
  const char* about;
};

/// Its name as it is written in Lua.
std::string_view NameOf(const LuaField& field);

struct LuaClass {
  const char* name;
  const char* about;
  std::span<const LuaField> fields;
};

struct LuaSignature {
  const char* name;  ///< As it is called: "baleen.call".
  const char* about;
  std::span<const LuaField> parameters;
  std::span<const LuaField> results;
};

extern const LuaClass kGenerateRequest;
extern const LuaClass kMessageTable;
extern const LuaClass kCallTable;

std::span<const LuaClass* const> LuaClasses();
std::span<const LuaSignature> LuaSignatures();
/// What `baleen` holds besides functions.
std::span<const LuaField> LuaValues();

}  // namespace baleen

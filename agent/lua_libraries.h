// The library tables a script sees, and the few pieces they share.
//
// Each Open function leaves one table on the stack. All of these may raise Lua errors, so callers
// stand inside a protected call and hold no object with a destructor. Called by sandbox.cc.
#pragma once

#include <cstddef>
#include <cstdint>

struct lua_State;

namespace baleen {

void OpenBase(lua_State* L);
void OpenString(lua_State* L);  ///< Also sets the metatable of strings.
void OpenTable(lua_State* L);
void OpenMath(lua_State* L);
void OpenUtf8(lua_State* L);
void OpenJson(lua_State* L);
void OpenBaleen(lua_State* L);

/// Raises an error that names file and line of the innermost frame that is a script's.
int Raise(lua_State* L, const char* format, ...);
/// Pushes that place as "file:line: ", or nothing's text where there is none.
void PushPlace(lua_State* L);
/// Chunks of ours are named so; no error points into them.
inline constexpr char kOwnChunk[] = "=baleen";

// What scripts declare (lua_script.cc).
/// Pushes the table of all built-in globals.
void PushBuiltins(lua_State* L);
/// Pushes the global of that name, whose libraries are then loaded; false: there is none.
bool PushDeclaration(lua_State* L, const char* name);
/// Loads them, if nothing has yet.
void LoadDeclarations(lua_State* L);
/// The turn's function in place of what the chunk returned, on top.
void PushTurnFunction(lua_State* L);
/// Runs our Lua's function of that name (api.lua) in place of `plain`, once that is loaded.
int CallThrough(lua_State* L, const char* name, int (*plain)(lua_State*));

/// One entry of a library. `stock` entries come from Lua's own table of that name; those marked
/// `charged` cost budget by the length of their string arguments.
struct LibraryFunction {
  const char* name;
  int (*function)(lua_State*);
};

/// Sets `functions` (ends with a null name) in the table on top of the stack.
void SetFunctions(lua_State* L, const LibraryFunction* functions);
/// Copies `names` (ends with null) from the table at `from` into the table on top; functions are
/// wrapped so that long string arguments cost budget.
void CopyStock(lua_State* L, int from, const char* const* names);

/// Replaces the table on top by a read-only view of it.
void Freeze(lua_State* L);
/// Whether the table at `index` is such a view.
bool IsFrozen(lua_State* L, int index);

/// Pushes an array of the keys of the table at `index`: integers ascending, then strings bytewise.
/// Returns their number. Raises for keys of other types.
int64_t PushSortedKeys(lua_State* L, int index);

/// Globals: pairs and next, in the order of PushSortedKeys.
int Pairs(lua_State* L);
int Next(lua_State* L);

/// Globals: metatables are copied when set, and frozen tables refuse raw writes.
int SetMetatable(lua_State* L);
int GetMetatable(lua_State* L);
int RawSet(lua_State* L);
/// Of ours alone: (table, function): what `local x <close>` calls; the table's metatable has it.
int SetClose(lua_State* L);

/// Pushes the value at `index` as text, without addresses; honours __tostring.
void PushText(lua_State* L, int index);

/// math.random, which baleen.random is too.
int Random(lua_State* L);

/// Marks the table on top as a JSON array.
void MarkJsonArray(lua_State* L);

/// Pushes the JSON text of the value at `index`; members in the order of PushSortedKeys.
/// Raises for values without JSON form.
void PushJson(lua_State* L, int index);
/// Pushes the value of a JSON text, or returns false with a message (a literal) and an offset.
bool PushJsonValue(lua_State* L, const char* text, size_t size, const char** message,
                   size_t* offset);

}  // namespace baleen

// table: raw access only, so that a lying __len cannot make a C loop endless; each loop has a
// price.
//
// sort is a merge sort: stable, so equal elements keep an order that no pivot choice decides.
#include <cstring>
#include <lua5.4/lua.hpp>

#include "agent/lua_libraries.h"
#include "agent/lua_sandbox_state.h"

namespace baleen {
namespace {

void CheckWritable(lua_State* L, int index) {
  luaL_checktype(L, index, LUA_TTABLE);
  if (IsFrozen(L, index)) luaL_error(L, "this table is read-only");
}

lua_Integer LengthOf(lua_State* L, int index) {
  return static_cast<lua_Integer>(lua_rawlen(L, index));
}

int Insert(lua_State* L) {
  CheckWritable(L, 1);
  const lua_Integer count = LengthOf(L, 1);
  if (lua_gettop(L) == 2) {
    lua_rawseti(L, 1, count + 1);
    return 0;
  }
  if (lua_gettop(L) != 3) return luaL_error(L, "wrong number of arguments to 'insert'");
  const lua_Integer position = luaL_checkinteger(L, 2);
  luaL_argcheck(L, position >= 1 && position <= count + 1, 2, "position out of bounds");
  Charge(L, count + 1 - position);
  for (lua_Integer i = count; i >= position; --i) {
    lua_rawgeti(L, 1, i);
    lua_rawseti(L, 1, i + 1);
  }
  lua_rawseti(L, 1, position);
  return 0;
}

int Remove(lua_State* L) {
  CheckWritable(L, 1);
  const lua_Integer count = LengthOf(L, 1);
  const lua_Integer position = luaL_optinteger(L, 2, count);
  const bool in_bounds = position >= 1 && position <= count + 1;
  luaL_argcheck(L, in_bounds || (count == 0 && position == 0), 2, "position out of bounds");
  Charge(L, count - position + 1);
  lua_rawgeti(L, 1, position);
  for (lua_Integer i = position; i < count; ++i) {
    lua_rawgeti(L, 1, i + 1);
    lua_rawseti(L, 1, i);
  }
  if (position >= 1 && position <= count) {
    lua_pushnil(L);
    lua_rawseti(L, 1, count);
  }
  return 1;
}

// The number of elements in [first, last], paid for.
lua_Integer ChargeRange(lua_State* L, lua_Integer first, lua_Integer last) {
  if (first > last) return 0;
  const uint64_t count = static_cast<uint64_t>(last) - static_cast<uint64_t>(first);
  Charge(L, count > (uint64_t{1} << 40) ? int64_t{1} << 40 : static_cast<int64_t>(count) + 1);
  return static_cast<lua_Integer>(count) + 1;
}

int Concat(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  size_t separator_size = 0;
  const char* separator = luaL_optlstring(L, 2, "", &separator_size);
  const lua_Integer first = luaL_optinteger(L, 3, 1);
  const lua_Integer last = luaL_optinteger(L, 4, LengthOf(L, 1));
  const lua_Integer count = ChargeRange(L, first, last);
  luaL_Buffer out;
  luaL_buffinit(L, &out);
  for (lua_Integer i = 0; i < count; ++i) {
    if (i > 0) luaL_addlstring(&out, separator, separator_size);
    lua_rawgeti(L, 1, first + i);
    if (lua_isstring(L, -1) == 0) {
      return luaL_error(L, "invalid value (at index %I) in table for 'concat'",
                        static_cast<LUAI_UACINT>(first + i));
    }
    if (lua_type(L, -1) == LUA_TNUMBER) {
      PushText(L, -1);
      lua_replace(L, -2);
    }
    luaL_addvalue(&out);
  }
  luaL_pushresult(&out);
  return 1;
}

int Pack(lua_State* L) {
  const int count = lua_gettop(L);
  Charge(L, count);
  lua_createtable(L, count, 1);
  lua_insert(L, 1);
  for (int i = count; i >= 1; --i) lua_rawseti(L, 1, i);
  lua_pushinteger(L, count);
  lua_setfield(L, 1, "n");
  return 1;
}

int Unpack(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  const lua_Integer first = luaL_optinteger(L, 2, 1);
  const lua_Integer last = luaL_optinteger(L, 3, LengthOf(L, 1));
  const lua_Integer count = ChargeRange(L, first, last);
  if (count > 100'000 || lua_checkstack(L, static_cast<int>(count)) == 0) {
    return luaL_error(L, "too many results to unpack");
  }
  for (lua_Integer i = 0; i < count; ++i) lua_rawgeti(L, 1, first + i);
  return static_cast<int>(count);
}

int Move(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  const lua_Integer first = luaL_checkinteger(L, 2);
  const lua_Integer last = luaL_checkinteger(L, 3);
  const lua_Integer to = luaL_checkinteger(L, 4);
  const int target = lua_isnoneornil(L, 5) ? 1 : 5;
  CheckWritable(L, target);
  const lua_Integer count = ChargeRange(L, first, last);
  luaL_argcheck(L, count == 0 || to <= LUA_MAXINTEGER - count + 1, 4, "destination wrap around");
  const bool overlaps_ahead = to > first && to <= last && lua_rawequal(L, 1, target) != 0;
  for (lua_Integer i = 0; i < count; ++i) {
    const lua_Integer offset = overlaps_ahead ? count - 1 - i : i;
    lua_rawgeti(L, 1, first + offset);
    lua_rawseti(L, target, to + offset);
  }
  lua_pushvalue(L, target);
  return 1;
}

// Whether the element on top comes before the one below it; pops none.
bool TopComesFirst(lua_State* L) {
  if (!lua_isnoneornil(L, 2)) {
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -4);
    lua_call(L, 2, 1);
    const bool result = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    return result;
  }
  if (lua_type(L, -1) == LUA_TSTRING && lua_type(L, -2) == LUA_TSTRING) {
    size_t top_size = 0, below_size = 0;  // Bytewise, whatever the host's locale says.
    const char* top = lua_tolstring(L, -1, &top_size);
    const char* below = lua_tolstring(L, -2, &below_size);
    const int order = std::memcmp(top, below, top_size < below_size ? top_size : below_size);
    return order != 0 ? order < 0 : top_size < below_size;
  }
  return lua_compare(L, -1, -2, LUA_OPLT) != 0;
}

// Merges the sorted runs [begin, middle) and [middle, end) of `from` into `to`; positions from 1.
void Merge(lua_State* L, int from, int to, lua_Integer begin, lua_Integer middle, lua_Integer end) {
  lua_Integer left = begin, right = middle;
  for (lua_Integer out = begin; out < end; ++out) {
    if (left < middle && right < end) {
      lua_rawgeti(L, from, left);
      lua_rawgeti(L, from, right);
      if (TopComesFirst(L)) {
        lua_rawseti(L, to, out);
        lua_pop(L, 1);
        ++right;
      } else {
        lua_pop(L, 1);
        lua_rawseti(L, to, out);
        ++left;
      }
    } else {
      lua_rawgeti(L, from, left < middle ? left++ : right++);
      lua_rawseti(L, to, out);
    }
  }
}

int Sort(lua_State* L) {
  CheckWritable(L, 1);
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  const lua_Integer count = LengthOf(L, 1);
  if (count > 1'000'000) return luaL_error(L, "table.sort: more than 1000000 elements");
  luaL_checkstack(L, 10, "sort");
  // Two scratch tables: a comparator that raises or looks must see `t` whole.
  lua_createtable(L, static_cast<int>(count), 0);
  lua_createtable(L, static_cast<int>(count), 0);
  for (lua_Integer i = 1; i <= count; ++i) {
    lua_rawgeti(L, 1, i);
    lua_rawseti(L, 3, i);
  }
  int from = 3, to = 4;
  for (lua_Integer width = 1; width < count; width *= 2) {
    Charge(L, count * 2);
    for (lua_Integer begin = 1; begin <= count; begin += 2 * width) {
      const lua_Integer middle = begin + width <= count ? begin + width : count + 1;
      const lua_Integer end = begin + 2 * width <= count ? begin + 2 * width : count + 1;
      Merge(L, from, to, begin, middle, end);
    }
    const int swapped = from;
    from = to;
    to = swapped;
  }
  for (lua_Integer i = 1; i <= count; ++i) {
    lua_rawgeti(L, from, i);
    lua_rawseti(L, 1, i);
  }
  return 0;
}

}  // namespace

void OpenTable(lua_State* L) {
  constexpr LibraryFunction kFunctions[] = {{"concat", Concat}, {"insert", Insert}, {"move", Move},
                                            {"pack", Pack},     {"remove", Remove}, {"sort", Sort},
                                            {"unpack", Unpack}, {nullptr, nullptr}};
  lua_newtable(L);
  SetFunctions(L, kFunctions);
}

}  // namespace baleen

// The definitions that editors read, written from lua_api.h.
#include <string>
#include <string_view>

#include "agent/lua_api.h"
#include "agent/script_check.h"
#include "tools_sdk/message.h"

namespace baleen {
namespace {

std::string WithAbout(const char* about) { return *about == 0 ? "" : std::string(" # ") + about; }

void AppendSignature(const LuaSignature& signature, std::string* out) {
  *out += std::string("\n---") + signature.about + "\n";
  std::string names;
  for (const LuaField& parameter : signature.parameters) {
    *out += std::string("---@param ") + parameter.name + " " + parameter.type +
            (*parameter.about == 0 ? "" : std::string(" ") + parameter.about) + "\n";
    names += names.empty() ? "" : ", ";
    names += NameOf(parameter);
  }
  for (const LuaField& result : signature.results) {
    const bool optional = NameOf(result) != result.name;
    *out += std::string("---@return ") + result.type + (optional ? "? " : " ") +
            std::string(NameOf(result)) + WithAbout(result.about) + "\n";
  }
  *out += std::string("function ") + signature.name + "(" + names + ") end\n";
}

}  // namespace

std::string ScriptTypes() {
  std::string out =
      "---@meta\n"
      "-- What Baleen gives to scripts, for editors that use lua-language-server: put this file\n"
      "-- into a folder that `workspace.library` names. Written by `baleen lua types`.\n"
      "-- Of Lua itself scripts have string, table, math and utf8 without what a script could\n"
      "-- leave its sandbox by; no io, os, debug, coroutine, load or print.\n\n"
      "---@alias baleen.Outcome";
  for (int i = 0; i <= static_cast<int>(ToolOutcome::kAbortedBeforeDispatch); ++i) {
    out +=
        std::string(i == 0 ? " \"" : "|\"") + ToolOutcomeName(static_cast<ToolOutcome>(i)) + "\"";
  }
  out +=
      "\n---@alias baleen.Turn fun(message: string, ctx: baleen.Context): string"
      " # What a script may return.\n";
  for (const LuaClass* table : LuaClasses()) {
    out += *table->about == 0 ? "\n" : std::string("\n---") + table->about + "\n";
    out += std::string("---@class ") + table->name + "\n";
    for (const LuaField& field : table->fields) {
      out += std::string("---@field ") + field.name + " " + field.type + " " + field.about + "\n";
    }
  }
  out += "\nbaleen = {}\nbaleen.json = {}\nsession = {}\n";
  for (const LuaField& value : LuaValues()) {
    out += std::string("\n---") + value.about + "\n---@type " + value.type + "\n" + value.name +
           " = nil\n";
  }
  for (const LuaSignature& signature : LuaSignatures()) AppendSignature(signature, &out);
  return out;
}

}  // namespace baleen

// What of the agent is written in Lua, as text; CMakeLists.txt embeds it.
//
// Internal to agent/. loop.lua, which hosts may read, is DefaultLoopSource() in agent.h.
#pragma once

#include <string_view>

namespace baleen {

// What scripts declare and call, in the order in which lua_script.cc loads them.
std::string_view OptionsSource();
std::string_view KindsSource();
std::string_view RulesSource();
std::string_view ContextSource();
std::string_view HttpSource();
std::string_view HooksSource();
std::string_view ToolsSource();
std::string_view ApiSource();
std::string_view FlowSource();

/// Of task.lua, the body of the tool `task`.
std::string_view TaskSource();

}  // namespace baleen

// InventedTool: a tool that never was: its spec, how a user asks for it, and a call of it.
//
// Called by the tool tasks. Says nothing of results.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/training/corpus/draw.h"
#include "tools_sdk/message.h"
#include "tools_sdk/tool.h"

namespace baleen::training {

struct InventedParameter {
  std::string name;
  ValueKind kind = ValueKind::kWord;
  std::string description;  ///< May be empty.
  bool required = true;
};

struct InventedTool {
  const Verb* verb = nullptr;  ///< Null: the name says nothing.
  std::string noun;
  std::string name;
  std::string description;
  std::vector<InventedParameter> parameters;

  ToolSpec Spec() const;
};

struct ToolOptions {
  const Verb* verb = nullptr;  ///< Wanted; null: any.
  std::string noun;            ///< Wanted; empty: any.
  int64_t parameters_max = 3;
  int64_t parameters_min = 1;
};

InventedTool InventTool(Draw& draw, const ToolOptions& options);

/// `count` tools of different names. `alike` in [0, 1]: how often one shares its verb or its noun
/// with the first.
std::vector<InventedTool> InventTools(Draw& draw, int64_t count, double alike,
                                      const ToolOptions& options = {});

/// One value per parameter, none inside another; an empty one for an optional parameter left out.
std::vector<std::string> InventValues(Draw& draw, const InventedTool& tool);

/// A call as JSON. Values that are empty are left out.
ToolCall CallOf(const InventedTool& tool, const std::vector<std::string>& values);

/// How a user names the tool or its work: "fetch the boat", "use get_boat".
std::string SpokenWork(Draw& draw, const InventedTool& tool);

/// A whole request for it. Empty values aren't mentioned.
std::string RequestFor(Draw& draw, const InventedTool& tool,
                       const std::vector<std::string>& values);

}  // namespace baleen::training

#include "tools_sdk/tool_set.h"

#include <algorithm>
#include <string>
#include <utility>

namespace baleen {
namespace {

bool IsLegalName(std::string_view name) {
  const auto legal = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  };
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), legal);
}

}  // namespace

Status ToolSet::Add(std::unique_ptr<Tool> tool) {
  if (tool == nullptr) return InvalidArgumentError("tool set: no tool given");
  const ToolSpec& spec = tool->spec();
  if (!IsLegalName(spec.name)) {
    return InvalidArgumentError("tool set: the name '" + spec.name.substr(0, 80) +
                                "' must match [a-zA-Z0-9_.-]{1,64}");
  }
  if (spec.timeout_ms <= 0 || spec.output_bytes_max <= 0) {
    return InvalidArgumentError("tool '" + spec.name +
                                "': timeout_ms and output_bytes_max must be positive");
  }
  if (Find(spec.name) != nullptr) {
    return AlreadyExistsError("tool set: there is a tool '" + spec.name + "' already");
  }
  if (entries_.size() >= kToolsMax) {
    return ResourceExhaustedError("tool set: at most " + std::to_string(kToolsMax) + " tools; '" +
                                  spec.name + "' is one too many");
  }
  Result<Schema> schema = Schema::Parse(spec.parameters);
  if (!schema.ok()) return schema.status().WithContext("tool '" + spec.name + "'");
  entries_.push_back(Entry{std::move(tool), std::move(schema).value()});
  return OkStatus();
}

const ToolSet::Entry* ToolSet::FindEntry(std::string_view name) const {
  for (const Entry& entry : entries_) {
    if (entry.tool->spec().name == name) return &entry;
  }
  return nullptr;
}

Tool* ToolSet::Find(std::string_view name) const {
  const Entry* entry = FindEntry(name);
  return entry == nullptr ? nullptr : entry->tool.get();
}

Status ToolSet::CheckCall(const ToolCall& call) const {
  const Entry* entry = FindEntry(call.name);
  if (entry != nullptr) {
    return entry->schema.Validate(call.arguments).WithContext("tool '" + call.name + "'");
  }
  std::string known;
  for (const Entry& other : entries_) {
    known += (known.empty() ? "" : ", ") + other.tool->spec().name;
  }
  return NotFoundError("there is no tool '" + call.name.substr(0, 64) +
                       "'; the tools are: " + known);
}

std::vector<ToolSpec> ToolSet::Specs() const {
  std::vector<ToolSpec> specs;
  specs.reserve(entries_.size());
  for (const Entry& entry : entries_) specs.push_back(entry.tool->spec());
  return specs;
}

}  // namespace baleen

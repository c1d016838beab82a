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

Status ToolSet::Add(ToolSpec spec) {
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
  if (specs_.size() >= kToolsMax) {
    return ResourceExhaustedError("tool set: at most " + std::to_string(kToolsMax) + " tools; '" +
                                  spec.name + "' is one too many");
  }
  Result<Schema> schema = Schema::Parse(spec.parameters);
  if (!schema.ok()) return schema.status().WithContext("tool '" + spec.name + "'");
  specs_.push_back(std::move(spec));
  schemas_.push_back(std::move(schema).value());
  return OkStatus();
}

std::vector<std::string> ToolSet::notes() const {
  std::vector<std::string> notes;
  for (size_t i = 0; i < specs_.size(); ++i) {
    for (const std::string& note : schemas_[i].notes()) {
      notes.push_back("tool '" + specs_[i].name + "': " + note);
    }
  }
  return notes;
}

const ToolSpec* ToolSet::Find(std::string_view name) const {
  for (const ToolSpec& spec : specs_) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

Status ToolSet::CheckCall(const ToolCall& call) const {
  std::string known;
  for (size_t i = 0; i < specs_.size(); ++i) {
    if (specs_[i].name == call.name) {
      return schemas_[i].Validate(call.arguments).WithContext("tool '" + call.name + "'");
    }
    known += (known.empty() ? "" : ", ") + specs_[i].name;
  }
  return NotFoundError("there is no tool '" + call.name.substr(0, 64) +
                       "'; the tools are: " + (known.empty() ? "none" : known));
}

}  // namespace baleen

// The part of JSON Schema that tool parameters need, and nothing that could surprise.
//
// Keywords: type, properties, required, enum, additionalProperties (boolean), items, minimum,
// maximum, minLength, maxLength; description, title and default are allowed and not checked.
// Any other keyword is refused when the tool is registered, rather than silently ignored at a call.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// A checked schema. Threads: const methods may be called from any thread.
class Schema {
 public:
  /// Errors: INVALID_ARGUMENT naming the place and the keyword: text that isn't JSON, an outermost
  /// type other than "object", an unknown keyword, a keyword with a wrong value.
  static Result<Schema> Parse(std::string_view schema_json);
  Schema(Schema&&) noexcept;
  Schema& operator=(Schema&&) noexcept;
  ~Schema();

  /// Errors: INVALID_ARGUMENT with the place, what was expected and what came, in words that help a
  /// model to repair the call.
  Status Validate(std::string_view arguments_json) const;

 private:
  struct Node;
  explicit Schema(std::unique_ptr<Node> root);
  static Status Build(const void* json, const std::string& place, int depth, Node* out);
  static Status Check(const Node& node, const void* json, const std::string& place);
  std::unique_ptr<Node> root_;
};

/// Checks a call's arguments against `spec.parameters`. For callers that check once; a ToolSet
/// keeps the parsed schema. Errors: INVALID_ARGUMENT.
Status ValidateArguments(const ToolSpec& spec, std::string_view arguments_json);

/// The function object shown to the model, as JSON text: name, description, parameters, in this
/// order; `parameters` keeps the order of its members.
std::string FunctionObjectJson(const ToolSpec& spec);

}  // namespace baleen

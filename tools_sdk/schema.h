// JSON Schema for tool parameters and answers: what a call must satisfy once it is whole.
//
// Checked: type, enum, const, properties, required, additionalProperties, patternProperties,
// propertyNames, min/maxProperties, dependentRequired, items, prefixItems, contains, min/maxItems,
// uniqueItems, minimum, maximum, exclusiveMinimum/Maximum, multipleOf, min/maxLength, pattern,
// anyOf, oneOf, allOf, not, if/then/else and local $ref. Anything else is named in notes() and not
// checked. What a model can be kept to while it writes is model/constraint's.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// A checked schema. Threads: const methods may be called from any thread.
class Schema {
 public:
  /// Of a tool's parameters. Errors: INVALID_ARGUMENT naming the place and the keyword: text that
  /// isn't JSON, an outermost type other than "object", a keyword with a wrong value, a $ref that
  /// leads nowhere, nesting of over 32.
  static Result<Schema> Parse(std::string_view schema_json);
  /// Of any value; `what` names it in messages ("answer"). Errors: as Parse.
  static Result<Schema> ParseValue(std::string_view schema_json, std::string what);
  Schema(Schema&&) noexcept;
  Schema& operator=(Schema&&) noexcept;
  ~Schema();

  /// Errors: INVALID_ARGUMENT with the place, what was expected and what came, in words that help a
  /// model to repair the call; RESOURCE_EXHAUSTED for a schema whose alternatives take too long.
  Status Validate(std::string_view json) const;

  /// What the schema says that is not enforced while the model writes, a sentence per keyword:
  /// checked once the text is whole, or not at all.
  const std::vector<std::string>& notes() const;

 private:
  struct Impl;
  explicit Schema(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Checks a call's arguments against `spec.parameters`. For callers that check once; a ToolSet
/// keeps the parsed schema. Errors: INVALID_ARGUMENT.
Status ValidateArguments(const ToolSpec& spec, std::string_view arguments_json);

/// The function object shown to the model, as JSON text: name, description, parameters, in this
/// order; `parameters` keeps the order of its members.
std::string FunctionObjectJson(const ToolSpec& spec);

}  // namespace baleen

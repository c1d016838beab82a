// One JSON value against one schema, keyword by keyword. Internal to schema.cc.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "tools_sdk/status.h"

namespace baleen {

using SchemaText = nlohmann::ordered_json;

/// The schema at '#' or '#/...' of `root`; null: there is none.
const SchemaText* ResolveReference(const SchemaText& root, std::string_view reference);

/// Whether RE2 can take the pattern (it knows no look-around and no back references).
bool IsPattern(const std::string& pattern);

/// Checks values against a schema whose keywords have been found well-formed.
class SchemaCheck {
 public:
  /// Borrows: root.
  explicit SchemaCheck(const SchemaText& root) : root_(root) {}

  Status Check(const SchemaText& schema, const SchemaText& value, const std::string& place);

 private:
  Status CheckScalar(const SchemaText& schema, const SchemaText& value, const std::string& place);
  Status CheckArray(const SchemaText& schema, const SchemaText& value, const std::string& place);
  Status CheckObject(const SchemaText& schema, const SchemaText& value, const std::string& place);
  Status CheckMember(const SchemaText& schema, const std::string& name, const SchemaText& value,
                     const std::string& place);
  Status CheckBranches(const SchemaText& schema, const SchemaText& value, const std::string& place);

  const SchemaText& root_;
  int64_t steps_ = 0;
  int depth_ = 0;
};

}  // namespace baleen

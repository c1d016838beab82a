// Our rules of structure and naming, as functions over a file's path and text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace baleen::tidy {

/// What `path` (relative to the root) does wrong: "line: rule: what".
std::vector<std::string> CheckIncludes(std::string_view path, std::string_view text);
std::vector<std::string> CheckForeignHeaders(std::string_view path, std::string_view text);
std::vector<std::string> CheckPublicHeader(std::string_view path, std::string_view text);
std::vector<std::string> CheckNames(std::string_view path, std::string_view text);
std::vector<std::string> CheckPhrases(std::string_view path, std::string_view text);
std::vector<std::string> CheckSize(std::string_view path, std::string_view text);

/// Types that `text` defines where other files see them: "baleen::Name". The linker knows types by
/// their names: of two that have one name, code of one may run for the other.
std::vector<std::string> DefinedTypes(std::string_view text);

/// All of the above that find something wrong.
std::vector<std::string> CheckFile(std::string_view path, std::string_view text);

/// The headers that hosts include.
const std::vector<std::string>& PublicHeaders();

}  // namespace baleen::tidy

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

/// All of the above.
std::vector<std::string> CheckFile(std::string_view path, std::string_view text);

/// The headers that hosts include.
const std::vector<std::string>& PublicHeaders();

}  // namespace baleen::tidy

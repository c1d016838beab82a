#include "tools_sdk/builtin/find_tools.h"

#include <algorithm>
#include <utility>

#include "tools_sdk/builtin/call_text.h"

namespace baleen {
namespace {

constexpr int kNameWeight = 3;

ToolSpec Spec() {
  ToolSpec spec;
  spec.name = kFindTools;
  spec.description =
      "Looks among tools that you were not told of yet. Answers with the definitions of up to five "
      "that fit; from then on you can call them.";
  spec.parameters =
      R"({"type":"object","properties":{)"
      R"("query":{"type":"string","description":"Words for what you want to do","minLength":1,)"
      R"("maxLength":500}},"required":["query"],"additionalProperties":false})";
  spec.effect = EffectClass::kPure;
  spec.output_bytes_max = 256 * 1024;
  return spec;
}

/// ASCII words in lower case; other letters as they are.
std::vector<std::string> WordsOf(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool letter = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') ||
                        static_cast<unsigned char>(lower) >= 0x80;
    if (letter) {
      words.back() += lower;
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

int CountIn(const std::vector<std::string>& wanted, const std::vector<std::string>& words) {
  int found = 0;
  for (const std::string& word : wanted) {
    // "issue" finds "issues" too.
    found += std::any_of(words.begin(), words.end(),
                         [&](const std::string& one) {
                           return one == word || (word.size() > 3 && one.starts_with(word));
                         })
                 ? 1
                 : 0;
  }
  return found;
}

class FindToolsTool final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& /*context*/) override {
    return ToolError(call, "there are no tools to find here: a session has them");
  }

 private:
  const ToolSpec spec_ = Spec();
};

}  // namespace

std::unique_ptr<Tool> NewFindToolsTool() { return std::make_unique<FindToolsTool>(); }

std::vector<const ToolSpec*> FindTools(const std::vector<ToolSpec>& specs, std::string_view query) {
  const std::vector<std::string> wanted = WordsOf(query);
  std::vector<std::pair<int, size_t>> scores;
  for (size_t i = 0; i < specs.size(); ++i) {
    const int score = kNameWeight * CountIn(wanted, WordsOf(specs[i].name)) +
                      CountIn(wanted, WordsOf(specs[i].description));
    if (score > 0) scores.emplace_back(-score, i);
  }
  std::sort(scores.begin(), scores.end());
  std::vector<const ToolSpec*> found;
  for (const auto& [score, index] : scores) {
    if (found.size() >= kFoundToolsMax) break;
    found.push_back(&specs[index]);
  }
  return found;
}

}  // namespace baleen

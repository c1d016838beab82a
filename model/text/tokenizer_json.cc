#include "model/text/tokenizer_json.h"
#include "tools_sdk/json_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace baleen {
namespace {

using Json = nlohmann::json;

// Far above any real vocabulary; bounds what a hostile file can make us allocate.
constexpr int64_t kIdsMax = int64_t{1} << 22;
constexpr size_t kShownMax = 120;

constexpr std::string_view kDigits = R"(\p{N}{1,3})";
constexpr std::string_view kCjk = "[一-龥぀-ゟ゠-ヿ]+";
constexpr std::string_view kWords =
    R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)re"
    R"re(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

Status Unsupported(std::string_view part, std::string_view expected, const Json& found) {
  return InvalidArgumentError("tokenizer.json: unsupported " + std::string(part) + ": expected " +
                                  std::string(expected) + ", found " + ShownJson(found, kShownMax) +
                                  "; use the tokenizer.json of a DeepSeek-V4 checkpoint",
                              "UNSUPPORTED_TOKENIZER");
}

const Json& Member(const Json& object, const char* name) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto found = object.find(name);
  return found == object.end() ? null : *found;
}

bool Is(const Json& value, std::string_view text) {
  return value.is_string() && value.get_ref<const std::string&>() == text;
}

bool IsFalseOrAbsent(const Json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>());
}

/// The pattern with real CR and LF written as \r and \n: files use either spelling.
std::string EscapedNewlines(const std::string& pattern) {
  std::string text;
  for (const char c : pattern) {
    if (c == '\r') {
      text += "\\r";
    } else if (c == '\n') {
      text += "\\n";
    } else {
      text += c;
    }
  }
  return text;
}

Status CheckSplit(const Json& step, std::string_view pattern) {
  const Json& regex = Member(Member(step, "pattern"), "Regex");
  const bool same = Is(Member(step, "type"), "Split") && regex.is_string() &&
                    EscapedNewlines(regex.get_ref<const std::string&>()) == pattern &&
                    Is(Member(step, "behavior"), "Isolated") &&
                    IsFalseOrAbsent(Member(step, "invert"));
  if (same) return OkStatus();
  return Unsupported("pre_tokenizer step",
                     "an isolated Split on the pattern " + std::string(pattern), step);
}

Status CheckPreTokenizer(const Json& pre_tokenizer) {
  const Json& steps = Member(pre_tokenizer, "pretokenizers");
  if (!Is(Member(pre_tokenizer, "type"), "Sequence") || !steps.is_array() || steps.size() != 4) {
    return Unsupported("pre_tokenizer", "DeepSeek's Sequence of four steps", pre_tokenizer);
  }
  RETURN_IF_ERROR(CheckSplit(steps[0], kDigits));
  RETURN_IF_ERROR(CheckSplit(steps[1], kCjk));
  RETURN_IF_ERROR(CheckSplit(steps[2], kWords));
  const bool byte_level = Is(Member(steps[3], "type"), "ByteLevel") &&
                          IsFalseOrAbsent(Member(steps[3], "add_prefix_space")) &&
                          Member(steps[3], "use_regex") == Json(false);
  if (byte_level) return OkStatus();
  return Unsupported("pre_tokenizer step", "ByteLevel without prefix space and regex", steps[3]);
}

Status CheckPipeline(const Json& root) {
  const Json& normalizer = Member(root, "normalizer");
  const Json& normalizers = Member(normalizer, "normalizers");
  const bool identity =
      Is(Member(normalizer, "type"), "Sequence") && normalizers.is_array() && normalizers.empty();
  if (!normalizer.is_null() && !identity) {
    return Unsupported("normalizer", "none, or an empty Sequence", normalizer);
  }
  RETURN_IF_ERROR(CheckPreTokenizer(Member(root, "pre_tokenizer")));
  const Json& post = Member(root, "post_processor");
  if (!post.is_null() && !Is(Member(post, "type"), "ByteLevel")) {
    return Unsupported("post_processor", "none, or ByteLevel", post);
  }
  const Json& decoder = Member(root, "decoder");
  if (!Is(Member(decoder, "type"), "ByteLevel")) {
    return Unsupported("decoder", "ByteLevel", decoder);
  }
  for (const char* name : {"truncation", "padding"}) {
    if (!Member(root, name).is_null()) return Unsupported(name, "none", Member(root, name));
  }
  return OkStatus();
}

Status CheckModel(const Json& model) {
  // Files from before `type` was written are BPE if they have merges.
  const Json& type = Member(model, "type");
  if (!Is(type, "BPE") && !(type.is_null() && Member(model, "merges").is_array())) {
    return Unsupported("model type", "\"BPE\"", type);
  }
  for (const char* name :
       {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json& value = Member(model, name);
    if (!value.is_null() && !Is(value, "")) {
      return Unsupported("model." + std::string(name), "null", value);
    }
  }
  for (const char* name : {"fuse_unk", "byte_fallback"}) {
    if (!IsFalseOrAbsent(Member(model, name))) {
      return Unsupported("model." + std::string(name), "false", Member(model, name));
    }
  }
  const Json& ignore_merges = Member(model, "ignore_merges");
  if (!ignore_merges.is_null() && !ignore_merges.is_boolean()) {
    return Unsupported("model.ignore_merges", "true or false", ignore_merges);
  }
  if (!Member(model, "vocab").is_object() || !Member(model, "merges").is_array()) {
    return InvalidArgumentError(
        "tokenizer.json: model must have an object `vocab` and an array `merges`");
  }
  return OkStatus();
}

Status PlaceToken(const std::string& text, const Json& id, TokenizerTables* tables) {
  const bool usable = id.is_number_unsigned() && id.get<uint64_t>() < kIdsMax;
  if (!usable || text.empty()) {
    return InvalidArgumentError("tokenizer.json: token \"" + text +
                                "\": expected a non-empty text and an id below " +
                                std::to_string(kIdsMax) + ", found id " + ShownJson(id, kShownMax));
  }
  const auto index = id.get<size_t>();
  if (index >= tables->tokens.size()) {
    tables->tokens.resize(index + 1);
    tables->added.resize(index + 1);
  }
  std::string& slot = tables->tokens[index];
  if (!slot.empty() && slot != text) {
    return InvalidArgumentError("tokenizer.json: id " + std::to_string(index) +
                                " has two tokens: \"" + slot + "\" and \"" + text + "\"");
  }
  slot = text;
  return OkStatus();
}

Status ReadAddedTokens(const Json& added, TokenizerTables* tables) {
  if (added.is_null()) return OkStatus();
  if (!added.is_array()) return Unsupported("added_tokens", "an array", added);
  for (const Json& token : added) {
    const Json& content = Member(token, "content");
    if (!content.is_string()) return Unsupported("added token", "a string `content`", token);
    for (const char* name : {"single_word", "lstrip", "rstrip"}) {
      if (!IsFalseOrAbsent(Member(token, name))) {
        return Unsupported("added token", std::string(name) + " false", token);
      }
    }
    const Json& id = Member(token, "id");
    RETURN_IF_ERROR(PlaceToken(content.get_ref<const std::string&>(), id, tables));
    tables->added[id.get<size_t>()] = true;
  }
  return OkStatus();
}

Status ReadMerges(const Json& merges, TokenizerTables* tables) {
  tables->merges.reserve(merges.size());
  for (const Json& merge : merges) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      tables->merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
        tables->merges.emplace_back(text.substr(0, space), text.substr(space + 1));
        continue;
      }
    }
    return InvalidArgumentError("tokenizer.json: merge " + std::to_string(tables->merges.size()) +
                                ": expected \"left right\" or [\"left\", \"right\"], found " +
                                ShownJson(merge, kShownMax));
  }
  return OkStatus();
}

}  // namespace

Result<TokenizerTables> ReadTokenizerJson(std::string_view json) {
  const Json root = Json::parse(json, nullptr, false);
  if (!root.is_object()) {
    return InvalidArgumentError(
        "tokenizer.json: expected a JSON object; the file isn't valid JSON "
        "or is something else");
  }
  const Json& model = Member(root, "model");
  RETURN_IF_ERROR(CheckModel(model));
  RETURN_IF_ERROR(CheckPipeline(root));
  TokenizerTables tables;
  tables.ignore_merges = !IsFalseOrAbsent(Member(model, "ignore_merges"));
  for (const auto& [text, id] : Member(model, "vocab").items()) {
    RETURN_IF_ERROR(PlaceToken(text, id, &tables));
  }
  RETURN_IF_ERROR(ReadAddedTokens(Member(root, "added_tokens"), &tables));
  RETURN_IF_ERROR(ReadMerges(Member(model, "merges"), &tables));
  return tables;
}

}  // namespace baleen

#include "model/training/corpus/conversation_source.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "tools_sdk/utf8.h"

namespace baleen::training {
namespace {

constexpr int64_t kTokensMin = 64;
constexpr int64_t kTokensMax = 1 << 20;
constexpr int kTriesMax = 64;

std::string KnownTasks() {
  std::string names;
  for (const TaskKind& kind : TaskKinds())
    names += (names.empty() ? "" : ", ") + std::string(kind.name);
  return names;
}

/// Leaves out trailing exchanges until what is left fits; false: not even the first one does.
bool Shorten(int64_t tokens_max, Conversation* conversation, EncodedConversation* encoded) {
  while (!encoded->exchanges.empty() && encoded->exchanges.back().reply_end > tokens_max) {
    encoded->exchanges.pop_back();
  }
  if (encoded->exchanges.empty()) return false;
  conversation->exchanges.resize(encoded->exchanges.size());
  const auto size = static_cast<size_t>(encoded->exchanges.back().reply_end);
  encoded->sample.tokens.resize(size);
  encoded->sample.weights.resize(size);
  return true;
}

/// The tokens that are lower-case letters alone, in the order of their ids.
WordStock StockOf(const Tokenizer& tokenizer) {
  constexpr size_t kSpokenMin = 3;  // Of two letters there are more suffixes than words.
  WordStock stock;
  for (int64_t id = 0; id < tokenizer.vocab(); ++id) {
    std::string_view bytes = tokenizer.TokenBytes(static_cast<int32_t>(id));
    const bool spaced = bytes.starts_with(' ');
    if (spaced) bytes.remove_prefix(1);
    const bool letters =
        std::all_of(bytes.begin(), bytes.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    if (letters && !bytes.empty()) stock.pieces.emplace_back(bytes);
    if (letters && spaced && bytes.size() >= kSpokenMin) stock.spoken.emplace_back(bytes);
  }
  return stock;
}

}  // namespace

Status ConversationOptions::Validate() const {
  if (tokens_max < kTokensMin || tokens_max > kTokensMax) {
    return InvalidArgumentError("conversations: tokens_max: expected " +
                                std::to_string(kTokensMin) + " to " + std::to_string(kTokensMax) +
                                ", got " + std::to_string(tokens_max));
  }
  for (const auto& [name, share] : shares) {
    const auto kinds = TaskKinds();
    const bool known = std::any_of(kinds.begin(), kinds.end(),
                                   [&](const TaskKind& kind) { return kind.name == name; });
    if (!known) {
      return InvalidArgumentError("conversations: shares: unknown task \"" + name +
                                  "\"; expected one of " + KnownTasks());
    }
    if (!(share >= 0 && share <= 1e6)) {
      return InvalidArgumentError("conversations: shares: \"" + name + "\": expected 0 to 1000000");
    }
  }
  if (!(pieced_words >= 0 && pieced_words <= 1)) {
    return InvalidArgumentError("conversations: pieced_words: expected 0 to 1");
  }
  if (!(varied >= 0 && varied <= 1)) {
    return InvalidArgumentError("conversations: varied: expected 0 to 1");
  }
  for (const float weight : {weights.assistant, weights.other}) {
    if (!(weight >= 0 && weight <= 1000)) {
      return InvalidArgumentError("conversations: loss weights: expected 0 to 1000");
    }
  }
  return OkStatus();
}

std::vector<std::string> ParagraphsOf(const std::string& text) {
  constexpr size_t kBytesMin = 80;
  constexpr size_t kBytesMax = 1500;
  std::vector<std::string> paragraphs;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find("\n\n", at);
    if (end == std::string::npos) end = text.size();
    const std::string_view paragraph(text.data() + at, end - at);
    if (paragraph.size() >= kBytesMin && paragraph.size() <= kBytesMax &&
        Utf8ValidPrefix(paragraph) == paragraph.size()) {
      paragraphs.emplace_back(paragraph);
    }
    at = end + 2;
  }
  return paragraphs;
}

Result<std::unique_ptr<ConversationSource>> ConversationSource::Open(
    const ConversationOptions& options) {
  RETURN_IF_ERROR(options.Validate());
  std::unique_ptr<ConversationSource> source(new ConversationSource());
  source->options_ = options;
  ASSIGN_OR_RETURN(source->tokenizer_, Tokenizer::Load(options.tokenizer));
  ASSIGN_OR_RETURN(SessionEncoder encoder,
                   SessionEncoder::Create(*source->tokenizer_, ChatDialect::k0731));
  source->encoder_ = std::make_unique<SessionEncoder>(std::move(encoder));
  if (options.pieced_words > 0 || options.varied > 0) {
    source->stock_ = std::make_unique<WordStock>(StockOf(*source->tokenizer_));
    source->stock_->pieced_share = options.pieced_words;
    source->stock_->varied = options.varied;
    if (options.pieced_words > 0 && source->stock_->pieces.empty()) {
      return InvalidArgumentError(
          "conversations: pieced_words: the tokenizer has no token of "
          "lower-case letters");
    }
  }
  for (const std::string& path : options.texts) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return NotFoundError("conversations: texts: '" + path + "' can't be opened");
    std::ostringstream content;
    content << file.rdbuf();
    for (std::string& paragraph : ParagraphsOf(content.str()))
      source->texts_.push_back(std::move(paragraph));
  }
  uint64_t hash = 0xCBF29CE484222325ULL;
  for (const std::string& text : source->texts_) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  double total = 0;
  source->identity_ =
      "conversations/2 seed=" + std::to_string(options.seed) +
      " split=" + SplitName(options.split) + " tokens_max=" + std::to_string(options.tokens_max) +
      " tokenizer=" + source->tokenizer_->digest() + " texts=" + std::to_string(hash) +
      " weights=" + std::to_string(options.weights.assistant) + "," +
      std::to_string(options.weights.other);
  if (options.pieced_words > 0) {
    source->identity_ += " pieced_words=" + std::to_string(options.pieced_words);
  }
  if (options.varied > 0) source->identity_ += " varied=" + std::to_string(options.varied);
  for (const TaskKind& kind : TaskKinds()) {
    const auto stated = options.shares.find(std::string(kind.name));
    double share = kind.share;
    if (!options.shares.empty()) share = stated == options.shares.end() ? 0 : stated->second;
    if (share <= 0 || kind.tokens_min > options.tokens_max) continue;
    source->kinds_.emplace_back(&kind, share);
    source->identity_ += " " + std::string(kind.name) + "=" + std::to_string(share);
    total += share;
  }
  if (source->kinds_.empty()) {
    return InvalidArgumentError("conversations: no task with a share fits into tokens_max " +
                                std::to_string(options.tokens_max));
  }
  for (auto& [kind, share] : source->kinds_) share /= total;
  return source;
}

const TaskKind& ConversationSource::Choose(Draw& draw) const {
  double rest = static_cast<double>(draw.Below(1 << 30)) / (1 << 30);
  for (const auto& [kind, share] : kinds_) {
    rest -= share;
    if (rest < 0) return *kind;
  }
  return *kinds_.back().first;
}

Result<Conversation> ConversationSource::NextConversation(EncodedConversation* encoded) {
  TaskSetting setting;
  setting.tokens_max = options_.tokens_max;
  setting.tokenizer = tokenizer_.get();
  setting.texts = texts_;
  // One kind for all tries: else the longer kinds would come less often than their share.
  Draw choice(options_.seed, position_, options_.split);
  const TaskKind& kind = Choose(choice);
  for (int tries = 0; tries < kTriesMax; ++tries) {
    Draw draw(options_.seed + static_cast<uint64_t>(tries) * 0x9E37U, position_ * 2 + 1,
              options_.split, stock_.get());
    Conversation conversation = kind.make(draw, setting);
    ASSIGN_OR_RETURN(*encoded,
                     EncodeConversation(conversation, *encoder_, *tokenizer_, options_.weights));
    const bool fits = static_cast<int64_t>(encoded->sample.tokens.size()) <= options_.tokens_max;
    if (fits || Shorten(options_.tokens_max, &conversation, encoded)) {
      ++position_;
      return conversation;
    }
  }
  return InternalError("conversations: sample " + std::to_string(position_) + " (" +
                       std::string(kind.name) + ") doesn't fit into " +
                       std::to_string(options_.tokens_max) + " tokens");
}

Result<Sample> ConversationSource::Next() {
  EncodedConversation encoded;
  ASSIGN_OR_RETURN(const Conversation conversation, NextConversation(&encoded));
  return std::move(encoded.sample);
}

Status ConversationSource::Seek(uint64_t position) {
  position_ = position;
  return OkStatus();
}

}  // namespace baleen::training

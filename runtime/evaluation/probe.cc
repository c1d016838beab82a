#include "runtime/evaluation/probe.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "model/constraint/chat_grammar.h"
#include "model/constraint/token_constraint.h"
#include "model/sampler.h"
#include "model/text/chat_parser.h"
#include "model/text/tokenizer.h"
#include "runtime/evaluation/score.h"

namespace baleen::evaluation {
namespace {

/// As the runtime: what a model writes behind its calls is never read.
constexpr std::string_view kCallsEnd = "</\uFF5CDSML\uFF5Ctool_calls>";
constexpr int64_t kChunkTokens = 512;

}  // namespace

Result<std::unique_ptr<Probe>> Probe::Create(Model& model, const ProbeOptions& options) {
  if (model.tokenizer() == nullptr) {
    return FailedPreconditionError("eval: the model has no tokenizer.json");
  }
  const ChatDialect stated = model.config().dialect;
  ASSIGN_OR_RETURN(
      SessionEncoder encoder,
      SessionEncoder::Create(*model.tokenizer(),
                             stated == ChatDialect::kUnknown ? ChatDialect::k0731 : stated));
  std::unique_ptr<Probe> probe(new Probe(model, options, std::move(encoder)));
  if (options.constrained) {
    probe->trie_ = std::make_unique<VocabularyTrie>(*model.tokenizer(), model.config().vocab);
  }
  return probe;
}

Result<Message> Probe::Generate(KvCache cache, std::vector<float> logits,
                                const std::vector<ToolSpec>& tools, std::string* written) {
  std::unique_ptr<TokenConstraint> constraint;
  if (trie_ != nullptr) {
    ChatShape shape;
    shape.tools = tools;
    ASSIGN_OR_RETURN(auto grammar, CompileChat(shape));
    ConstraintParts parts;
    parts.grammar = std::move(grammar);
    parts.tokenizer = model_.tokenizer();
    parts.trie = trie_.get();
    parts.ids = encoder_.ids();
    constraint = std::make_unique<TokenConstraint>(parts);
  }
  SamplingOptions greedy;
  greedy.temperature = 0;
  StreamingDetokenizer detokenizer(*model_.tokenizer());
  std::string& text = *written;
  for (int64_t count = 0; count < options_.reply_tokens_max; ++count) {
    const int32_t id = SampleToken(logits, greedy, cache.tokens(),
                                   constraint == nullptr ? nullptr : &constraint->Mask());
    text += detokenizer.Push(id);
    if (id == encoder_.ids().eos) return ParseCompletion(text, ThinkingMode::kChat);
    if (!tools.empty() && text.ends_with(kCallsEnd)) {
      text += model_.tokenizer()->TokenBytes(encoder_.ids().eos);
      return ParseCompletion(text, ThinkingMode::kChat);
    }
    if (constraint != nullptr) constraint->Accept(id);
    RETURN_IF_ERROR(model_.Forward(cache, std::span(&id, 1), LogitsWanted::kLast, &logits));
  }
  return InvalidArgumentError("the reply doesn't end");
}

Result<std::vector<ReplyOutcome>> Probe::Run(const training::Conversation& conversation) {
  ASSIGN_OR_RETURN(const training::EncodedConversation encoded,
                   training::EncodeConversation(conversation, encoder_, *model_.tokenizer(), {}));
  const std::span<const int32_t> tokens = encoded.sample.tokens;
  KvCache cache = model_.NewCache();
  std::vector<float> logits;
  std::vector<ReplyOutcome> outcomes;
  for (size_t i = 0; i < encoded.exchanges.size(); ++i) {
    const training::Exchange& exchange = conversation.exchanges[i];
    if (exchange.skill == training::Skill::kNone) continue;
    while (cache.tokens() < encoded.exchanges[i].reply_begin) {
      const int64_t count =
          std::min(kChunkTokens, encoded.exchanges[i].reply_begin - cache.tokens());
      RETURN_IF_ERROR(model_.Forward(
          cache, tokens.subspan(static_cast<size_t>(cache.tokens()), static_cast<size_t>(count)),
          LogitsWanted::kLast, &logits));
    }
    ReplyOutcome outcome;
    outcome.skill = exchange.skill;
    std::string text;
    Result<Message> got = Generate(cache.Fork(), logits, conversation.tools, &text);
    if (got.ok()) {
      outcome.got = std::move(got).value();
      outcome.correct = SameReply(exchange.reply, outcome.got);
    } else if (got.status().code() != StatusCode::kInvalidArgument) {
      return std::move(got).status();
    }
    if (!outcome.correct && options_.on_wrong) options_.on_wrong({exchange, text});
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

Status Probe::AddLoss(KvCache& cache, std::span<const int32_t> tokens, int64_t skip,
                      LogLoss* loss) {
  // Position t predicts token t + 1; those before `skip` aren't asked for.
  std::vector<float> logits;
  const int64_t vocab = model_.config().vocab;
  for (size_t at = 0; at + 1 < tokens.size();) {
    const size_t count = std::min<size_t>(kChunkTokens, tokens.size() - 1 - at);
    RETURN_IF_ERROR(model_.Forward(cache, tokens.subspan(at, count), LogitsWanted::kAll, &logits));
    for (size_t t = 0; t < count; ++t) {
      if (static_cast<int64_t>(at + t) + 1 < skip) continue;
      const std::span<const float> row(logits.data() + t * static_cast<size_t>(vocab),
                                       static_cast<size_t>(vocab));
      const double most = *std::max_element(row.begin(), row.end());
      double sum = 0;
      for (const float logit : row) sum += std::exp(static_cast<double>(logit) - most);
      const auto target = static_cast<size_t>(tokens[at + t + 1]);
      loss->sum += most + std::log(sum) - static_cast<double>(row[target]);
      ++loss->tokens;
    }
    at += count;
  }
  return OkStatus();
}

Result<LogLoss> Probe::ReplyLoss(const training::Conversation& conversation) {
  ASSIGN_OR_RETURN(const training::EncodedConversation encoded,
                   training::EncodeConversation(conversation, encoder_, *model_.tokenizer(), {}));
  LogLoss loss;
  if (encoded.exchanges.empty()) return loss;
  // The last reply: what came before is its context.
  const training::EncodedExchange& last = encoded.exchanges.back();
  KvCache cache = model_.NewCache();
  RETURN_IF_ERROR(AddLoss(
      cache,
      std::span<const int32_t>(encoded.sample.tokens).first(static_cast<size_t>(last.reply_end)),
      last.reply_begin, &loss));
  return loss;
}

Result<LogLoss> Probe::TextLoss(const std::string& text) {
  ASSIGN_OR_RETURN(std::vector<int32_t> tokens, model_.tokenizer()->Encode(text, TextTrust::kData));
  tokens.insert(tokens.begin(), encoder_.ids().bos);
  LogLoss loss;
  KvCache cache = model_.NewCache();
  RETURN_IF_ERROR(AddLoss(cache, tokens, 1, &loss));
  return loss;
}

}  // namespace baleen::evaluation

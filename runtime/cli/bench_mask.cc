// `baleen bench mask`: what keeping a call to its grammar costs, beside the decode step that it
// belongs to, token by token in one run.
#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "model/constraint/chat_grammar.h"
#include "model/constraint/token_constraint.h"
#include "model/model.h"
#include "model/sampler.h"
#include "model/text/tokenizer.h"
#include "runtime/cli/bench_measure.h"
#include "runtime/cli/flags.h"
#include "tools_sdk/builtin/builtin.h"

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr double kMaskBar = 0.05;

struct MaskFlags {
  std::string model;
  int64_t tokens = 2000;
  bool json = false;
};

/// A schema with every kind of value, nested.
constexpr char kRichSchema[] = R"({"type":"object","properties":{
    "title":{"type":"string","minLength":1,"maxLength":60},
    "kind":{"enum":["bug","feature","question"]},
    "lines":{"type":"array","items":{"type":"integer","minimum":1,"maximum":100000},"maxItems":8},
    "where":{"type":"object","properties":{"path":{"type":"string","maxLength":80},
    "weight":{"type":"number"},"owner":{"anyOf":[{"type":"null"},{"type":"string","maxLength":20}]}},
    "required":["path"],"additionalProperties":false},
    "done":{"type":"boolean"}},"required":["title","kind","where"],"additionalProperties":false})";

struct Costs {
  double forward_us = 0;   ///< The forward passes.
  double sample_us = 0;    ///< Sampling without a mask, from the same logits.
  double masked_us = 0;    ///< Sampling with the mask.
  double mask_us = 0;      ///< Making the masks and taking the tokens.
  double compile_us = 0;   ///< Compiling grammars and setting up.
  double mask_us_max = 0;  ///< The slowest mask.
  int64_t tokens = 0;
  int64_t generations = 0;
};

/// One generation, as the engine runs it.
Status Generate(Model& model, const ConstraintParts& parts, uint64_t seed, int64_t tokens_max,
                Costs* costs) {
  auto start = Clock::now();
  TokenConstraint constraint(parts);
  costs->compile_us += UsSince(start);
  KvCache cache = model.NewCache();
  SamplingOptions options;
  options.seed = seed;
  std::vector<float> logits;
  int32_t last = parts.ids.assistant;
  while (!constraint.Complete() && costs->tokens < tokens_max) {
    start = Clock::now();
    RETURN_IF_ERROR(model.Forward(cache, std::span(&last, 1), LogitsWanted::kLast, &logits));
    costs->forward_us += UsSince(start);
    start = Clock::now();
    static_cast<void>(SampleToken(logits, options, cache.tokens()));
    costs->sample_us += UsSince(start);
    start = Clock::now();
    const TokenMask& mask = constraint.Mask();
    const double made_us = UsSince(start);
    start = Clock::now();
    last = SampleToken(logits, options, cache.tokens(), &mask);
    costs->masked_us += UsSince(start);
    start = Clock::now();
    if (!constraint.Accept(last)) return InternalError("a token of the mask was refused");
    costs->mask_us += made_us + UsSince(start);
    costs->mask_us_max = std::max(costs->mask_us_max, made_us);
    ++costs->tokens;
  }
  ++costs->generations;
  return OkStatus();
}

Result<Json> BenchMask(const MaskFlags& flags) {
  ASSIGN_OR_RETURN(const std::string folder, ModelOrDefault(flags.model));
  ASSIGN_OR_RETURN(const auto model, Model::Open(folder, ModelOptions{}));
  if (model->tokenizer() == nullptr) {
    return NotFoundError("'" + folder + "' has no tokenizer.json");
  }
  ChatShape shape;
  for (const auto& tool : MakeBuiltinTools()) shape.tools.push_back(tool->spec());
  shape.tools.push_back({});
  shape.tools.back().name = "report";
  shape.tools.back().parameters = kRichSchema;
  shape.choice = ToolChoice::kRequired;
  const VocabularyTrie trie(*model->tokenizer(), model->config().vocab);
  ConstraintParts parts;
  ASSIGN_OR_RETURN(parts.ids, ControlIds::Lookup(*model->tokenizer()));
  parts.tokenizer = model->tokenizer();
  parts.trie = &trie;
  Costs costs;
  for (uint64_t seed = 1; costs.tokens < flags.tokens; ++seed) {
    const auto start = Clock::now();
    ASSIGN_OR_RETURN(parts.grammar, CompileChat(shape));
    costs.compile_us += UsSince(start);
    RETURN_IF_ERROR(Generate(*model, parts, seed, flags.tokens, &costs));
  }
  const auto tokens = static_cast<double>(costs.tokens);
  const double step = (costs.forward_us + costs.sample_us) / tokens;
  const double added =
      (costs.mask_us + costs.masked_us + costs.compile_us - costs.sample_us) / tokens;
  return Json{{"bench", "mask"},
              {"vocab", model->config().vocab},
              {"tokens", costs.tokens},
              {"generations", costs.generations},
              {"decode_step_us", step},
              {"forward_us", costs.forward_us / tokens},
              {"sample_us", costs.sample_us / tokens},
              {"masked_sample_us", costs.masked_us / tokens},
              {"mask_us", costs.mask_us / tokens},
              {"mask_us_max", costs.mask_us_max},
              {"compile_us", costs.compile_us / tokens},
              {"added_us", added},
              {"added_share", added / step},
              {"bar", kMaskBar}};
}

int RunMask(const MaskFlags& flags) {
  const auto result = BenchMask(flags);
  if (!result.ok()) return Fail(result.status(), flags.json);
  if (flags.json) {
    std::cout << result->dump(2) << "\n";
    return kExitOk;
  }
  const auto value = [&](const char* name) { return (*result)[name].get<double>(); };
  std::printf(
      "%lld constrained tokens in %lld generations, vocabulary of %lld\n"
      "decode step without a mask: %.1f us (forward %.1f, sampling %.1f)\n"
      "with it: mask %.1f us (slowest %.1f), sampling %.1f, setting up %.1f\n"
      "added: %.1f us per token, %.1f %% of the step; bar 5 %%: %s\n",
      (*result)["tokens"].get<long long>(), (*result)["generations"].get<long long>(),
      (*result)["vocab"].get<long long>(), value("decode_step_us"), value("forward_us"),
      value("sample_us"), value("mask_us"), value("mask_us_max"), value("masked_sample_us"),
      value("compile_us"), value("added_us"), value("added_share") * 100,
      value("added_share") <= kMaskBar ? "met" : "missed");
  return kExitOk;
}

}  // namespace

void AddBenchMask(CLI::App& bench, int* exit_code) {
  auto flags = std::make_shared<MaskFlags>();  // owners: the callback
  CLI::App* mask =
      bench.add_subcommand("mask", "Keeping tool calls to their grammar, beside the decode step");
  mask->add_option("--model", flags->model, kModelHelp);
  mask->add_option("--tokens", flags->tokens, "Constrained tokens to sample")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  mask->add_flag("--json", flags->json);
  mask->callback([flags, exit_code] { *exit_code = RunMask(*flags); });
}

}  // namespace baleen::cli

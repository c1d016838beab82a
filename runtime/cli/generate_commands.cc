// `baleen generate` and `baleen logits`: the model alone, without sessions.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "model/constraint/chat_grammar.h"
#include "model/constraint/token_constraint.h"
#include "model/model.h"
#include "model/sampler.h"
#include "model/text/tokenizer.h"
#include "runtime/cli/flags.h"
#include "runtime/cli/npy.h"

namespace baleen::cli {
namespace {

struct ModelFlags {
  std::string path;
  std::string mode = "native";
  std::string backend = "cpu";
  int threads = 0;
  bool no_mmap = false;

  void AddTo(CLI::App& app) {
    app.add_option("--model", path, kModelHelp);
    app.add_option("--mode", mode, "native, or pure (no quantisation round trips)")
        ->check(CLI::IsMember({"native", "pure"}))
        ->capture_default_str();
    app.add_option("--backend", backend, "cpu, or ref (slow and obvious)")
        ->check(CLI::IsMember({"cpu", "ref"}))
        ->capture_default_str();
    app.add_option("--threads", threads, "0: one per core");
    app.add_flag("--no-mmap", no_mmap, "Read the weights instead of mapping the files");
  }

  Result<std::unique_ptr<Model>> Open() const {
    ModelOptions options;
    options.mode = mode == "pure" ? NumericMode::kPure : NumericMode::kNative;
    options.backend = backend;
    options.threads = threads;
    options.access = no_mmap ? WeightAccess::kRead : WeightAccess::kMapped;
    ASSIGN_OR_RETURN(const std::string folder, ModelOrDefault(path));
    return Model::Open(folder, options);
  }
};

struct GenerateFlags {
  ModelFlags model;
  SamplingFlags sampling;
  std::string prompt;
  std::string answer_schema;
  bool json = false;
};

/// Keeps a continuation to one JSON value. Owners of the parts: the caller.
Result<std::unique_ptr<TokenConstraint>> MakeConstraint(const std::string& schema_file,
                                                        const Model& model,
                                                        const VocabularyTrie& trie) {
  ASSIGN_OR_RETURN(const std::string schema, ReadTextFile(schema_file));
  ChatShape shape;
  shape.answer_schema = schema;
  ConstraintParts parts;
  ASSIGN_OR_RETURN(parts.grammar, CompileChat(shape));
  ASSIGN_OR_RETURN(parts.ids, ControlIds::Lookup(*model.tokenizer()));
  parts.tokenizer = model.tokenizer();
  parts.trie = &trie;
  return std::make_unique<TokenConstraint>(parts);
}

int Generate(const GenerateFlags& flags) {
  auto model = flags.model.Open();
  if (!model.ok()) return Fail(model.status(), flags.json);
  const Tokenizer* tokenizer = (*model)->tokenizer();
  if (tokenizer == nullptr) {
    return Fail(NotFoundError("'" + flags.model.path + "' has no tokenizer.json"), flags.json);
  }
  std::string prompt = flags.prompt;
  if (prompt.empty()) prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  auto ids = tokenizer->Encode(prompt, TextTrust::kTrusted);
  if (!ids.ok()) return Fail(ids.status(), flags.json);
  ids->insert(ids->begin(), static_cast<int32_t>((*model)->config().bos_id));

  SamplingOptions sampling;
  sampling.temperature = flags.sampling.sampling.temperature;
  sampling.top_p = flags.sampling.sampling.top_p;
  sampling.min_p = flags.sampling.sampling.min_p;
  sampling.top_k = flags.sampling.sampling.top_k;
  sampling.seed = flags.sampling.sampling.seed;
  if (Status status = sampling.Validate(); !status.ok()) return Fail(status, flags.json);
  std::optional<VocabularyTrie> trie;
  std::unique_ptr<TokenConstraint> constraint;
  if (!flags.answer_schema.empty()) {
    trie.emplace(*tokenizer, (*model)->config().vocab);
    auto made = MakeConstraint(flags.answer_schema, **model, *trie);
    if (!made.ok()) return Fail(made.status(), flags.json);
    constraint = std::move(made).value();
  }
  KvCache cache = (*model)->NewCache();
  StreamingDetokenizer text(*tokenizer);
  std::vector<float> logits;
  std::vector<int32_t> generated;
  std::span<const int32_t> next(*ids);
  while (static_cast<int64_t>(generated.size()) < flags.sampling.tokens_max) {
    if (Status status = (*model)->Forward(cache, next, LogitsWanted::kLast, &logits);
        !status.ok()) {
      return Fail(status, flags.json);
    }
    const TokenMask* mask = constraint == nullptr ? nullptr : &constraint->Mask();
    generated.push_back(SampleToken(logits, sampling, cache.tokens(), mask));
    if (constraint != nullptr && !constraint->Accept(generated.back())) {
      return Fail(FailedPreconditionError("no token can follow under the schema"), flags.json);
    }
    if (generated.back() == (*model)->config().eos_id) break;
    if (!flags.json) std::cout << text.Push(generated.back()) << std::flush;
    next = std::span<const int32_t>(&generated.back(), 1);
  }
  if (!flags.json) {
    std::cout << text.Finish() << "\n";
    return kExitOk;
  }
  auto decoded = tokenizer->Decode(generated);
  if (!decoded.ok()) return Fail(decoded.status(), flags.json);
  std::cout << nlohmann::json{{"ids", generated}, {"text", *decoded}}.dump() << "\n";
  return kExitOk;
}

struct LogitsFlags {
  ModelFlags model;
  std::string tokens;
  std::string out;
  int64_t chunk = 512;
  bool json = false;
};

Result<std::vector<int32_t>> ReadIds(const std::string& path) {
  std::ifstream file(path);
  if (!file) return NotFoundError("can't open '" + path + "'");
  const auto json = nlohmann::json::parse(file, nullptr, false);
  if (!json.is_array()) {
    return InvalidArgumentError("'" + path + "': expected a JSON array of token ids");
  }
  std::vector<int32_t> ids;
  for (const auto& id : json) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX) {
      return InvalidArgumentError("'" + path + "': element " + std::to_string(ids.size()) +
                                  " is not a token id: " + id.dump());
    }
    ids.push_back(id.get<int32_t>());
  }
  if (ids.empty()) return InvalidArgumentError("'" + path + "': no token ids");
  return ids;
}

Status ComputeLogits(const LogitsFlags& flags) {
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadIds(flags.tokens));
  ASSIGN_OR_RETURN(const auto model, flags.model.Open());
  const auto rows = static_cast<int64_t>(ids.size());
  ASSIGN_OR_RETURN(NpyWriter out, NpyWriter::Create(flags.out, rows, model->config().vocab));
  KvCache cache = model->NewCache();
  std::vector<float> logits;
  const bool progress = isatty(STDERR_FILENO) != 0;
  const auto start = std::chrono::steady_clock::now();
  for (int64_t at = 0; at < rows; at += flags.chunk) {
    const auto count = static_cast<size_t>(std::min(flags.chunk, rows - at));
    RETURN_IF_ERROR(
        model->Forward(cache, std::span<const int32_t>(ids).subspan(static_cast<size_t>(at), count),
                       LogitsWanted::kAll, &logits));
    out.Write(logits);
    if (progress) {
      const double seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      std::fprintf(stderr, "\r%lld/%lld tokens, %.0f/s", static_cast<long long>(cache.tokens()),
                   static_cast<long long>(rows), static_cast<double>(cache.tokens()) / seconds);
    }
  }
  if (progress) std::fputs("\n", stderr);
  return out.Close();
}

}  // namespace

void AddGenerate(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<GenerateFlags>();  // owners: the callback below
  CLI::App* command = app.add_subcommand("generate", "Continue a text; no chat format, no session");
  flags->model.AddTo(*command);
  flags->sampling.AddTo(*command);
  command->add_option("--prompt", flags->prompt, "Text to continue; default: standard input");
  command->add_option("--answer-schema", flags->answer_schema,
                      "JSON Schema file; the continuation is then one JSON value that it allows");
  command->add_flag("--json", flags->json, "Ids and text as JSON");
  command->callback([flags, exit_code] { *exit_code = Generate(*flags); });
}

void AddLogits(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<LogitsFlags>();  // owners: the callback below
  CLI::App* command = app.add_subcommand("logits", "Teacher-forced logits of token ids, as .npy");
  flags->model.AddTo(*command);
  command->add_option("--tokens", flags->tokens, "JSON array of token ids")->required();
  command->add_option("--out", flags->out, ".npy file, fp32 [tokens, vocab]")->required();
  command
      ->add_option("--chunk", flags->chunk,
                   "Tokens per forward pass; any value gives the same bits")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command->add_flag("--json", flags->json, "Errors as JSON");
  command->callback([flags, exit_code] {
    const Status status = ComputeLogits(*flags);
    *exit_code = status.ok() ? kExitOk : Fail(status, flags->json);
  });
}

}  // namespace baleen::cli

// An evaluation of a tiny random model: it runs, is reproducible, and counts what was written.
#include "runtime/evaluation/evaluation.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/write_checkpoint.h"
#include "model/random_weights.h"
#include "model/text/tokenizer.h"
#include "model/training/corpus/conversation_source.h"
#include "model/training/corpus/tasks.h"
#include "model/training/graph.h"
#include "model/training/sample_packer.h"
#include "tests/testing/temp_directory.h"
#include "tests/testing/test_paths.h"

namespace baleen::evaluation {
namespace {

/// Random weights of a model that likes to end: the head's row of EOS is three times as long, or
/// the only one that isn't zero.
class EndingWeights final : public WeightSource {
 public:
  EndingWeights(const ModelConfig& config, uint64_t seed, bool nothing_else)
      : random_(config, seed, RandomStorage::kFloat32) {
    head_ = *random_.Find("head.weight");
    bytes_.assign(head_.bytes.begin(), head_.bytes.end());
    const auto row = static_cast<size_t>(config.hidden) * sizeof(float);
    if (nothing_else) {
      std::fill(bytes_.begin() + static_cast<int64_t>(2 * row), bytes_.end(), std::byte{0});
    }
    for (size_t at = row; at < 2 * row; at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, bytes_.data() + at, sizeof(value));
      value *= 3;
      std::memcpy(bytes_.data() + at, &value, sizeof(value));
    }
    head_.bytes = bytes_;
  }
  const ModelConfig& config() const override { return random_.config(); }
  std::vector<std::string> Names() const override { return random_.Names(); }
  Result<TensorView> Find(std::string_view name) const override {
    if (name == "head.weight") return head_;
    return random_.Find(name);
  }

 private:
  RandomWeights random_;
  TensorView head_;
  std::vector<std::byte> bytes_;
};

/// A checkpoint of three layers with Krill's tokenizer.
std::string WriteModel(const std::string& path, int64_t draft_blocks, bool ends_only) {
  ModelConfig config = TinyConfig(2048);
  config.layers = 3;
  config.layer_kinds.resize(3);
  config.mtp_layers = draft_blocks;
  const Status written = WriteCheckpoint(EndingWeights(config, 5, ends_only), path, {});
  INFO(written.ToString());
  REQUIRE(written.ok());
  std::filesystem::copy_file(std::string(kSourceDir) + "/model/krill/tokenizer.json",
                             path + "/tokenizer.json");
  return path;
}

/// Without a draft block; written once.
const std::string& ModelFolder() {
  static const TempDirectory folder;
  static const std::string path = WriteModel(folder.File("model"), 0, false);
  return path;
}

Model& TestModel() {
  static const std::unique_ptr<Model> model = [] {
    ModelOptions options;
    options.threads = 1;  // Rows this small only wait for each other.
    auto opened = Model::Open(ModelFolder(), options);
    INFO(opened.status().ToString());
    REQUIRE(opened.ok());
    return std::move(opened).value();
  }();
  return *model;
}

EvaluationOptions SmallOptions(const std::string& scratch) {
  EvaluationOptions options;
  options.count = 2;
  options.threads = 1;
  options.needle_tokens = {100};
  options.probe.reply_tokens_max = 12;
  options.model_path = ModelFolder();
  options.scratch = scratch;
  return options;
}

TEST_CASE("A reply counts as right exactly when it is what the model writes", "[evaluation]") {
  ProbeOptions probe_options;
  probe_options.reply_tokens_max = 60;
  std::vector<std::string> wrong;
  probe_options.on_wrong = [&wrong](const WrongReply& reply) { wrong.push_back(reply.text); };
  auto probe = Probe::Create(TestModel(), probe_options);
  REQUIRE(probe.ok());
  training::TaskSetting setting;
  setting.tokenizer = TestModel().tokenizer();
  setting.tokens_max = 400;
  int checked = 0;
  for (uint64_t i = 0; i < 60 && checked < 3; ++i) {
    training::Draw draw(1, i, training::Split::kEvaluation);
    training::Conversation conversation = training::KeyValueTask(draw, setting);
    conversation.exchanges.resize(1);
    auto outcomes = (*probe)->Run(conversation);
    REQUIRE(outcomes.ok());
    REQUIRE(outcomes->size() == 1);
    CHECK_FALSE((*outcomes)[0].correct);  // random weights don't know the answer
    const std::string written = (*outcomes)[0].got.content;
    if (written.find_first_not_of(" \t\r\n") == std::string::npos) continue;
    ++checked;
    INFO(written);
    conversation.exchanges[0].reply.content = written;
    REQUIRE(!wrong.empty());
    CHECK(wrong.back().find(written) != std::string::npos);
    const size_t before = wrong.size();
    CHECK((*probe)->Run(conversation).value()[0].correct);
    CHECK(wrong.size() == before);
    conversation.exchanges[0].reply.content = written + "x";
    CHECK_FALSE((*probe)->Run(conversation).value()[0].correct);
  }
  CHECK(checked == 3);
}

TEST_CASE("The loss of replies agrees with the logits of one whole pass", "[evaluation]") {
  auto probe = Probe::Create(TestModel(), {});
  REQUIRE(probe.ok());
  training::TaskSetting setting;
  setting.tokenizer = TestModel().tokenizer();
  training::Draw draw(3, 1, training::Split::kEvaluation);
  training::Conversation conversation = training::CopyTask(draw, setting);
  const LogLoss loss = (*probe)->ReplyLoss(conversation).value();
  const SessionEncoder encoder =
      SessionEncoder::Create(*TestModel().tokenizer(), ChatDialect::k0731).value();
  const auto encoded =
      training::EncodeConversation(conversation, encoder, *TestModel().tokenizer(), {}).value();
  KvCache cache = TestModel().NewCache();
  std::vector<float> logits;
  REQUIRE(TestModel().Forward(cache, encoded.sample.tokens, LogitsWanted::kAll, &logits).ok());
  double sum = 0;
  const auto [begin, end] = encoded.exchanges[0];
  for (int64_t t = begin; t < end; ++t) {
    double total = 0;
    const float* row = logits.data() + (t - 1) * 2048;
    for (int v = 0; v < 2048; ++v) total += std::exp(static_cast<double>(row[v]));
    sum += std::log(total) - row[encoded.sample.tokens[static_cast<size_t>(t)]];
  }
  CHECK(loss.tokens == end - begin);
  CHECK(loss.sum == Approx(sum).epsilon(1e-9));
}

TEST_CASE("Constrained replies name only tools that are there", "[evaluation]") {
  ProbeOptions options;
  options.constrained = true;
  options.reply_tokens_max = 40;
  auto probe = Probe::Create(TestModel(), options);
  REQUIRE(probe.ok());
  training::TaskSetting setting;
  setting.tokenizer = TestModel().tokenizer();
  for (uint64_t i = 0; i < 3; ++i) {
    training::Draw draw(8, i, training::Split::kEvaluation);
    training::ToolTaskOptions shape;
    shape.requests = 1;
    const auto outcomes = (*probe)->Run(training::ToolTask(draw, setting, shape));
    INFO(outcomes.status().ToString());
    REQUIRE(outcomes.ok());
    CHECK(!outcomes->empty());
  }
}

TEST_CASE("Every task runs on a random model, and its rows follow from the seed", "[evaluation]") {
  const TempDirectory one;
  const TempDirectory other;
  EvaluationOptions options = SmallOptions(one.path());
  options.texts = {std::string(kSourceDir) + "/ARCHITECTURE.md",
                   std::string(kSourceDir) + "/model/training/corpus/README.md"};
  int steps = 0;
  const auto rows = Evaluate(TestModel(), options, [&](const Row&, int64_t) { ++steps; });
  INFO(rows.status().ToString());
  REQUIRE(rows.ok());
  // calls 5, chains 1, answers 1, refusals 2, lookups 2, needles 5, perplexity 2, agent 3.
  REQUIRE(rows->size() == 21);
  CHECK(steps > 40);
  for (const Row& row : *rows) {
    INFO(row.task << "/" << row.variant);
    CHECK(row.total >= 2);
    CHECK(row.correct == 0);
    if (!row.is_share()) CHECK(row.perplexity > 10);
  }
  options.scratch = other.path();
  options.tasks = {"perplexity"};
  options.texts.clear();
  const auto again = Evaluate(TestModel(), options, {});
  REQUIRE(again.ok());
  const auto first =
      std::find_if(rows->begin(), rows->end(), [](const Row& r) { return !r.is_share(); });
  CHECK((*again)[0].perplexity == first->perplexity);
  options.seed = 2;
  CHECK(Evaluate(TestModel(), options, {})->at(0).perplexity != first->perplexity);
}

TEST_CASE("The draft block's row counts what training counts", "[evaluation]") {
  const TempDirectory folder;
  EvaluationOptions options = SmallOptions(folder.path());
  options.count = 1;  // One batch.
  options.model_path = WriteModel(folder.File("drafting"), 1, true);
  const auto row = EvaluateDraft(options, {});
  INFO(row.status().ToString());
  REQUIRE(row.ok());
  const auto checkpoint = Checkpoint::Open(options.model_path, {}).value();
  const auto parameters = training::ParameterSet::FromSource(*checkpoint).value();
  training::ConversationOptions conversations;
  conversations.tokenizer = options.model_path + "/tokenizer.json";
  conversations.seed = options.seed;
  conversations.split = training::Split::kEvaluation;
  conversations.tokens_max = 1536;
  const auto source = training::ConversationSource::Open(conversations).value();
  training::SamplePacker packer(source.get(), {1, 1536, 2048, 20, training::LongSamples::kSkip});
  training::GraphOptions graph_options;
  graph_options.quantise = true;
  graph_options.indexer = training::IndexerStage::kSparse;
  graph_options.mtp_weight = 1;
  training::Gradients gradients(parameters);
  training::LossReport report;
  const auto graph = training::Graph::Make(checkpoint->config()).value();
  REQUIRE(graph
              ->ForwardBackward(parameters, packer.Next().value(), graph_options, {}, &gradients,
                                &report)
              .ok());
  CHECK(row->total == report.mtp_targets);
  CHECK(row->correct == report.mtp_correct);
  CHECK(row->total > 50);
  CHECK(row->correct > 0);  // It proposes EOS or nothing, and every reply ends with one.

  options = SmallOptions(folder.path());
  options.tasks = {"draft"};
  const auto refused = Evaluate(TestModel(), options, {});
  REQUIRE_FALSE(refused.ok());
  CHECK_THAT(refused.status().message(), Catch::Contains("no draft block"));
}

TEST_CASE("Options that cannot be are refused by name", "[evaluation]") {
  const TempDirectory scratch;
  const auto refusal = [&](const EvaluationOptions& options) {
    const auto rows = Evaluate(TestModel(), options, {});
    REQUIRE_FALSE(rows.ok());
    return rows.status().message();
  };
  EvaluationOptions options = SmallOptions(scratch.path());
  options.tasks = {"magic"};
  CHECK_THAT(refusal(options), Catch::Contains("magic") && Catch::Contains("needles"));
  options = SmallOptions(scratch.path());
  options.count = 0;
  CHECK_THAT(refusal(options), Catch::Contains("count"));
  options = SmallOptions(scratch.path());
  options.needle_tokens = {1};
  CHECK_THAT(refusal(options), Catch::Contains("needle"));
  options = SmallOptions(scratch.path());
  options.tasks = {"perplexity"};
  options.texts = {"/nowhere/text"};
  CHECK_THAT(refusal(options), Catch::Contains("/nowhere/text"));
  options.tasks = {"agent"};
  options.model_path.clear();
  CHECK_THAT(refusal(options), Catch::Contains("agent"));
}

TEST_CASE("Rows are written as CSV, JSON and a table", "[evaluation]") {
  Row share;
  share.task = "needles";
  share.variant = "400 tokens, depth 0.50";
  share.correct = 81;
  share.total = 263;
  Row loss;
  loss.task = "perplexity";
  loss.variant = "text";
  loss.total = 1000;
  loss.perplexity = 12.5;
  const std::vector<Row> rows = {share, loss};
  CHECK(RowsCsv(rows) ==
        "task,variant,correct,total,share,low,high,perplexity\n"
        "needles,\"400 tokens, depth 0.50\",81,263,0.3080,0.2553,0.3662,\n"
        "perplexity,\"text\",,1000,,,,12.5000\n");
  const auto json = nlohmann::json::parse(RowsJson(rows));
  CHECK(json[0]["low"].get<double>() == Approx(0.2553).margin(5e-5));
  CHECK(json[1]["perplexity"] == 12.5);
  CHECK_THAT(RowsTable(rows), Catch::Contains("30.8 %") && Catch::Contains("25.5 - 36.6 %") &&
                                  Catch::Contains("12.500"));
}

/// Runs examples/plot.py on a file with these rows: what it drew, or nothing.
std::string Draw(const std::string& figure, const std::string& rows) {
  const TempDirectory folder;
  std::ofstream(folder.File("rows.csv")) << rows;
  const std::string command = std::string("/usr/bin/python3 ") + kSourceDir + "/examples/plot.py " +
                              figure + " " + folder.File("rows.csv") + " " +
                              folder.File("figure.svg") + " 2>/dev/null";
  if (std::system(command.c_str()) != 0) return "";
  std::ifstream file(folder.File("figure.svg"));
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

TEST_CASE("Needles and resume times are drawn, and a file without them is refused",
          "[evaluation]") {
  if (std::system("/usr/bin/python3 -c 'import matplotlib' 2>/dev/null") != 0) {
    WARN("skipped: python3-matplotlib isn't installed");
    return;
  }
  CHECK_THAT(Draw("needles",
                  "task,variant,correct,total,share,low,high,perplexity\n"
                  "needles,\"400 tokens, depth 0.50\",81,263,0.3080,0.2553,0.3662,\n"),
             Catch::Contains("<svg") && Catch::Contains("31%") && Catch::Contains("26% - 37%"));
  CHECK_THAT(Draw("resume",
                  "tokens,prefill_ms,resume_ms,first_token_ms\n"
                  "1024,500,8,11\n2048,1100,9,12\n"),
             Catch::Contains("<svg") && Catch::Contains("prefill again") && Catch::Contains("2K"));
  CHECK(Draw("resume", "task,share\nneedles,1\n").empty());
}

}  // namespace
}  // namespace baleen::evaluation

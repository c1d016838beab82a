// A run learns, gives the same bits whatever interrupts it, stops where it should and says why.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "model/checkpoint/checkpoint.h"
#include "model/model.h"
#include "model/training/export_checkpoint.h"
#include "model/training/jsonl_source.h"
#include "model/training/plan.h"
#include "model/training/stage_samples.h"
#include "model/training/structured_start.h"
#include "model/training/trainer.h"
#include "tests/store/small_disk.h"
#include "tests/testing/child.h"
#include "tests/testing/temp_directory.h"
#include "tests/testing/test_paths.h"
#include "tests/training/small_run.h"

namespace baleen::training {
namespace {

using Json = nlohmann::json;

struct Outcome {
  Status status;
  std::vector<StepReport> reports;
};

Outcome Train(const Json& json, RunOptions options) {
  Outcome outcome;
  auto config = TrainConfig::FromJson(json.dump(), ".");
  if (!config.ok()) return {config.status(), {}};
  options.on_step = [&](const StepReport& report) { outcome.reports.push_back(report); };
  auto trainer = Trainer::Open(std::move(config).value(), options);
  outcome.status = trainer.ok() ? (*trainer)->Run() : trainer.status();
  return outcome;
}

RunOptions In(const std::string& folder, int threads = 1, RunMode mode = RunMode::kFresh,
              int64_t steps_max = 0) {
  RunOptions options;
  options.folder = folder;
  options.threads = threads;
  options.mode = mode;
  options.steps_max = steps_max;
  return options;
}

std::string Read(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// Weights and moments of the last checkpoint must agree, not only the exported weights.
void RequireSameRuns(const std::string& a, const std::string& b, int64_t step) {
  for (const char* file : {"/float32/model.safetensors", "/official/model.safetensors"}) {
    INFO(file);
    REQUIRE(!Read(a + file).empty());
    REQUIRE(Read(a + file) == Read(b + file));
  }
  const auto config = TrainConfig::FromJson(SmallRun().dump(), ".");
  const auto load = [&](const std::string& folder) {
    ParameterSet parameters = *ParameterSet::Make(config->model);
    Optimiser optimiser(parameters, config->optimiser);
    const auto state = LoadTrainingCheckpoint(TrainingCheckpointPath(folder + "/checkpoints", step),
                                              &parameters, &optimiser);
    INFO(state.status().ToString());
    REQUIRE(state.ok());
    return optimiser;
  };
  const Optimiser first = load(a);
  const Optimiser second = load(b);
  for (size_t p = 0; p < first.moments().size(); ++p) {
    REQUIRE(first.moments()[p].first == second.moments()[p].first);
    REQUIRE(first.moments()[p].second == second.moments()[p].second);
    REQUIRE(first.moments()[p].steps == second.moments()[p].steps);
  }
}

TEST_CASE("ARunLearnsReportsAndExports") {
  const TempDirectory folder;
  Json json = SmallRun();
  json["stages"] = Json::array({json["stages"][0]});
  json["stages"][0]["steps"] = 40;
  json["validation"] = {{"every_steps", 20},
                        {"batches", 2},
                        {"length", 96},
                        {"sources", json["stages"][0]["sources"]}};
  const Outcome outcome = Train(json, In(folder.path()));
  INFO(outcome.status.ToString());
  REQUIRE(outcome.status.ok());
  REQUIRE(outcome.reports.size() == 40);
  // Tokens of [0, 40) among 96: knowing that alone takes the loss from ln 96 to ln 40.
  CHECK(outcome.reports.front().losses.loss > 4.2);
  CHECK(outcome.reports.back().losses.loss < 3.85);
  CHECK(outcome.reports[19].validated);
  CHECK(outcome.reports[39].validated);
  CHECK(!outcome.reports[20].validated);
  CHECK(outcome.reports[39].validation_loss < outcome.reports[19].validation_loss);
  CHECK(outcome.reports[39].tokens_seen > 40 * 4 * 40);
  const auto model = Model::Open(folder.path() + "/official", {});
  INFO(model.status().ToString());
  CHECK(model.ok());
  std::istringstream curves(Read(folder.File("curves.csv")));
  std::string line;
  int lines = 0;
  while (std::getline(curves, line)) ++lines;
  CHECK(lines == 41);
}

// Logits of one text by the training graph and by the engine, from the same exported folder.
struct TwoLogits {
  std::vector<float> graph;
  std::vector<float> engine;
  float peak = 0;
  double largest = 0;  // Difference, over the peak.
  double mean = 0;
};

TwoLogits Compare(const std::string& folder, NumericMode mode) {
  ModelOptions options;
  options.mode = mode;
  options.threads = 1;
  const auto model = Model::Open(folder, options);
  const auto checkpoint = Checkpoint::Open(folder, {});
  REQUIRE((model.ok() && checkpoint.ok()));
  const ParameterSet parameters = *ParameterSet::FromSource(**checkpoint);
  TrainBatch batch;
  batch.rows = 1;
  batch.length = 150;
  for (int32_t t = 0; t < 150; ++t) {
    batch.tokens.push_back(t * 37 % 96);
    batch.targets.push_back(-1);
    batch.weights.push_back(0);
    batch.document.push_back(0);
    batch.position.push_back(t);
  }
  GraphOptions graph_options;
  graph_options.quantise = mode == NumericMode::kNative;
  graph_options.indexer = IndexerStage::kSparse;
  auto graph = Graph::Make(parameters.config());
  REQUIRE(graph.ok());
  Evaluation evaluation;
  REQUIRE((*graph)->Evaluate(parameters, batch, graph_options, true, &evaluation).ok());
  TwoLogits two{evaluation.logits, {}, 0, 0, 0};
  KvCache cache = (*model)->NewCache();
  REQUIRE((*model)->Forward(cache, batch.tokens, LogitsWanted::kAll, &two.engine).ok());
  REQUIRE(two.engine.size() == two.graph.size());
  for (float logit : two.engine) two.peak = std::max(two.peak, std::abs(logit));
  for (size_t i = 0; i < two.engine.size(); ++i) {
    const double difference = std::abs(static_cast<double>(two.engine[i] - two.graph[i]));
    two.largest = std::max(two.largest, difference / static_cast<double>(two.peak));
    two.mean += difference / static_cast<double>(two.peak) / static_cast<double>(two.engine.size());
  }
  return two;
}

TEST_CASE("TheEngineComputesWhatTheTrainerTrained") {
  const TempDirectory folder;
  REQUIRE(Train(SmallRun(), In(folder.path())).status.ok());
  const TwoLogits pure = Compare(folder.path() + "/float32", NumericMode::kPure);
  INFO("largest " << pure.largest << ", mean " << pure.mean << " of the peak " << pure.peak);
  CHECK(pure.largest < 1e-5);
  // Rounding to FP8 and FP4 turns a last-bit difference into a step of the format now and then, so
  // single logits may differ by more; on the whole they must not.
  const TwoLogits native = Compare(folder.path() + "/official", NumericMode::kNative);
  INFO("native: largest " << native.largest << ", mean " << native.mean);
  CHECK(native.largest < 0.01);
  CHECK(native.mean < 1e-5);
  // The round trips themselves are not lost in these tolerances.
  const TwoLogits rounded = Compare(folder.path() + "/official", NumericMode::kPure);
  double mean = 0;
  for (size_t i = 0; i < rounded.engine.size(); ++i) {
    mean += std::abs(static_cast<double>(rounded.engine[i] - native.engine[i])) /
            static_cast<double>(rounded.peak) / static_cast<double>(rounded.engine.size());
  }
  CHECK(mean > 1e-4);
}

// The loss of the first step is the same from the master and from its official export, read back:
// rounding what is rounded already changes nothing. Without the quantised stage it is another.
TEST_CASE("AQuantisedStageTrainsOnWhatTheExportHolds") {
  const TempDirectory folder;
  REQUIRE(Train(SmallRun(), In(folder.File("first"), 1, RunMode::kFresh, 1)).status.ok());
  int runs = 0;
  const auto first_loss = [&](const char* start, bool quantise) {
    Json json = SmallRun();
    json["stages"] = Json::array({json["stages"][0]});
    json["stages"][0]["quantise"] = quantise;
    json["start"] = {{"kind", "checkpoint"}, {"path", folder.File("first") + start}};
    const std::string out = folder.File("run" + std::to_string(++runs));
    const Outcome outcome = Train(json, In(out, 1, RunMode::kFresh, 1));
    INFO(outcome.status.ToString());
    REQUIRE(outcome.reports.size() == 1);
    return outcome.reports[0].losses.loss;
  };
  const double rounded = first_loss("/float32", true);
  CHECK(rounded == first_loss("/official", true));
  CHECK(rounded != first_loss("/float32", false));
}

TEST_CASE("TheNumberOfThreadsChangesNoBit") {
  const TempDirectory folder;
  REQUIRE(Train(SmallRun(), In(folder.File("one"), 1)).status.ok());
  REQUIRE(Train(SmallRun(), In(folder.File("three"), 3)).status.ok());
  RequireSameRuns(folder.File("one"), folder.File("three"), 12);
}

TEST_CASE("AResumedRunEndsAsAnUninterruptedOne") {
  const TempDirectory folder;
  REQUIRE(Train(SmallRun(), In(folder.File("whole"))).status.ok());
  // Stops inside a stage, at its border, and inside the quantised one.
  REQUIRE(Train(SmallRun(), In(folder.File("parts"), 1, RunMode::kFresh, 3)).status.ok());
  for (int64_t steps : {3, 4, 0}) {
    const Outcome part = Train(SmallRun(), In(folder.File("parts"), 2, RunMode::kResume, steps));
    INFO(part.status.ToString());
    REQUIRE(part.status.ok());
  }
  RequireSameRuns(folder.File("whole"), folder.File("parts"), 12);
  std::istringstream curves(Read(folder.File("parts") + "/curves.csv"));
  std::string line;
  std::getline(curves, line);
  for (int step = 1; step <= 12; ++step) {
    REQUIRE(std::getline(curves, line));
    CHECK(line.starts_with(std::to_string(step) + ","));
  }
  CHECK(!std::getline(curves, line));
}

TEST_CASE("ACheckpointMayLieAnywhereInAStage") {
  const TempDirectory folder;
  REQUIRE(Train(SmallRun(), In(folder.File("often"))).status.ok());
  Json seldom = SmallRun();
  seldom["checkpoint"]["every_steps"] = 4;  // The stages meet at step 6.
  const Outcome outcome = Train(seldom, In(folder.File("seldom")));
  INFO(outcome.status.ToString());
  REQUIRE(outcome.status.ok());
  RequireSameRuns(folder.File("often"), folder.File("seldom"), 12);
}

// What is written is what the steps saw: a run on the written samples takes the same steps.
TEST_CASE("WrittenSamplesAreThoseOfTheSteps") {
  const TempDirectory folder;
  Json run = SmallRun();
  run["stages"].erase(1);
  run["validation"] = {{"every_steps", 3}, {"rows", 1}, {"length", 48}, {"batches", 2}};
  run["validation"]["sources"] = run["stages"][0]["sources"];
  const auto config = TrainConfig::FromJson(run.dump(), ".");
  INFO(config.status().ToString());
  REQUIRE(config.ok());
  const std::string path = folder.File("samples.jsonl");
  REQUIRE(WriteSamples(*config, 0, path, {}).ok());
  std::istringstream lines(Read(path));
  std::vector<std::vector<Json>> steps(7);
  for (std::string line; std::getline(lines, line);) {
    const Json sample = Json::parse(line);
    steps.at(sample["step"].get<size_t>()).push_back(sample);
  }
  const auto samples = StageSamples::Open(*config, 0);
  REQUIRE(samples.ok());
  for (size_t step = 1; step <= 6; ++step) {
    const auto batches = (*samples)->NextStep();
    REQUIRE(batches.ok());
    std::vector<int32_t> tokens;
    std::vector<float> weights;
    for (const TrainBatch& batch : *batches) {
      for (size_t i = 0; i < batch.tokens.size(); ++i) {
        if (batch.document[i] < 0) continue;
        tokens.push_back(batch.tokens[i]);
        weights.push_back(batch.position[i] == 0 ? 0 : batch.weights[i - 1]);
      }
    }
    std::vector<int32_t> written;
    std::vector<float> written_weights;
    for (const Json& sample : steps[step]) {
      for (const Json& token : sample["tokens"]) written.push_back(token);
      for (const Json& weight : sample["weights"]) written_weights.push_back(weight);
    }
    CHECK(written == tokens);
    CHECK(written_weights == weights);
  }
  CHECK(!steps[0].empty());
  auto source = OpenJsonlSource({.path = path, .vocab = config->model.vocab});
  INFO(source.status().ToString());
  CHECK(source.ok());
  CHECK(WriteSamples(*config, 0, folder.File("none") + "/samples.jsonl", {}).code() ==
        StatusCode::kUnavailable);
}

TEST_CASE("AKilledRunEndsAsAnUninterruptedOne") {
  const TempDirectory folder;
  folder.Write("run.json", SmallRun().dump());
  REQUIRE(Train(SmallRun(), In(folder.File("whole"))).status.ok());
  for (const int kill_after : {3, 5, 9}) {
    const std::string out = folder.File("killed" + std::to_string(kill_after));
    {
      Child child({TRAIN_WRITER, folder.File("run.json"), out});
      REQUIRE(child.started());
      for (int step = 1; step <= kill_after; ++step) {
        REQUIRE(child.ReadLine() == std::to_string(step));
      }
      child.Kill();
      CHECK(child.Wait() == 128 + SIGKILL);
    }
    Child child({TRAIN_WRITER, folder.File("run.json"), out, "resume"});
    const std::vector<std::string> steps = child.ReadAll();
    CHECK(child.Wait() == 0);
    REQUIRE(!steps.empty());
    CHECK(std::stoi(steps.front()) <= kill_after + 3);
    CHECK(steps.back() == "12");
    RequireSameRuns(folder.File("whole"), out, 12);
  }
}

TEST_CASE("AFullDiskStopsARunThatEndsAlikeWhereThereIsRoom") {
  const TempDirectory folder;
  REQUIRE(Train(SmallRun(), In(folder.File("whole"))).status.ok());
  const auto bytes =
      std::filesystem::file_size(TrainingCheckpointPath(folder.File("whole/checkpoints"), 12));
  // Room for two checkpoints and a half.
  const SmallDisk disk(folder.File("disk"), std::to_string(bytes * 5 / 2));
  if (!disk.mounted()) {
    WARN("SKIPPED: no right to mount a small disk");
    return;
  }
  const Status status = Train(SmallRun(), In(folder.File("disk/run"))).status;
  INFO(status.ToString());
  CHECK(status.code() == StatusCode::kUnavailable);
  CHECK(ListTrainingCheckpoints(folder.File("disk/run/checkpoints")) == std::vector<int64_t>{2, 4});
  std::filesystem::copy(folder.File("disk/run"), folder.File("moved"),
                        std::filesystem::copy_options::recursive);
  REQUIRE(Train(SmallRun(), In(folder.File("moved"), 1, RunMode::kResume)).status.ok());
  RequireSameRuns(folder.File("whole"), folder.File("moved"), 12);
}

TEST_CASE("ResumingIsRefusedWhereItWouldNotBeTheSameRun") {
  const TempDirectory folder;
  Json json = SmallRun();
  folder.Write("samples.jsonl", "{\"tokens\":[1,2,3]}\n{\"tokens\":[4,5,6,7]}\n");
  json["stages"][0]["sources"] = {{{"kind", "jsonl"}, {"path", folder.File("samples.jsonl")}}};
  const std::string out = folder.File("out");
  CHECK(Train(json, In(out, 1, RunMode::kResume)).status.code() == StatusCode::kNotFound);
  REQUIRE(Train(json, In(out, 1, RunMode::kFresh, 3)).status.ok());
  CHECK(Train(json, In(out)).status.code() == StatusCode::kAlreadyExists);

  Json other = json;
  other["optimiser"] = {{"matrix_rate", 0.5}};
  Status status = Train(other, In(out, 1, RunMode::kResume)).status;
  CHECK(status.code() == StatusCode::kFailedPrecondition);
  CHECK(status.message().find("they differ in optimiser") != std::string::npos);
  other = json;
  other["model"]["hidden_size"] = 64;
  CHECK(Train(other, In(out, 1, RunMode::kResume)).status.code() ==
        StatusCode::kFailedPrecondition);
  other = json;
  other["checkpoint"]["every_steps"] = 1;  // Decides nothing.
  CHECK(Train(other, In(out, 1, RunMode::kResume, 1)).status.ok());

  folder.Write("samples.jsonl", "{\"tokens\":[1,2,3]}\n{\"tokens\":[4,5,6,8]}\n");
  status = Train(json, In(out, 1, RunMode::kResume)).status;
  CHECK(status.code() == StatusCode::kFailedPrecondition);
  CHECK(status.message().find("samples of stage \"copy\"") != std::string::npos);
  CHECK(ListTrainingCheckpoints(out + "/checkpoints").back() == 4);
}

TEST_CASE("TwoRunsCannotShareAFolder") {
  const TempDirectory folder;
  auto config = TrainConfig::FromJson(SmallRun().dump(), ".");
  const auto first = Trainer::Open(*config, In(folder.path()));
  REQUIRE(first.ok());
  CHECK(Trainer::Open(*config, In(folder.path())).status().code() ==
        StatusCode::kFailedPrecondition);
}

TEST_CASE("GuardsStopBeforeAnythingIsUpdated") {
  const TempDirectory folder;
  Json json = SmallRun();
  const std::string out = folder.File("out");
  REQUIRE(Train(json, In(out, 1, RunMode::kFresh, 4)).status.ok());
  const std::string before = Read(TrainingCheckpointPath(out + "/checkpoints", 4));
  json["guards"] = {{"gradient_norm_max", 1e-6}};
  Status status = Train(json, In(out, 1, RunMode::kResume)).status;
  INFO(status.ToString());
  CHECK(status.code() == StatusCode::kAborted);
  CHECK(status.reason() == "GRADIENT_NORM");
  CHECK(status.message().find("step 5: ") != std::string::npos);
  CHECK(status.message().find("the last checkpoint is that of step 4") != std::string::npos);
  json["guards"] = {{"loss_max", 0.1}};
  status = Train(json, In(out, 1, RunMode::kResume)).status;
  CHECK(status.reason() == "LOSS");
  CHECK(Read(TrainingCheckpointPath(out + "/checkpoints", 4)) == before);
  CHECK(ListTrainingCheckpoints(out + "/checkpoints").back() == 4);
  json.erase("guards");
  CHECK(Train(json, In(out, 1, RunMode::kResume)).status.ok());
}

TEST_CASE("ALossThatIsNotFiniteStopsTheRun") {
  const TempDirectory folder;
  ParameterSet parameters = *ParameterSet::Make(SmallModel());
  PlainStart(1, &parameters);
  for (float& value : parameters.Find("head.weight")->value) value = 3e38F;
  REQUIRE(ExportModel(parameters, folder.File("start"), {ExportFormat::kFloat32, ""}).ok());
  Json json = SmallRun();
  json["start"] = {{"kind", "checkpoint"}, {"path", folder.File("start")}};
  const Status status = Train(json, In(folder.File("out"))).status;
  INFO(status.ToString());
  CHECK(status.code() == StatusCode::kAborted);
  CHECK(status.reason() == "NOT_FINITE");
  CHECK(status.message().find("step 1: ") != std::string::npos);
  CHECK(ListTrainingCheckpoints(folder.File("out") + "/checkpoints").empty());
}

// The second stage's tokens have embeddings that no float can hold the square of.
TEST_CASE("ALossThatTurnsNotFiniteLeavesTheLastGoodCheckpoint") {
  const TempDirectory folder;
  ParameterSet parameters = *ParameterSet::Make(SmallModel());
  PlainStart(1, &parameters);
  std::vector<float>& embeddings = parameters.Find("embed.weight")->value;
  std::fill(embeddings.begin() + 50 * SmallModel().hidden, embeddings.end(), 3e38F);
  REQUIRE(ExportModel(parameters, folder.File("start"), {ExportFormat::kFloat32, ""}).ok());
  Json json = SmallRun();
  json["start"] = {{"kind", "checkpoint"}, {"path", folder.File("start")}};
  json["stages"][1]["sources"][0]["token_low"] = 50;
  json["stages"][1]["sources"][0]["token_high"] = 90;
  const std::string checkpoints = folder.File("out/checkpoints");
  REQUIRE(Train(json, In(folder.File("out"), 1, RunMode::kFresh, 6)).status.ok());
  const std::string before = Read(TrainingCheckpointPath(checkpoints, 6));
  const Status status = Train(json, In(folder.File("out"), 1, RunMode::kResume)).status;
  INFO(status.ToString());
  CHECK(status.code() == StatusCode::kAborted);
  CHECK(status.reason() == "NOT_FINITE");
  CHECK(status.message().find("step 7: ") != std::string::npos);
  CHECK(status.message().find("the last checkpoint is that of step 6") != std::string::npos);
  CHECK(ListTrainingCheckpoints(checkpoints).back() == 6);
  CHECK(Read(TrainingCheckpointPath(checkpoints, 6)) == before);
}

TEST_CASE("ARunMayStartFromAnExportedModel") {
  const TempDirectory folder;
  REQUIRE(Train(SmallRun(), In(folder.File("first"), 1, RunMode::kFresh, 1)).status.ok());
  Json json = SmallRun();
  json["start"] = {{"kind", "checkpoint"}, {"path", folder.File("first") + "/float32"}};
  json["optimiser"] = {{"matrix_rate", 0}, {"rest_rate", 0}};
  json["routing_bias_rate"] = 0;
  REQUIRE(Train(json, In(folder.File("second"), 1, RunMode::kFresh, 1)).status.ok());
  CHECK(Read(folder.File("first") + "/float32/model.safetensors") ==
        Read(folder.File("second") + "/float32/model.safetensors"));
  json["model"]["route_scale"] = 1;
  json["model"]["routed_scaling_factor"] = 1.25;
  const Status status = Train(json, In(folder.File("third"))).status;
  CHECK(status.code() == StatusCode::kFailedPrecondition);
  CHECK(status.message().find("routed_scaling_factor") != std::string::npos);
}

TEST_CASE("AGateThatIsNotPassedStopsTheRun") {
  const TempDirectory folder;
  Json json = SmallRun();
  json["stages"][0]["gate"] = {{"after_step", 2}, {"samples", 4}};
  const Outcome outcome = Train(json, In(folder.path()));
  CHECK(outcome.status.code() == StatusCode::kAborted);
  CHECK(outcome.status.reason() == "GATE");
  REQUIRE(outcome.reports.size() == 2);
  CHECK(outcome.reports[1].gated);
  CHECK(outcome.status.message().find("repeated at 24 tokens") != std::string::npos);
}

// The one-minute gate: random tokens repeated at three windows, after 60 steps of 2,048 tokens.
TEST_CASE("TheStructuredStartPassesItsGate", "[.long]") {
  const TempDirectory folder;
  Json json = Json::parse(Read(std::string(kSourceDir) + "/examples/train/copy.json"));
  const Outcome outcome = Train(json, In(folder.File("structured"), 2, RunMode::kFresh, 60));
  INFO(outcome.status.ToString());
  CHECK(outcome.status.ok());
  REQUIRE(outcome.reports.back().gated);
  CHECK(outcome.reports.back().gate_accuracy > 0.9);
  json["start"] = {{"kind", "plain"}};
  CHECK(Train(json, In(folder.File("plain"), 2)).status.reason() == "GATE");
}

TEST_CASE("SamplesThatCannotBeStopTheRunByStage") {
  const TempDirectory folder;
  Json json = SmallRun();
  folder.Write("samples.jsonl", "{\"tokens\":[1,2,3],\"weights\":[0,0,0]}\n");
  json["stages"][0]["sources"] = {{{"kind", "jsonl"}, {"path", folder.File("samples.jsonl")}}};
  const Status status = Train(json, In(folder.File("out"))).status;
  CHECK(status.code() == StatusCode::kInvalidArgument);
  CHECK(status.message().find("without anything to learn") != std::string::npos);
  folder.Write("samples.jsonl", "{\"tokens\":[1,96]}\n");
  CHECK(Train(json, In(folder.File("out2"))).status.message().find("stage \"copy\"") !=
        std::string::npos);
}

TEST_CASE("ACancelledRunSavesWhatItHas") {
  const TempDirectory folder;
  std::atomic<bool> cancelled{false};
  auto config = TrainConfig::FromJson(SmallRun().dump(), ".");
  RunOptions options = In(folder.path());
  options.cancelled = &cancelled;
  options.on_step = [&](const StepReport& report) { cancelled = report.step == 3; };
  const auto trainer = Trainer::Open(*config, options);
  REQUIRE(trainer.ok());
  CHECK((*trainer)->Run().ok());
  CHECK((*trainer)->step() == 3);
  CHECK(ListTrainingCheckpoints(folder.path() + "/checkpoints") == std::vector<int64_t>{2, 3});
}

TEST_CASE("APlanCountsAndMeasures") {
  const auto config = TrainConfig::FromJson(SmallRun().dump(), ".");
  const auto plan = PlanTraining(*config, 2);
  INFO(plan.status().ToString());
  REQUIRE(plan.ok());
  const ParameterSet parameters = *ParameterSet::Make(config->model);
  int64_t hash_elements = 0;
  for (const HashTable& table : parameters.hash_tables()) {
    hash_elements += static_cast<int64_t>(table.experts.size());
  }
  CHECK(plan->parameters + plan->draft_parameters == parameters.element_count() + hash_elements);
  CHECK(plan->threads == 2);
  REQUIRE(plan->stages.size() == 2);
  CHECK(plan->stages[0].tokens_per_step == 4 * 48);
  CHECK(plan->stages[0].tokens_per_second > 0);
  CHECK(plan->tokens == 6 * 4 * 48 + 6 * 2 * 160);
  CHECK(plan->hours > 0);
  CHECK(plan->official_bytes < plan->float32_bytes / 2);
}

}  // namespace
}  // namespace baleen::training

// Trains a config in a folder and says each step, for tests that kill it: CONFIG FOLDER [resume]
#include <cstdio>
#include <string_view>

#include "model/training/trainer.h"

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  namespace training = baleen::training;
  auto config = training::TrainConfig::FromFile(argv[1]);
  if (!config.ok()) return 3;
  training::RunOptions options;
  options.folder = argv[2];
  options.threads = 2;
  if (argc > 3 && std::string_view(argv[3]) == "resume") {
    options.mode = training::RunMode::kResume;
  }
  options.on_step = [](const training::StepReport& report) {
    std::printf("%lld\n", static_cast<long long>(report.step));
    std::fflush(stdout);
  };
  auto trainer = training::Trainer::Open(std::move(*config), options);
  if (!trainer.ok()) return 4;
  return (*trainer)->Run().ok() ? 0 : 5;
}

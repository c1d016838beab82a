#include "model/training/source_registry.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "model/training/config_reader.h"
#include "model/training/corpus/conversation_source.h"
#include "model/training/jsonl_source.h"
#include "model/training/mixed_source.h"
#include "model/training/random_stream.h"
#include "model/training/synthetic_source.h"

namespace baleen::training {
namespace {

using Json = nlohmann::json;

constexpr int64_t kTokenMax = int64_t{1} << 24;

Result<std::unique_ptr<SampleSource>> OpenSynthetic(const Json& fields,
                                                    const SourceSetting& setting) {
  SyntheticOptions options;
  options.seed = setting.seed;
  int64_t low = 0;
  int64_t high = setting.vocab;
  ConfigReader reader(fields, "source \"synthetic\": ");
  reader.Int("token_low", &low, 0, kTokenMax);
  reader.Int("token_high", &high, 0, setting.vocab);
  reader.Number("repeats", &options.repeats, 0, 1e6);
  reader.Number("short_repeats", &options.short_repeats, 0, 1e6);
  reader.Number("key_values", &options.key_values, 0, 1e6);
  reader.Number("copies", &options.copies, 0, 1e6);
  RETURN_IF_ERROR(reader.Finish());
  options.token_low = static_cast<int32_t>(low);
  options.token_high = static_cast<int32_t>(high);
  ASSIGN_OR_RETURN(SyntheticSource source, SyntheticSource::Make(options));
  return std::unique_ptr<SampleSource>(std::make_unique<SyntheticSource>(std::move(source)));
}

Result<std::unique_ptr<SampleSource>> OpenJsonl(const Json& fields, const SourceSetting& setting) {
  JsonlOptions options;
  options.seed = setting.seed;
  options.vocab = setting.vocab;
  ConfigReader reader(fields, "source \"jsonl\": ");
  if (reader.Require("path") != nullptr) reader.Text("path", &options.path);
  reader.Bool("shuffle", &options.shuffle);
  RETURN_IF_ERROR(reader.Finish());
  options.path = (std::filesystem::path(setting.folder) / options.path).string();
  return OpenJsonlSource(options);
}

void ReadShares(const Json* shares, ConversationOptions* options, ConfigReader* reader) {
  if (shares == nullptr) return;
  if (!shares->is_object()) return reader->Complain("shares", "an object", ShownJson(*shares));
  for (const auto& [task, share] : shares->items()) {
    if (!share.is_number()) return reader->Complain("shares." + task, "a number", ShownJson(share));
    options->shares[task] = share.get<double>();
  }
}

Result<std::unique_ptr<SampleSource>> OpenConversations(const Json& fields,
                                                        const SourceSetting& setting) {
  ConversationOptions options;
  options.seed = setting.seed;
  ConfigReader reader(fields, "source \"conversations\": ");
  if (reader.Require("tokenizer") != nullptr) reader.Text("tokenizer", &options.tokenizer);
  reader.Choice("split", {"train", "validation"}, &options.split);
  reader.Int("tokens_max", &options.tokens_max, 1, kTokenMax);
  reader.Number("pieced_words", &options.pieced_words, 0, 1);
  reader.Number("varied", &options.varied, 0, 1);
  reader.Number("assistant_weight", &options.weights.assistant, 0, 1000);
  reader.Number("other_weight", &options.weights.other, 0, 1000);
  ReadShares(reader.Find("shares"), &options, &reader);
  const auto resolved = [&](const std::string& path) {
    return (std::filesystem::path(setting.folder) / path).string();
  };
  if (const Json* texts = reader.Find("texts"); texts != nullptr) {
    const bool paths =
        texts->is_array() && std::all_of(texts->begin(), texts->end(),
                                         [](const Json& path) { return path.is_string(); });
    if (!paths) reader.Complain("texts", "an array of paths", ShownJson(*texts));
    for (size_t i = 0; paths && i < texts->size(); ++i) {
      options.texts.push_back(resolved((*texts)[i].get<std::string>()));
    }
  }
  RETURN_IF_ERROR(reader.Finish());
  options.tokenizer = resolved(options.tokenizer);
  ASSIGN_OR_RETURN(auto source, ConversationSource::Open(options));
  if (source->vocab() > setting.vocab) {
    return InvalidArgumentError("source \"conversations\": the tokenizer has " +
                                std::to_string(source->vocab()) + " ids, the model " +
                                std::to_string(setting.vocab));
  }
  return std::unique_ptr<SampleSource>(std::move(source));
}

struct Kind {
  const char* name;
  Result<std::unique_ptr<SampleSource>> (*open)(const Json& fields, const SourceSetting& setting);
};

constexpr Kind kKinds[] = {
    {"synthetic", &OpenSynthetic}, {"jsonl", &OpenJsonl}, {"conversations", &OpenConversations}};

Result<std::unique_ptr<SampleSource>> OpenSource(const SourceSpec& spec,
                                                 const SourceSetting& setting) {
  const Json fields = Json::parse(spec.options, nullptr, /*allow_exceptions=*/false);
  std::string known;
  for (const Kind& kind : kKinds) {
    if (spec.kind == kind.name) return kind.open(fields, setting);
    known += (known.empty() ? "" : ", ") + std::string(kind.name);
  }
  return InvalidArgumentError("training config: source kind: expected one of " + known +
                              ", got \"" + spec.kind + "\"");
}

}  // namespace

std::vector<std::string> SourceKinds() {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

Result<std::unique_ptr<SampleSource>> OpenSources(const std::vector<SourceSpec>& specs,
                                                  const SourceSetting& setting) {
  std::vector<MixedSource::Part> parts;
  for (size_t i = 0; i < specs.size(); ++i) {
    SourceSetting own = setting;
    own.seed = RandomStream(setting.seed, i).Next() >> 1;  // Equal kinds give different samples.
    ASSIGN_OR_RETURN(auto source, OpenSource(specs[i], own));
    parts.push_back({std::move(source), specs[i].share});
  }
  if (parts.empty()) return InvalidArgumentError("training config: sources: expected at least one");
  if (parts.size() == 1) return std::move(parts[0].source);
  return std::unique_ptr<SampleSource>(
      std::make_unique<MixedSource>(std::move(parts), setting.seed));
}

}  // namespace baleen::training

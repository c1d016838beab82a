#include "model/training/jsonl_source.h"

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "model/checkpoint/file_access.h"
#include "model/checkpoint/fingerprint.h"
#include "model/training/random_stream.h"
#include "tools_sdk/json_text.h"

namespace baleen::training {
namespace {

using Json = nlohmann::json;

// Room for a token and its weight, whatever their spelling; beyond it a line is refused unparsed.
constexpr int64_t kLineBytesPerToken = 64;
constexpr int64_t kLineBytesFixed = 4096;

Status Refuse(const std::string& where, const std::string& expected, const std::string& got) {
  return InvalidArgumentError(where + ": expected " + expected + ", got " + got);
}

Status ReadTokens(const Json& list, const JsonlOptions& options, const std::string& where,
                  std::vector<int32_t>* tokens) {
  const auto count = static_cast<int64_t>(list.size());
  if (!list.is_array() || count < 2 || count > options.tokens_max) {
    return Refuse(where,
                  "\"tokens\": a list of 2 to " + std::to_string(options.tokens_max) + " ids",
                  list.is_array() ? std::to_string(count) + " ids" : ShownJson(list));
  }
  for (const Json& id : list) {
    if (!id.is_number_integer() || id < 0 || id >= options.vocab) {
      return Refuse(where, "token ids of at least 0 and below " + std::to_string(options.vocab),
                    ShownJson(id) + " as token " + std::to_string(tokens->size()));
    }
    tokens->push_back(id.get<int32_t>());
  }
  return OkStatus();
}

Status ReadWeights(const Json& list, const std::string& where, std::vector<float>* weights,
                   size_t tokens) {
  if (!list.is_array() || list.size() != tokens) {
    return Refuse(where,
                  "\"weights\": one number for each of " + std::to_string(tokens) + " tokens",
                  list.is_array() ? std::to_string(list.size()) + " numbers" : ShownJson(list));
  }
  for (const Json& weight : list) {
    const double value = weight.is_number() ? weight.get<double>() : -1;
    if (!(value >= 0 && value <= 1e6)) {
      return Refuse(where, "weights of 0 to 1e6",
                    ShownJson(weight) + " as weight " + std::to_string(weights->size()));
    }
    weights->push_back(static_cast<float>(value));
  }
  return OkStatus();
}

class JsonlSource : public SampleSource {
 public:
  static Result<std::unique_ptr<SampleSource>> Open(const JsonlOptions& options) {
    auto source = std::make_unique<JsonlSource>();
    source->options_ = options;
    ASSIGN_OR_RETURN(source->file_, FileContent::Open(options.path, WeightAccess::kMapped));
    const std::span<const std::byte> bytes = source->file_->bytes();
    source->sha256_ = Sha256Hex(bytes);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    for (size_t begin = 0, number = 1; begin < text.size(); ++number) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      const std::string_view line = text.substr(begin, end - begin);
      begin = end + 1;
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      RETURN_IF_ERROR(ParseJsonlSample(line, options, source->Where(number)).status());
      source->lines_.push_back({line, number});
    }
    if (source->lines_.empty()) {
      return Refuse("'" + options.path + "'", "at least one sample", "a file without any");
    }
    return std::unique_ptr<SampleSource>(std::move(source));
  }

  Result<Sample> Next() override {
    const Line& line = lines_[IndexAt(position_)];
    ASSIGN_OR_RETURN(Sample sample, ParseJsonlSample(line.text, options_, Where(line.number)));
    ++position_;
    return sample;
  }

  uint64_t position() const override { return position_; }
  Status Seek(uint64_t position) override {
    position_ = position;
    return OkStatus();
  }
  std::string identity() const override {
    return "jsonl/1 sha256 " + sha256_ + " seed " + std::to_string(options_.seed) +
           (options_.shuffle ? " shuffled" : " in order");
  }

 private:
  struct Line {
    std::string_view text;
    size_t number;
  };

  std::string Where(size_t number) const {
    return "'" + options_.path + "', line " + std::to_string(number);
  }

  size_t IndexAt(uint64_t position) {
    const uint64_t round = position / lines_.size();
    const auto at = static_cast<size_t>(position % lines_.size());
    if (!options_.shuffle) return at;
    if (order_.empty() || round != order_round_) {
      order_.resize(lines_.size());
      std::iota(order_.begin(), order_.end(), size_t{0});
      RandomStream random(options_.seed, round);
      for (size_t i = order_.size(); i > 1; --i) {
        std::swap(order_[i - 1], order_[static_cast<size_t>(random.Next() % i)]);
      }
      order_round_ = round;
    }
    return order_[at];
  }

  JsonlOptions options_;
  std::unique_ptr<FileContent> file_;
  std::string sha256_;
  std::vector<Line> lines_;  // Views into file_.
  uint64_t position_ = 0;
  std::vector<size_t> order_;  // [lines] of round order_round_.
  uint64_t order_round_ = 0;
};

}  // namespace

Result<Sample> ParseJsonlSample(std::string_view line, const JsonlOptions& options,
                                const std::string& where) {
  const int64_t bytes_max = options.tokens_max * kLineBytesPerToken + kLineBytesFixed;
  if (static_cast<int64_t>(line.size()) > bytes_max) {
    return Refuse(where,
                  "a sample of at most " + std::to_string(options.tokens_max) + " tokens (" +
                      std::to_string(bytes_max) + " bytes)",
                  std::to_string(line.size()) + " bytes");
  }
  // Depth 2 is all a sample needs; a deeper line is not built.
  const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= 3; };
  const Json object = Json::parse(line.begin(), line.end(), shallow, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("tokens")) {
    return Refuse(where, "an object with \"tokens\"",
                  object.is_discarded() ? "text that is not JSON" : ShownJson(object));
  }
  for (const auto& item : object.items()) {
    if (item.key() != "tokens" && item.key() != "weights" && item.key() != "step") {
      return Refuse(where, "\"tokens\", \"weights\" and \"step\" only", "\"" + item.key() + "\"");
    }
  }
  Sample sample;
  RETURN_IF_ERROR(ReadTokens(object["tokens"], options, where, &sample.tokens));
  if (object.contains("weights")) {
    RETURN_IF_ERROR(ReadWeights(object["weights"], where, &sample.weights, sample.tokens.size()));
  } else {
    sample.weights.assign(sample.tokens.size(), 1.0F);
    sample.weights[0] = 0;
  }
  return sample;
}

Result<std::unique_ptr<SampleSource>> OpenJsonlSource(const JsonlOptions& options) {
  return JsonlSource::Open(options);
}

}  // namespace baleen::training

// twin: the computation that nobody ever kills. Runs the model over token ids in memory only, and
// compares the hashes of its logits with those that a daemon journalled.
//
//   twin make FOLDER         writes the tiny model that the crash tests use
//   twin compare FOLDER      lines on standard input, answers on standard output:
//       check NAME ID:HASH ...   the whole context; HASH 0: not sampled. "same N", N hashes
//       compared,
//                                or "differs at POSITION"
//       text ID ...              what a watcher is shown of these ids, in hexadecimal
#include <xxhash.h>

#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "model/model.h"
#include "model/text/tokenizer.h"
#include "tests/runtime/tiny_checkpoint.h"

namespace baleen {
namespace {

/// One context as far as it was computed.
struct Context {
  KvCache cache;
  std::vector<int32_t> ids;
  std::vector<uint64_t> hashes;  ///< Of the logits after each id.
};

class Twin {
 public:
  explicit Twin(std::unique_ptr<Model> model) : model_(std::move(model)) {}

  Result<std::string> Check(const std::string& name, const std::vector<int32_t>& ids,
                            const std::vector<uint64_t>& hashes) {
    auto found = contexts_.find(name);
    const bool goes_on =
        found != contexts_.end() && found->second.ids.size() <= ids.size() &&
        std::equal(found->second.ids.begin(), found->second.ids.end(), ids.begin());
    if (!goes_on) {
      contexts_.erase(name);
      found = contexts_.emplace(name, Context{model_->NewCache(), {}, {}}).first;
    }
    Context& context = found->second;
    const auto vocab = static_cast<size_t>(model_->config().vocab);
    while (context.ids.size() < ids.size()) {
      const size_t begin = context.ids.size();
      const size_t count = std::min<size_t>(512, ids.size() - begin);
      std::vector<float> logits;
      RETURN_IF_ERROR(model_->Forward(context.cache, std::span(ids).subspan(begin, count),
                                      LogitsWanted::kAll, &logits));
      for (size_t i = 0; i < count; ++i) {
        context.ids.push_back(ids[begin + i]);
        context.hashes.push_back(XXH3_64bits(&logits[i * vocab], vocab * sizeof(float)));
      }
    }
    int64_t same = 0;
    for (size_t i = 1; i < ids.size(); ++i) {
      if (hashes[i] == 0) continue;
      if (hashes[i] != context.hashes[i - 1]) return "differs at " + std::to_string(i);
      ++same;
    }
    return "same " + std::to_string(same);
  }

  std::string Text(const std::vector<int32_t>& ids) {
    StreamingDetokenizer detokenizer(*model_->tokenizer());
    std::string hex;
    for (const int32_t id : ids) {
      for (const char c : detokenizer.Push(id)) {
        char digits[3];
        std::snprintf(digits, sizeof(digits), "%02x", static_cast<unsigned char>(c));
        hex += digits;
      }
    }
    return hex;
  }

 private:
  std::unique_ptr<Model> model_;
  std::map<std::string, Context> contexts_;
};

Status Compare(const std::string& folder) {
  ModelOptions options;
  options.threads = 1;
  ASSIGN_OR_RETURN(auto model, Model::Open(folder, options));
  Twin twin(std::move(model));
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    std::string name;
    words >> command;
    if (command == "check") words >> name;
    std::vector<int32_t> ids;
    std::vector<uint64_t> hashes;
    for (std::string word; words >> word;) {
      ids.push_back(std::stoi(word));
      const size_t colon = word.find(':');
      hashes.push_back(colon == std::string::npos ? 0 : std::stoull(word.substr(colon + 1)));
    }
    if (command == "check") {
      ASSIGN_OR_RETURN(const std::string answer, twin.Check(name, ids, hashes));
      std::cout << answer << std::endl;
    } else {
      std::cout << twin.Text(ids) << std::endl;
    }
  }
  return OkStatus();
}

}  // namespace
}  // namespace baleen

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string verb = argv[1];
  const baleen::Status status =
      verb == "make" ? baleen::WriteTinyCheckpoint(argv[2], 1) : baleen::Compare(argv[2]);
  if (status.ok()) return 0;
  std::cerr << status.ToString() << "\n";
  return 1;
}

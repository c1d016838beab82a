// The whole runtime against a model of it that is too simple to be wrong: random sequences of
// turns, forks, rewinds, undone rewinds, pins, deletions, prefetches, releases, collections under a
// quota, ends of the runtime and of the process, 1,000 seeds. The model keeps a list of token ids
// and of logits hashes per timeline; what a turn generates is checked by one plain forward pass
// over the whole context, with no store behind it.
#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <system_error>

#include "model/constraint/chat_grammar.h"
#include "model/constraint/token_constraint.h"
#include "model/model.h"
#include "model/sampler.h"
#include "tests/faults/seeds.h"
#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

constexpr int kSteps = 5;
/// Seeds that follow one another in one runtime: opening it costs as much as a walk.
constexpr uint64_t kGroup = 10;
constexpr int64_t kTokensMax = 3;

/// Few, so that histories recur and their replays are remembered. The last seals a block of 256
/// tokens.
const std::vector<std::string>& Texts() {
  static const std::vector<std::string> texts = {"hi", "now?", "go on", std::string(260, 'k')};
  return texts;
}

SamplingOptions Sampling() {
  SamplingOptions sampling;
  sampling.seed = 11;
  return sampling;
}

/// A timeline as if nothing were ever shared, stored or resumed.
struct Line {
  std::vector<int32_t> ids;
  std::vector<uint64_t> hashes;  ///< Of the logits that each id was drawn from; 0: not sampled.
  int64_t previous = -1;         ///< That a rewind left for this one.
};

struct ModelSession {
  std::vector<Line> lines;
  size_t current = 0;
  bool pinned = false;
  Line& line() { return lines[current]; }
};

/// Logits of whole contexts, computed from nothing and remembered.
class Replay {
 public:
  Replay() {
    ModelOptions options;
    options.threads = 1;
    model_ = Must(Model::Open(TinyModel(), options));
    const ChatShape text;  // no tools, no reasoning
    trie_ = std::make_unique<VocabularyTrie>(*model_->tokenizer(), model_->config().vocab);
    parts_.grammar = Must(CompileChat(text));
    parts_.tokenizer = model_->tokenizer();
    parts_.trie = trie_.get();
    parts_.ids = Must(ControlIds::Lookup(*model_->tokenizer()));
  }

  /// Every sampled id of `line` from `begin` on, all of one message, is the one that the context
  /// before it gives.
  void Check(const Line& line, size_t begin) {
    const auto key = std::pair(line.ids, line.hashes);
    if (!known_.insert(key).second) return;
    KvCache cache = model_->NewCache();
    std::vector<float> logits;
    const auto context = std::span(line.ids).first(line.ids.size() - 1);
    REQUIRE_OK(model_->Forward(cache, context, LogitsWanted::kAll, &logits));
    const size_t vocab = logits.size() / context.size();
    TokenConstraint constraint(parts_);
    for (size_t at = begin; at < line.ids.size(); ++at) {
      if (line.hashes[at] == 0) continue;
      const auto row = std::span(logits).subspan((at - 1) * vocab, vocab);
      CAPTURE(at, line.ids.size());
      REQUIRE(XXH3_64bits(row.data(), row.size_bytes()) == line.hashes[at]);
      const TokenMask& mask = constraint.Mask();
      REQUIRE(SampleToken(row, Sampling(), static_cast<int64_t>(at), &mask) == line.ids[at]);
      REQUIRE(constraint.Accept(line.ids[at]));
    }
  }
  size_t replays() const { return known_.size(); }

 private:
  std::unique_ptr<Model> model_;
  std::unique_ptr<VocabularyTrie> trie_;
  ConstraintParts parts_;
  std::set<std::pair<std::vector<int32_t>, std::vector<uint64_t>>> known_;
};

/// What a text becomes behind a context; the same every time.
using Prompts = std::map<std::pair<std::vector<int32_t>, std::string>, std::vector<int32_t>>;

class Walk {
 public:
  Walk(Replay& replay, Prompts& prompts) : replay_(replay), prompts_(prompts) {
    OpenIn(std::make_unique<MemoryDirectory>());
  }

  /// One seed's steps, after which no session is left. The first of a group has long texts too,
  /// whose replays are most of what all of this costs.
  void Run(uint64_t seed) {
    random_.seed(seed);
    texts_ = std::ssize(Texts()) - (seed % kGroup == 1 ? 0 : 1);
    Create();
    Turn();
    for (int step = 0; step < kSteps; ++step) {
      CAPTURE(step);
      Step();
    }
    End();
  }

 private:
  void Step() {
    const int64_t roll = Draw(100);
    if (model_.empty()) return Create();
    if (roll < 40) return Turn();
    if (roll < 53) return Fork();
    if (roll < 65) return Rewind();
    if (roll < 72) return Undo();
    if (roll < 76) return Pin();
    if (roll < 81) return Delete();
    if (roll < 85) return Prefetch();
    if (roll < 89) return Release();
    if (roll < 94) return Collect();
    if (roll < 97) return Restart();
    Kill();
  }

  void Compare() {
    std::string none;
    const auto sessions = Must(runtime_->ListSessions(100, "", &none));
    REQUIRE(sessions.size() == model_.size());
    for (const SessionView& view : sessions) {
      CAPTURE(view.session);
      REQUIRE(model_.contains(view.session));
      ModelSession& session = model_[view.session];
      REQUIRE(view.pinned == session.pinned);
      const TokenTrace trace = Must(runtime_->ReadTokens(view.session, 0, view.tokens));
      REQUIRE(trace.ids == session.line().ids);
      REQUIRE(Hashes(trace) == session.line().hashes);
    }
  }
  /// And nothing else is wrong.
  void End() {
    Compare();
    const auto report = Must(runtime_->Verify(""));
    CAPTURE(report.problems);
    REQUIRE(report.problems.empty());
    while (!model_.empty()) {
      DeleteRequest request;
      request.session = model_.begin()->first;
      if (model_.begin()->second.pinned) REQUIRE_OK(runtime_->PinSession(request.session, false));
      REQUIRE_OK(runtime_->DeleteSession(request));
      model_.erase(request.session);
    }
  }

  int64_t Draw(int64_t below) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(below));
  }
  std::pair<const std::string, ModelSession>& AnySession() {
    auto session = model_.begin();
    std::advance(session, Draw(std::ssize(model_)));
    return *session;
  }
  static std::vector<uint64_t> Hashes(const TokenTrace& trace) {
    std::vector<uint64_t> hashes = trace.logits_hashes;
    hashes.resize(trace.ids.size(), 0);
    return hashes;
  }

  void Create() {
    CreateSessionRequest request;
    request.session = "s" + std::to_string(++names_);
    request.settings.script = R"(
      return function(message) return baleen.generate({ user = message }).content end)";
    request.settings.tokens_max = kTokensMax;
    request.settings.sampling.seed = Sampling().seed;
    REQUIRE_OK(runtime_->CreateSession(request));
    model_[request.session].lines.resize(1);
  }

  void Turn() {
    auto& [id, session] = AnySession();
    Line& line = session.line();
    StartTurnRequest request;
    request.session = id;
    request.trace_logits = true;
    request.input = {Texts()[static_cast<size_t>(Draw(texts_))]};
    const TurnView turn = RunTurn(*runtime_, request);
    CAPTURE(id, turn.error.ToString());
    const TokenTrace trace = ReadAll(*runtime_, id);
    Line after = {trace.ids, Hashes(trace), line.previous};
    const size_t before = line.ids.size();
    REQUIRE(after.ids.size() > before);
    REQUIRE(std::equal(line.ids.begin(), line.ids.end(), after.ids.begin()));
    REQUIRE(std::equal(line.hashes.begin(), line.hashes.end(), after.hashes.begin()));
    // The prompt, then what was sampled, to the end.
    const auto first = std::find_if(after.hashes.begin() + static_cast<int64_t>(before),
                                    after.hashes.end(), [](uint64_t hash) { return hash != 0; });
    const auto prompt_end = first - after.hashes.begin();
    const auto sampled = std::ssize(after.ids) - prompt_end;
    REQUIRE(sampled >= 1);
    REQUIRE(std::find(first, after.hashes.end(), uint64_t{0}) == after.hashes.end());
    REQUIRE((sampled == kTokensMax || after.ids.back() == 1));  // the end of sentence
    const std::vector<int32_t> prompt(after.ids.begin() + static_cast<int64_t>(before),
                                      after.ids.begin() + prompt_end);
    const auto [known, fresh] = prompts_.try_emplace({line.ids, request.input[0]}, prompt);
    if (!fresh) REQUIRE(known->second == prompt);
    replay_.Check(after, before);
    line = std::move(after);
  }

  /// The session's current timeline up to a point of it.
  static Line CutOf(const ModelSession& session, int64_t tokens) {
    const Line& line = session.lines[session.current];
    const auto count = static_cast<size_t>(tokens);
    return {{line.ids.begin(), line.ids.begin() + tokens},
            {line.hashes.begin(), line.hashes.begin() + static_cast<int64_t>(count)},
            -1};
  }

  void Fork() {
    auto& [id, session] = AnySession();
    ForkRequest request;
    request.session = id;
    request.fork = "s" + std::to_string(++names_);
    int64_t tokens = std::ssize(session.line().ids);
    if (Draw(3) != 0) request.at.tokens = tokens = Draw(tokens + 1);
    CAPTURE(id, tokens);
    REQUIRE_OK(runtime_->ForkSession(request));
    ModelSession fork;
    fork.lines = {CutOf(session, tokens)};
    model_[request.fork] = std::move(fork);
  }

  void Rewind() {
    auto& [id, session] = AnySession();
    RewindRequest request;
    request.session = id;
    request.to.tokens = Draw(std::ssize(session.line().ids) + 1);
    CAPTURE(id, *request.to.tokens);
    REQUIRE_OK(runtime_->RewindSession(request));
    Line line = CutOf(session, *request.to.tokens);
    line.previous = static_cast<int64_t>(session.current);
    session.current = session.lines.size();
    session.lines.push_back(std::move(line));
  }

  void Undo() {
    auto& [id, session] = AnySession();
    RewindRequest request;
    request.session = id;
    request.undo = true;
    const auto undone = runtime_->RewindSession(request);
    if (session.line().previous < 0) {
      REQUIRE(undone.status().reason() == "NOTHING_TO_UNDO");
      return;
    }
    REQUIRE_OK(undone);
    session.current = static_cast<size_t>(session.line().previous);
  }

  void Pin() {
    auto& [id, session] = AnySession();
    session.pinned = !session.pinned;
    REQUIRE_OK(runtime_->PinSession(id, session.pinned));
  }

  void Delete() {
    const auto& [id, session] = AnySession();
    DeleteRequest request;
    request.session = id;
    const auto deleted = runtime_->DeleteSession(request);
    if (session.pinned) {
      REQUIRE(deleted.status().reason() == "SESSION_PINNED");
      return;
    }
    REQUIRE_OK(deleted);
    model_.erase(request.session);
  }

  void Collect() { Must(runtime_->Compact()); }
  void Prefetch() { Must(runtime_->PrefetchSession(AnySession().first)); }
  void Release() { Must(runtime_->ReleaseSession(AnySession().first)); }

  void Restart() {
    runtime_.reset();
    OpenIn(std::move(folder_));
    Compare();
  }

  /// What the process has handed to the kernel is all that is left.
  void Kill() {
    std::unique_ptr<MemoryDirectory> left;
    std::error_code error = std::make_error_code(std::errc::no_such_file_or_directory);
    // RocksDB's threads may take a file away under the copy: then once more.
    for (int i = 0; i < 100 && error == std::errc::no_such_file_or_directory; ++i) {
      left = std::make_unique<MemoryDirectory>();
      std::filesystem::copy(folder_->File("data"), left->File("data"),
                            std::filesystem::copy_options::recursive, error);
    }
    CAPTURE(error.message());
    REQUIRE_FALSE(error);
    runtime_.reset();
    OpenIn(std::move(left));
    Compare();
  }

  void OpenIn(std::unique_ptr<MemoryDirectory> folder) {
    folder_ = std::move(folder);
    RuntimeOptions options = WorkerOptions(folder_->File("data"), TinyModel());
    options.checkpoint_interval_tokens = 128;
    options.resident_sequences_max = 2;
    options.kv_ram_bytes = 1 << 20;
    options.kv_disk_bytes = 400'000;
    options.tool_threads = 1;
    runtime_ = OpenRuntime(options);
  }

  int64_t texts_ = 0;
  std::mt19937_64 random_;
  Replay& replay_;
  Prompts& prompts_;
  std::map<std::string, ModelSession> model_;
  int64_t names_ = 0;
  std::unique_ptr<MemoryDirectory> folder_;
  std::unique_ptr<Runtime> runtime_;
};

/// One of `parts` parts of the seeds 1 to `count`; a single seed with those of its group before it.
void WalkSeeds(uint64_t count, uint64_t parts, uint64_t part) {
  Replay replay;
  Prompts prompts;
  uint64_t walked = 0;
  const auto wanted = Seeds(count);
  const bool single = wanted.size() == 1;
  for (uint64_t first = 1; first <= wanted.back(); first += kGroup) {
    const uint64_t group = first / kGroup;
    if (single ? group != (wanted.back() - 1) / kGroup : group % parts != part) continue;
    Walk walk(replay, prompts);
    for (uint64_t seed = first; seed < first + kGroup && seed <= wanted.back(); ++seed) {
      CAPTURE(seed);
      walk.Run(seed);
      ++walked;
    }
  }
  std::cout << "runtime model: " << walked << " seeds, " << replay.replays() << " replays\n";
}

}  // namespace

TEST_CASE("RuntimeIsWhatItsModelIsOverHalfOfTheRandomHistories") { WalkSeeds(1000, 2, 0); }
TEST_CASE("RuntimeIsWhatItsModelIsOverTheOtherHalf") { WalkSeeds(1000, 2, 1); }
// Those beyond them.
TEST_CASE("RuntimeIsWhatItsModelIsOverManyRandomHistories", "[.long]") { WalkSeeds(20'000, 1, 0); }

}  // namespace baleen

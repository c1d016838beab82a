// Clients that lose their connection at any byte, again and again, while a session goes on, is
// rewound and goes on: what each has in the end is what one has that never lost it.

#include <iostream>
#include <optional>
#include <random>

#include "runtime/grpc/client.h"
#include "runtime/grpc/server.h"
#include "tests/grpc/cutting_proxy.h"
#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

constexpr int kClients = 4;

/// Text of a generation as the live lane told it.
struct Shown {
  std::string item;
  std::string content;
  std::string reasoning;

  bool operator==(const Shown&) const = default;
};

struct Entry {
  int64_t time_ms = 0;
  std::string turn;
  std::string kind;
  std::string payload;
  /// Of a generation that was watched to its end; unset: the connection was gone then.
  std::optional<Shown> shown;
};

/// What a client knows of a session, event by event. Anything missing, twice or out of order is
/// noted in `wrong`.
class Picture {
 public:
  void Take(const Event& event) {
    if (event.kind == "timeline") return Rewind(event);
    if (event.seq > 0) return Durable(event);
    if (event.kind == "snapshot" || event.kind == "delta") Live(event);
  }
  void Disconnect() { open_.reset(); }

  const std::vector<Entry>& entries() const { return entries_; }
  const std::string& cursor() const { return cursor_; }
  const std::string& wrong() const { return wrong_; }

 private:
  void Wrong(const Event& event, const std::string& what) {
    if (wrong_.empty()) wrong_ = event.kind + " after " + event.cursor + ": " + what;
  }

  void Rewind(const Event& event) {
    if (event.seq > std::ssize(entries_)) Wrong(event, "keeps more than was sent");
    entries_.resize(static_cast<size_t>(std::min(event.seq, std::ssize(entries_))));
    cursor_ = event.cursor;
    open_.reset();
  }

  void Durable(const Event& event) {
    if (event.seq != std::ssize(entries_) + 1) {
      return Wrong(event, "expected " + std::to_string(entries_.size() + 1));
    }
    Entry entry{event.time_ms, event.turn, event.kind, event.payload, {}};
    if (event.kind == "generated") {
      const std::string content = Parse(event.payload)["event"]["message"]["content"];
      if (open_.has_value() && !content.starts_with(open_->content)) {
        Wrong(event, "its text isn't what was shown");
      }
      entry.shown = std::exchange(open_, std::nullopt);
    }
    entries_.push_back(std::move(entry));
    cursor_ = event.cursor;
  }

  void Live(const Event& event) {
    const auto payload = Parse(event.payload);
    const std::string item = payload["item"];
    const int64_t offset = payload["offset"];
    if (event.kind == "snapshot" || (!open_.has_value() && offset == 0))
      open_ = Shown{item, "", ""};
    if (!open_.has_value()) return Wrong(event, "its beginning is missing");
    const auto known = std::ssize(open_->content) + std::ssize(open_->reasoning);
    if (item != open_->item || offset != known) {
      return Wrong(event, item + " at " + std::to_string(offset) + ", expected " + open_->item +
                              " at " + std::to_string(known));
    }
    open_->content += payload["content"].get<std::string>();
    open_->reasoning += payload["reasoning"].get<std::string>();
  }

  std::vector<Entry> entries_;
  std::string cursor_;
  std::optional<Shown> open_;
  std::string wrong_;
};

/// A connection's events, until it breaks or has had enough.
class Connection final : public EventSubscriber {
 public:
  Connection(Picture* picture, int64_t events_max) : picture_(picture), left_(events_max) {}
  bool OnEvent(const Event& event) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (left_ == 0) return false;
    if (left_ > 0) --left_;
    picture_->Take(event);
    changed_.notify_all();
    return true;
  }
  void OnEnd(const Status& status) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    end_ = status;
    changed_.notify_all();
  }
  /// Until the connection's end, or the event with `cursor` (if it isn't empty).
  bool Await(const std::string& cursor) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::milliseconds(kPatienceMs), [&] {
      return end_.has_value() || (!cursor.empty() && picture_->cursor() == cursor);
    });
  }

 private:
  Picture* const picture_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t left_;  ///< < 0: no end.
  std::optional<Status> end_;
};

/// Watches through a proxy that cuts; comes back after the last cursor each time.
class Client {
 public:
  Client(int number, uint64_t seed, const TempDirectory& folder, const std::string& server)
      : random_(seed * kClients + static_cast<uint64_t>(number)),
        proxy_(folder.File("c" + std::to_string(number)), server) {}

  /// Loses its connection so many times. Errors: a refusal that a broken connection doesn't cause.
  Status Lose(int64_t times) {
    while (lost_ < times) {
      // By the network at any byte, or by the client itself after some event.
      const bool cut = random_() % 2 == 0;
      proxy_.CutAfter(cut ? static_cast<int64_t>(random_() % 12'000) : -1);
      RETURN_IF_ERROR(Watch(cut ? -1 : static_cast<int64_t>(random_() % 60), ""));
      ++lost_;
    }
    return OkStatus();
  }
  Status Finish(const std::string& head) {
    proxy_.CutAfter(-1);
    return Watch(-1, head);
  }
  const Picture& picture() const { return picture_; }

 private:
  Status Watch(int64_t events_max, const std::string& until) {
    Connection connection(&picture_, events_max);
    const auto remote = ConnectRuntime(proxy_.address());
    if (!remote.ok()) return Broken(remote.status());
    const auto watching = (*remote)->Watch({"s", picture_.cursor(), true}, &connection);
    if (!watching.ok()) return Broken(watching.status());
    if (!connection.Await(until)) return DeadlineExceededError("no event, and no end");
    picture_.Disconnect();
    return OkStatus();
  }
  static Status Broken(const Status& status) {
    return status.code() == StatusCode::kUnavailable ? OkStatus() : status;
  }

  std::mt19937_64 random_;
  CuttingProxy proxy_;
  Picture picture_;
  int64_t lost_ = 0;
};

CreateSessionRequest LongSession() {
  CreateSessionRequest request;
  request.session = "s";
  request.settings.script = R"(
return function(message)
  for _ = 1, 6 do baleen.generate { user = message, max_tokens = 24 } end
  return "done"
end
)";
  return request;
}

/// Turns, and now and then a rewind, for as long as somebody watches.
void KeepTalking(Runtime& runtime, const std::atomic<bool>& watched) {
  std::vector<std::string> turns;
  while (watched.load() || turns.empty()) {
    StartTurnRequest request;
    request.session = "s";
    request.input = {"turn " + std::to_string(turns.size())};
    turns.push_back(RunTurn(runtime, request).turn);
    if (turns.size() < 8) continue;
    RewindRequest rewind;
    rewind.session = "s";
    turns.resize(turns.size() - 5);
    rewind.to.turn = turns.back();
    REQUIRE_OK(runtime.RewindSession(rewind));
  }
}

void RequireSame(const Picture& interrupted, const Picture& whole) {
  REQUIRE(interrupted.wrong() == "");
  REQUIRE(interrupted.entries().size() == whole.entries().size());
  for (size_t i = 0; i < whole.entries().size(); ++i) {
    const Entry& one = interrupted.entries()[i];
    const Entry& other = whole.entries()[i];
    CAPTURE(i + 1, one.kind, other.kind);
    REQUIRE(one.kind == other.kind);
    REQUIRE(one.turn == other.turn);
    REQUIRE(one.time_ms == other.time_ms);
    REQUIRE(one.payload == other.payload);
    if (one.shown.has_value() && other.shown.has_value()) REQUIRE(*one.shown == *other.shown);
  }
}

/// Answers how many generations were put together from snapshots and deltas of several connections.
void LoseConnections(int64_t times_each, uint64_t seed) {
  std::cout << "seed " << seed << ", " << kClients << " x " << times_each << " disconnects\n";
  const TempDirectory temp;
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("data"), TinyModel()));
  ServerOptions options;
  options.listen = {"unix:" + temp.File("run/s")};
  const auto server = Must(Server::Start(options, runtime.get()));
  REQUIRE_OK(runtime->CreateSession(LongSession()));
  Picture whole;
  Connection uninterrupted(&whole, -1);
  const auto remote = Must(ConnectRuntime(server->addresses()[0]));
  const auto watching = Must(remote->Watch({"s", "", true}, &uninterrupted));

  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<Client>(i, seed, temp, temp.File("run/s")));
  }
  std::atomic<bool> watched = true;
  std::atomic<int> losing = kClients;
  std::vector<Status> ends(kClients);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kClients; ++i) {
    threads.emplace_back([&, i] {
      ends[i] = clients[i]->Lose(times_each);
      if (--losing == 0) watched.store(false);
    });
  }
  KeepTalking(*runtime, watched);
  for (std::thread& thread : threads) thread.join();
  for (const Status& end : ends) REQUIRE_OK(end);
  const std::string head = Must(runtime->GetSession("s")).head_cursor;
  REQUIRE(uninterrupted.Await(head));
  REQUIRE(whole.wrong() == "");
  const auto journal = AllEvents(*runtime, "s");
  REQUIRE(journal.size() == whole.entries().size());
  for (size_t i = 0; i < journal.size(); ++i)
    REQUIRE(journal[i].payload == whole.entries()[i].payload);
  for (const auto& client : clients) {
    REQUIRE_OK(client->Finish(head));
    RequireSame(client->picture(), whole);
  }
}

}  // namespace

TEST_CASE("ClientsThatLoseTheirConnectionEndWithWhatAnUninterruptedOneHas") {
  LoseConnections(50, Catch::rngSeed());
}

TEST_CASE("AThousandDisconnectsOfFourClients", "[.long]") {
  LoseConnections(250, Catch::rngSeed());
}

}  // namespace baleen

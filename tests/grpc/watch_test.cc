// WatchEvents: nothing missed, nothing twice, and a bounded queue.

#include <baleen/v1/events.grpc.pb.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include "tests/grpc/fixture.h"
#include "tests/grpc/raw_call.h"

namespace baleen {
namespace {

// Far more than what gRPC buffers below us when hundreds of these are not read: its windows start
// at 64 KiB and grow to a few MiB.
constexpr size_t kEventBytes = 100'000;

/// A client that reads only when it is told to.
struct RawWatch {
  explicit RawWatch(const Fixture& f, const std::string& session, std::vector<v1::Lane> lanes = {})
      : stub(v1::Events::NewStub(RawChannel(f.address()))) {
    v1::WatchEventsRequest request;
    request.set_parent("sessions/" + session);
    for (const v1::Lane lane : lanes) request.add_lanes(lane);
    reader = stub->WatchEvents(&context, request);
    v1::WatchEventsResponse first;
    REQUIRE(reader->Read(&first));
    REQUIRE(first.has_ready());
    ready = first.ready();
  }
  v1::Event Next() {
    v1::WatchEventsResponse response;
    REQUIRE(reader->Read(&response));
    return response.event();
  }
  std::unique_ptr<v1::Events::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::WatchEventsResponse>> reader;
  v1::StreamReady ready;
};

std::string Filler(int number) { return std::to_string(number) + std::string(kEventBytes, ' '); }

void CheckContiguous(const std::vector<Event>& events, int64_t first) {
  for (size_t i = 0; i < events.size(); ++i) {
    if (events[i].seq == first + static_cast<int64_t>(i)) continue;
    FAIL("event " << i << " has seq " << events[i].seq << ", expected " << first + i);
  }
}

TEST_CASE("Watch replays after the cursor and goes on live, each event once") {
  Fixture f;
  f.NewSession("s");
  const Event second = f.runtime.Publish("s", "t1", "turn_started", "{\"a\":1}");
  f.runtime.Publish("s", "t1", "generated", "{\"b\":\"\xC3\xBC\"}");
  Recorder recorder;
  auto watch = f.remote->Watch({"s", second.cursor, true}, &recorder);
  REQUIRE(watch.ok());
  f.runtime.WaitUntil([&] { return f.runtime.watches == 1; });
  f.runtime.Publish("s", "t1", "delta", "{\"text\":\"x\"}", true);
  f.runtime.Publish("s", "t1", "turn_finished", "{}");
  const std::vector<Event> got = recorder.WaitFor(3);
  REQUIRE(got.size() == 3);
  CHECK(got[0].session == "s");
  CHECK(got[0].turn == "t1");
  CHECK(got[0].kind == "generated");
  CHECK(got[0].payload == "{\"b\":\"\xC3\xBC\"}");
  CHECK(got[0].cursor == "s:3");
  CHECK(got[0].seq == 3);
  CHECK(got[0].time_ms == 1'700'000'000'123);
  CHECK(got[1].kind == "delta");
  CHECK(got[1].seq == 0);
  CHECK(got[1].cursor == "s:3");
  CHECK(got[2].seq == 4);
  *watch = nullptr;
  f.runtime.WaitUntil([&] { return f.runtime.watches == 0; });  // hangs if the server keeps it
}

TEST_CASE("StreamReady tells the state before the events") {
  Fixture f;
  f.NewSession("s");
  REQUIRE(f.runtime.StartTurn(TurnOf("s", "x")).ok());
  const RawWatch watch(f, "s");
  CHECK(watch.ready.head_cursor() == "s:2");
  CHECK(watch.ready.state() == v1::Session::RUNNING);
  CHECK(watch.ready.open_turn() == "sessions/s/turns/t1");
}

TEST_CASE("Watch refuses unknown sessions, foreign and stale cursors") {
  Fixture f;
  f.NewSession("s");
  Recorder recorder;
  CHECK(f.remote->Watch({"nobody", "", true}, &recorder).status().reason() == "SESSION_UNKNOWN");
  CHECK(f.remote->Watch({"s", "other:1", true}, &recorder).status().code() ==
        StatusCode::kInvalidArgument);
  const Status stale = f.remote->Watch({"s", "s:99", true}, &recorder).status();
  CHECK(stale.code() == StatusCode::kOutOfRange);
  CHECK(stale.reason() == "CURSOR_EXPIRED");
  CHECK(f.remote->Watch({"S!", "", true}, &recorder).status().reason() == "BAD_FIELD");
  CHECK(f.runtime.watches == 0);
}

TEST_CASE("Lanes select what is sent") {
  Fixture f;
  f.NewSession("s");
  RawWatch durable(f, "s", {v1::LANE_DURABLE});
  RawWatch live(f, "s", {v1::LANE_LIVE});
  f.runtime.WaitUntil([&] { return f.runtime.watches == 2; });
  f.runtime.Publish("s", "", "delta", "{}", true);
  f.runtime.Publish("s", "", "generated", "{}");
  f.runtime.Publish("s", "", "delta", "{\"n\":2}", true);
  CHECK(durable.Next().seq() == 1);
  CHECK(durable.Next().seq() == 2);
  CHECK(live.Next().payload() == "{}");
  CHECK(live.Next().payload() == "{\"n\":2}");
}

TEST_CASE("A replay longer than the queue arrives whole") {
  Fixture f({.watch_events_max = 8});
  f.NewSession("s");
  for (int i = 0; i < 200; ++i) f.runtime.Publish("s", "", "generated", Filler(i));
  Recorder recorder;
  const auto watch = f.remote->Watch({"s", "", true}, &recorder);
  REQUIRE(watch.ok());
  const std::vector<Event> got = recorder.WaitFor(201);
  REQUIRE(got.size() == 201);
  CheckContiguous(got, 1);
  CHECK(f.runtime.watches_total > 1);  // it had to subscribe again, or the queue wasn't bounded
  f.runtime.Publish("s", "", "generated", "last");
  CHECK(recorder.WaitFor(202).back().payload == "last");
}

TEST_CASE("A slow consumer is told so, with the cursor to go on from, and misses nothing") {
  Fixture f({.watch_events_max = 16});
  f.NewSession("s");
  RawWatch watch(f, "s");
  const std::string caught_up = watch.Next().cursor();
  CHECK(caught_up == "s:1");
  int published = 1;
  while (f.runtime.refused_events == 0) {
    REQUIRE(published < 10'000);  // no bound: the queue would grow for ever
    f.runtime.Publish("s", "", "generated", Filler(published++));
  }
  v1::WatchEventsResponse response;
  std::string last = caught_up;
  while (watch.reader->Read(&response)) last = response.event().cursor();
  const grpc::Status status = watch.reader->Finish();
  CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  google::rpc::Status details;
  google::rpc::ErrorInfo why;
  REQUIRE(details.ParseFromString(status.error_details()));
  REQUIRE(details.details_size() == 1);
  REQUIRE(details.details(0).UnpackTo(&why));
  CHECK(why.domain() == "baleen");
  CHECK(why.reason() == "SLOW_CONSUMER");
  CHECK(why.metadata().at("cursor") == last);

  Recorder recorder;
  const auto resumed = f.remote->Watch({"s", last, true}, &recorder);
  REQUIRE(resumed.ok());
  const int64_t seen = std::stoll(last.substr(2));
  const std::vector<Event> rest = recorder.WaitFor(static_cast<size_t>(published - seen));
  CheckContiguous(rest, seen + 1);
  CHECK(rest.back().seq == published);
}

TEST_CASE("Live events give way to durable ones, and their loss is counted") {
  Fixture f({.watch_events_max = 16});
  f.NewSession("s");
  RawWatch watch(f, "s");
  CHECK(watch.Next().seq() == 1);
  constexpr int kLive = 1000;
  for (int i = 0; i < kLive; ++i) f.runtime.Publish("s", "", "delta", Filler(i), true);
  f.runtime.Publish("s", "", "turn_finished", "{}");
  CHECK(f.runtime.refused_events == 0);
  int received = 0;
  int64_t dropped = 0;
  v1::Event event;
  do {
    event = watch.Next();
    dropped += event.live_dropped();
    if (event.seq() == 0) ++received;
  } while (event.seq() == 0);
  CHECK(event.kind() == "turn_finished");
  CHECK(dropped > 0);
  CHECK(received + dropped == kLive);
}

TEST_CASE("Of waiting progress events only the newest is kept") {
  Fixture f({.watch_events_max = 16});
  f.NewSession("s");
  RawWatch watch(f, "s");
  CHECK(watch.Next().seq() == 1);
  for (int i = 0; i < 1000; ++i) f.runtime.Publish("s", "", "progress", Filler(i), true);
  f.runtime.Publish("s", "", "turn_finished", "{}");
  int received = 0;
  int64_t dropped = 0;
  std::string newest;
  v1::Event event;
  while ((event = watch.Next()).seq() == 0) {
    ++received;
    newest = event.payload();
    dropped += event.live_dropped();
  }
  CHECK(dropped == 0);
  CHECK(received < 1000);  // some had to wait, and gave way
  CHECK(newest == Filler(999));
}

TEST_CASE("Of each call's waiting news only the newest is kept") {
  Fixture f({.watch_events_max = 16});
  f.NewSession("s");
  RawWatch watch(f, "s");
  CHECK(watch.Next().seq() == 1);
  const auto news = [](int call, int number) {
    return "{\"call\":\"c" + std::to_string(call) + "\",\"text\":\"" + Filler(number) + "\"}";
  };
  constexpr int kEach = 500;
  for (int i = 0; i < kEach; ++i) {
    for (int call = 1; call <= 2; ++call) {
      f.runtime.Publish("s", "t1", "tool_progress", news(call, i), true);
    }
  }
  f.runtime.Publish("s", "t1", "turn_finished", "{}");
  std::vector<std::string> payloads;
  v1::Event event;
  while ((event = watch.Next()).seq() == 0) {
    CHECK(event.kind() == "tool_progress");
    CHECK(event.live_dropped() == 0);
    payloads.push_back(event.payload());
  }
  CHECK(payloads.size() < 2 * kEach);
  for (int call = 1; call <= 2; ++call) {
    CHECK(std::count(payloads.begin(), payloads.end(), news(call, kEach - 1)) == 1);
  }
}

TEST_CASE("An event larger than the queue passes alone") {
  Fixture f({.watch_bytes_max = 1000});
  f.NewSession("s");
  Recorder recorder;
  const auto watch = f.remote->Watch({"s", "", true}, &recorder);
  REQUIRE(watch.ok());
  REQUIRE(recorder.WaitFor(1).size() == 1);
  f.runtime.Publish("s", "", "generated", std::string(1 << 20, 'x'));
  CHECK(recorder.WaitFor(2).at(1).payload.size() == 1 << 20);
}

TEST_CASE("The runtime's end comes after what was queued") {
  Fixture f;
  f.NewSession("s");
  Recorder recorder;
  const auto watch = f.remote->Watch({"s", "", true}, &recorder);
  REQUIRE(watch.ok());
  f.runtime.WaitUntil([&] { return f.runtime.watches == 1; });
  for (int i = 0; i < 100; ++i) f.runtime.Publish("s", "", "generated", "{}");
  f.runtime.EndWatches(DataLossError("journal", "LOG_CORRUPT"));
  const Status end = recorder.WaitForEnd();
  CHECK(end.code() == StatusCode::kDataLoss);
  CHECK(end.reason() == "LOG_CORRUPT");
  CHECK(recorder.events().size() == 101);
  f.runtime.WaitUntil([&] { return f.runtime.watches == 0; });
}

TEST_CASE("A subscriber that says no is ended, and so is the server's side") {
  struct Refuser final : EventSubscriber {
    bool OnEvent(const Event&) override { return false; }
    void OnEnd(const Status& status) override { end.Block(false), end.OnEnd(status); }
    Recorder end;
  };
  Fixture f;
  f.NewSession("s");
  Refuser refuser;
  const auto watch = f.remote->Watch({"s", "", true}, &refuser);
  REQUIRE(watch.ok());
  CHECK(refuser.end.WaitForEnd().reason() == "SLOW_CONSUMER");
  f.runtime.WaitUntil([&] { return f.runtime.watches == 0; });
}

}  // namespace
}  // namespace baleen

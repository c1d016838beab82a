// Export and import as a host sees them: a session moves as one file and goes on with the same
// bits; what can't be trusted is computed again, and that is said.
#include <unistd.h>

#include "runtime/sessions/archive_payloads.h"
#include "runtime/store/session_archive.h"
#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

constexpr char kScript[] = R"(
return function(message)
  return baleen.generate { user = message }.content
end
)";

CreateSessionRequest Session(const std::string& id) {
  CreateSessionRequest request;
  request.session = id;
  request.settings.title = "title of " + id;
  request.settings.script = kScript;
  request.settings.tokens_max = 12;
  request.settings.sampling.seed = 5;
  return request;
}

StartTurnRequest Turn(const std::string& session, const std::string& text) {
  StartTurnRequest request;
  request.session = session;
  request.input = {text};
  request.trace_logits = true;
  return request;
}

ImportRequest Import(const std::string& path, const std::string& session) {
  ImportRequest request;
  request.path = path;
  request.session = session;
  return request;
}

/// Several blocks of context.
std::string LongText() {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "line " + std::to_string(i) + " of a long message; ";
  return text;
}

/// A runtime over its own data directory, with one session of two turns.
struct Origin {
  explicit Origin(const TempDirectory& temp, uint64_t model = 1)
      : runtime(OpenRuntime(WorkerOptions(temp.File("origin"), TinyModel(model)))) {
    REQUIRE_OK(runtime->CreateSession(Session("first")));
    RunTurn(*runtime, Turn("first", LongText()));
    RunTurn(*runtime, Turn("first", "and more"));
  }
  std::unique_ptr<Runtime> runtime;
};

/// Ids and hashes of the next turn: equal only if the whole context is equal in every bit.
TokenTrace Continue(Runtime& runtime, const std::string& session) {
  const TurnView turn = RunTurn(runtime, Turn(session, "go on"));
  INFO(turn.error.ToString());
  REQUIRE(turn.state == TurnState::kSucceeded);
  return ReadAll(runtime, session);
}

void RequireEqual(const TokenTrace& a, const TokenTrace& b) {
  REQUIRE(a.ids == b.ids);
  REQUIRE(a.logits_hashes == b.logits_hashes);
  REQUIRE(Sampled(a) > 0);
}

bool Notes(const ImportView& view, const std::string& words) {
  return std::any_of(view.notes.begin(), view.notes.end(), [&](const std::string& note) {
    return note.find(words) != std::string::npos;
  });
}

/// Copies the frames of `from` to `to`, as `edit` leaves them, signed with `key`.
template <typename Edit>
void Rewrite(const std::string& from, const std::string& to, const ArchiveKey& key, Edit edit) {
  const auto reader = Must(ArchiveReader::Open(from));
  const auto writer = Must(ArchiveWriter::Create(to, key));
  while (true) {
    ArchiveRecord record = Must(reader->Next());
    if (record.kind == ArchiveFrame::kEnd) break;
    if (edit(record)) REQUIRE_OK(writer->Append(record.kind, {record.payload}));
  }
  REQUIRE_OK(writer->Finish());
}

const ArchiveKey kStranger{std::string(32, 's')};

}  // namespace

TEST_CASE("ExportedSessionIsImportedWithItsKvAndGoesOnWithTheSameBits") {
  const TempDirectory temp;
  Origin origin(temp);
  const std::string path = temp.File("first.baleen");
  const ExportView exported = Must(origin.runtime->ExportSession("first", path, {}));
  REQUIRE(exported.blocks > 2);
  REQUIRE(exported.blocks_missing == 0);
  REQUIRE(exported.checkpoints == 1);
  REQUIRE(exported.tokens == Must(origin.runtime->GetSession("first")).tokens);

  // Deleted here, imported under another name in the same place: its KV comes from the file.
  const ImportView imported = Must(origin.runtime->ImportSession(Import(path, "second"), {}));
  REQUIRE(imported.kv_taken);
  REQUIRE(imported.blocks == exported.blocks);
  REQUIRE(imported.session.session == "second");
  REQUIRE(imported.session.settings.title == "title of first");
  REQUIRE(AllEvents(*origin.runtime, "second").size() ==
          AllEvents(*origin.runtime, "first").size());
  RequireEqual(ReadAll(*origin.runtime, "second"), ReadAll(*origin.runtime, "first"));
  RequireEqual(Continue(*origin.runtime, "second"), Continue(*origin.runtime, "first"));
}

TEST_CASE("ImportIntoAnotherInstallationComputesTheContextAgainUnlessTrusted") {
  const TempDirectory temp;
  Origin origin(temp);
  const std::string path = temp.File("first.baleen");
  REQUIRE_OK(origin.runtime->ExportSession("first", path, {}));
  const TokenTrace expected = Continue(*origin.runtime, "first");

  const auto other = OpenRuntime(WorkerOptions(temp.File("other"), TinyModel()));
  const ImportView text = Must(other->ImportSession(Import(path, "as-text"), {}));
  REQUIRE_FALSE(text.kv_taken);
  REQUIRE(text.blocks == 0);
  REQUIRE(Notes(text, "another installation signed"));
  RequireEqual(Continue(*other, "as-text"), expected);
  REQUIRE(LastReuse(*other, "as-text")["reused_disk"] == 0);

  const auto third = OpenRuntime(WorkerOptions(temp.File("third"), TinyModel()));
  ImportRequest trusted = Import(path, "trusted");
  trusted.trust_kv = true;
  const ImportView taken = Must(third->ImportSession(trusted, {}));
  REQUIRE(taken.kv_taken);
  RequireEqual(Continue(*third, "trusted"), expected);
  REQUIRE(LastReuse(*third, "trusted")["reused_disk"] > 0);
}

TEST_CASE("ImportUnderAnotherModelIsTextAndSaysSo") {
  const TempDirectory temp;
  Origin origin(temp);
  const std::string path = temp.File("first.baleen");
  REQUIRE_OK(origin.runtime->ExportSession("first", path, {}));
  const auto other = OpenRuntime(WorkerOptions(temp.File("other"), TinyModel(2)));
  ImportRequest request = Import(path, "moved");
  request.trust_kv = true;  // Not even then: rows of another model mean nothing here.
  const ImportView view = Must(other->ImportSession(request, {}));
  REQUIRE_FALSE(view.kv_taken);
  REQUIRE(Notes(view, "under model"));
  REQUIRE(ReadAll(*other, "moved").ids == ReadAll(*origin.runtime, "first").ids);
  Continue(*other, "moved");
}

TEST_CASE("ForgedRowsNeverReachTheStore") {
  const TempDirectory temp;
  Origin origin(temp);
  const std::string path = temp.File("first.baleen");
  REQUIRE_OK(origin.runtime->ExportSession("first", path, {}));
  const TokenTrace expected = Continue(*origin.runtime, "first");
  const std::string forged = temp.File("forged.baleen");
  Rewrite(path, forged, kStranger, [](ArchiveRecord& record) {
    if (record.kind == ArchiveFrame::kBlock) record.payload.back() ^= 1;
    return true;
  });
  const auto other = OpenRuntime(WorkerOptions(temp.File("other"), TinyModel()));
  REQUIRE_FALSE(Must(other->ImportSession(Import(forged, "victim"), {})).kv_taken);
  RequireEqual(Continue(*other, "victim"), expected);
  REQUIRE(Must(other->Verify("")).problems.empty());
}

TEST_CASE("ArchivesWhoseContentsDoNotFitTogetherAreRefusedWhole") {
  const TempDirectory temp;
  Origin origin(temp);
  const std::string path = temp.File("first.baleen");
  REQUIRE_OK(origin.runtime->ExportSession("first", path, {}));
  const auto other = OpenRuntime(WorkerOptions(temp.File("other"), TinyModel()));
  int files = 0;
  const auto refused = [&](StatusCode code, const std::string& words, auto edit) {
    const std::string edited = temp.File("edited-" + std::to_string(++files));
    Rewrite(path, edited, kStranger, edit);
    ImportRequest request = Import(edited, "bad");
    request.trust_kv = true;
    REQUIRE_ERROR(other->ImportSession(request, {}), code, words);
    std::string next;
    REQUIRE(Must(other->ListSessions(10, "", &next)).empty());
  };
  refused(StatusCode::kDataLoss, "was expected", [n = 0](ArchiveRecord& record) mutable {
    return record.kind != ArchiveFrame::kEvent || ++n != 2;  // An event is missing.
  });
  refused(StatusCode::kDataLoss, "the header counts",
          [](ArchiveRecord& record) { return record.kind != ArchiveFrame::kTokens; });
  refused(StatusCode::kOutOfRange, "another tokenizer", [](ArchiveRecord& record) {
    if (record.kind == ArchiveFrame::kTokens) {
      TokenRun run = Must(DecodeArchiveTokens(record.payload));
      run.ids[3] = 1 << 30;
      record.payload = EncodeArchiveTokens(run);
    }
    return true;
  });
  refused(StatusCode::kDataLoss, "is unknown", [](ArchiveRecord& record) {
    if (record.kind == ArchiveFrame::kEvent) {
      EventRecord event = Must(ArchiveEventFromJson(record.payload));
      if (event.seq == 2) event.kind = "format_disk";
      record.payload = ArchiveEventToJson(event);
    }
    return true;
  });
  refused(StatusCode::kFailedPrecondition, "had not ended", [](ArchiveRecord& record) {
    if (record.kind == ArchiveFrame::kHeader) {
      ArchiveHeader header = Must(ArchiveHeaderFromJson(record.payload));
      header.events -= 1;
      record.payload = ArchiveHeaderToJson(header);
      return true;
    }
    // The last of nine events is the end of the second turn.
    return record.kind != ArchiveFrame::kEvent ||
           Must(ArchiveEventFromJson(record.payload)).seq != 9;
  });
  refused(StatusCode::kDataLoss, "a block has", [](ArchiveRecord& record) {
    if (record.kind == ArchiveFrame::kBlock) record.payload.resize(100);
    return true;
  });
  refused(StatusCode::kDataLoss, "block 9999", [](ArchiveRecord& record) {
    if (record.kind == ArchiveFrame::kBlock) {
      record.payload = EncodeArchiveBlockHead(9999) + record.payload.substr(8);
    }
    return true;
  });
}

TEST_CASE("ImportNeverTakesAWorkspaceFromTheFile") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("data"), TinyModel()));
  CreateSessionRequest request = Session("with-files");
  request.settings.workspace = SmallWorkspace();
  REQUIRE_OK(runtime->CreateSession(request));
  RunTurn(*runtime, Turn("with-files", "hello"));
  const std::string path = temp.File("a.baleen");
  REQUIRE_OK(runtime->ExportSession("with-files", path, {}));
  const ImportView without = Must(runtime->ImportSession(Import(path, "without"), {}));
  REQUIRE(without.session.settings.workspace.empty());
  REQUIRE(Notes(without, "was left out"));
  ImportRequest with = Import(path, "with");
  with.workspace = SmallWorkspace();
  REQUIRE(Must(runtime->ImportSession(with, {})).session.settings.workspace == SmallWorkspace());
}

TEST_CASE("ExportsAndImportsRefuseWhatTheyMustAndAnswerRepeatsAlike") {
  const TempDirectory temp;
  Origin origin(temp);
  Runtime& runtime = *origin.runtime;
  const std::string path = temp.File("first.baleen");
  REQUIRE_ERROR(runtime.ExportSession("nobody", path, {}), StatusCode::kNotFound, "nobody");
  REQUIRE_ERROR(runtime.ExportSession("first", path, [](int64_t, int64_t) { return false; }),
                StatusCode::kCancelled, "no file was made");
  REQUIRE(access(path.c_str(), F_OK) != 0);
  REQUIRE_OK(runtime.ExportSession("first", path, {}));
  REQUIRE_ERROR(runtime.ExportSession("first", path, {}), StatusCode::kAlreadyExists, path);
  REQUIRE_ERROR(runtime.ImportSession(Import(path, ""), {}), StatusCode::kAlreadyExists, "first");
  REQUIRE_ERROR(runtime.ImportSession(Import(path, "Not An Id"), {}), StatusCode::kInvalidArgument,
                "");
  ImportRequest once = Import(path, "once");
  once.request_id = "a-request";
  REQUIRE_OK(runtime.ImportSession(once, {}));
  const ImportView again = Must(runtime.ImportSession(once, {}));
  REQUIRE(again.session.session == "once");
  std::string next;
  REQUIRE(Must(runtime.ListSessions(10, "", &next)).size() == 2);
}

TEST_CASE("ImportSurvivesARestartAndCanBeForkedInsideItsHistory") {
  const TempDirectory temp;
  Origin origin(temp);
  const std::string path = temp.File("first.baleen");
  REQUIRE_OK(origin.runtime->ExportSession("first", path, {}));
  REQUIRE_OK(origin.runtime->ImportSession(Import(path, "second"), {}));
  origin.runtime.reset();
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("origin"), TinyModel()));
  // Event positions came along, so points inside the history mean the same in both.
  for (const char* session : {"first", "second"}) {
    ForkRequest fork;
    fork.session = session;
    fork.fork = std::string("fork-of-") + session;
    fork.at.turn = "t1";
    REQUIRE_OK(runtime->ForkSession(fork));
  }
  RequireEqual(Continue(*runtime, "fork-of-second"), Continue(*runtime, "fork-of-first"));
}

}  // namespace baleen

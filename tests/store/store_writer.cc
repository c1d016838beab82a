// store_writer: the program that crash tests kill. Writes to a store and acknowledges on stdout.
//
//   store_writer events JOURNAL kernel|synced|mixed|sync COUNT
//                                  commits events, "ack SEQ" after each; mixed: a kernel commit
//                                  before each synced one; sync: kernel commits and Sync
//   store_writer blocks KV COUNT                           puts blocks, "ack N" after each flush
//   store_writer hold DATA_DIRECTORY                       opens it, "held", waits for end of stdin
//   store_writer hold-kv KV                                the same for a KV store
//   store_writer folder DATA_DIRECTORY                     makes it, its stores, a copy, an archive
//   store_writer golden JOURNAL                            writes tests/data/store/journal_v5.db
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "runtime/store/data_directory.h"
#include "runtime/store/journal.h"
#include "runtime/store/kv_store.h"
#include "runtime/store/session_archive.h"
#include "tests/store/samples.h"

namespace {

using baleen::Durability;
using baleen::Journal;
using baleen::JournalBatch;
using baleen::KvStore;
using baleen::Status;

/// One system call per line, so that a trace shows it where it happened.
bool Say(const std::string& line) {
  const std::string text = line + "\n";
  return write(STDOUT_FILENO, text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

/// Ends without closing the store: closing would tidy up what a crash leaves behind.
[[noreturn]] void DieWith(const Status& status) {
  Say("error " + status.ToString());
  _exit(3);
}

Status WriteEvents(const std::string& path, const std::string& mode, int64_t count) {
  ASSIGN_OR_RETURN(auto journal, Journal::Open({.path = path}));
  auto session = journal->GetSession("crash");
  if (!session.ok()) {
    JournalBatch create;
    create.create_sessions.push_back(baleen::SampleSession("crash"));
    RETURN_IF_ERROR(journal->Commit(create, Durability::kSynced));
    session = journal->GetSession("crash");
  }
  RETURN_IF_ERROR(session.status());
  Say("open");
  for (int64_t i = 1; i <= count; ++i) {
    JournalBatch batch;
    batch.events.push_back(baleen::SampleEvent("crash", session->last_seq + i));
    batch.tokens.push_back({.session = "crash",
                            .begin = session->tokens + i - 1,
                            .ids = {static_cast<int32_t>(session->tokens + i - 1)},
                            .logits_hashes = {}});
    if (mode == "mixed") {
      JournalBatch update;
      update.update_sessions.push_back(baleen::SampleSession("crash"));
      RETURN_IF_ERROR(journal->Commit(update, Durability::kKernel));
    }
    const bool synced = mode == "synced" || mode == "mixed";
    const Status status =
        journal->Commit(batch, synced ? Durability::kSynced : Durability::kKernel);
    if (!status.ok()) DieWith(status);
    if (mode == "sync") {
      const Status synced_after = journal->Sync();
      if (!synced_after.ok()) DieWith(synced_after);
    }
    Say("ack " + std::to_string(session->last_seq + i));
  }
  return baleen::OkStatus();
}

Status WriteBlocks(const std::string& path, int64_t count) {
  ASSIGN_OR_RETURN(auto store,
                   KvStore::Open({.path = path, .write_buffer_bytes = 1 << 20}, nullptr));
  Say("open");
  ASSIGN_OR_RETURN(const auto report, store->Verify());
  baleen::BlockKey parent = {};
  for (int64_t i = 0; i < report.blocks + count; ++i) {
    const auto block = baleen::SampleBlock(i, 96 << 10);
    parent = baleen::NextBlockKey(parent, block.tokens, baleen::kSampleScope);
    RETURN_IF_ERROR(store->PutBlock(parent, block.tokens, baleen::ShapeOf(block), block.bytes));
    if (i % 4 != 3) continue;
    RETURN_IF_ERROR(store->PutCheckpoint(parent, baleen::SampleCheckpoint(i)));
    RETURN_IF_ERROR(store->Flush());
    Say("ack " + std::to_string(i + 1));
  }
  return baleen::OkStatus();
}

template <typename Open>
Status Hold(Open open) {
  auto held = open();
  RETURN_IF_ERROR(held.status());
  Say("held");
  char byte = 0;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return baleen::OkStatus();
}

Status WriteGolden(const std::string& path) {
  ASSIGN_OR_RETURN(auto journal, Journal::Open({.path = path}));
  for (const JournalBatch& batch : baleen::GoldenBatches3()) {
    RETURN_IF_ERROR(journal->Commit(batch, Durability::kSynced));
  }
  return baleen::OkStatus();
}

/// Makes everything that has a name: a data directory, its stores, a backup, an archive.
Status MakeFolder(const std::string& path) {
  ASSIGN_OR_RETURN(const auto folder, baleen::DataDirectory::Open(path));
  ASSIGN_OR_RETURN(const auto journal, Journal::Open({.path = folder->journal_path()}));
  ASSIGN_OR_RETURN(const auto store, KvStore::Open({.path = folder->kv_path()}, nullptr));
  RETURN_IF_ERROR(baleen::DataDirectory::Build(
      path + "-copy", [&](const auto& draft) { return journal->Backup(draft.journal_path()); }));
  ASSIGN_OR_RETURN(auto key, baleen::ArchiveKey::OpenOrMake(folder->archive_key_path()));
  ASSIGN_OR_RETURN(auto archive, baleen::ArchiveWriter::Create(path + "-archive", std::move(key)));
  RETURN_IF_ERROR(archive->Finish());
  Say("ack 1");
  return baleen::OkStatus();
}

Status Run(const std::string& verb, const std::string& path, int argc, char** argv) {
  if (verb == "events" && argc == 5) return WriteEvents(path, argv[3], std::atoll(argv[4]));
  if (verb == "blocks" && argc == 4) return WriteBlocks(path, std::atoll(argv[3]));
  if (verb == "hold") return Hold([&] { return baleen::DataDirectory::Open(path); });
  if (verb == "hold-kv") return Hold([&] { return KvStore::Open({.path = path}, nullptr); });
  if (verb == "folder") return MakeFolder(path);
  if (verb == "golden") return WriteGolden(path);
  return baleen::InvalidArgumentError("usage: see the comment at the top of store_writer.cc");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const Status status = Run(argv[1], argv[2], argc, argv);
  if (status.ok()) return 0;
  Say("error " + status.ToString());
  return 3;
}

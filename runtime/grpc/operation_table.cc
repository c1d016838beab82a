#include "runtime/grpc/operation_table.h"

#include <baleen/v1/admin.pb.h>
#include <google/rpc/status.pb.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "runtime/clock.h"
#include "runtime/grpc/convert.h"
#include "runtime/grpc/wire_status.h"

namespace baleen {
namespace {

constexpr size_t kUndoneMax = 16;
constexpr size_t kEndedMax = 100;
/// They hold call threads.
constexpr int kWaitingMax = 2;

Status Unknown(const std::string& name) {
  return NotFoundError("there is no operation '" + name.substr(0, 80) +
                           "': it was deleted, is long over, or a restart of the server ended it",
                       "OPERATION_UNKNOWN");
}

}  // namespace

struct OperationTable::Entry {
  std::string name;
  std::string verb;
  std::string request_id;
  Work work;
  int64_t created_ms = 0;
  int64_t started_ms = 0;
  int64_t ended_ms = 0;
  int64_t done = 0;
  int64_t total = 0;
  bool cancelled = false;
  Status status;
  google::protobuf::Any response;
};

OperationTable::OperationTable()
    : prefix_("operations/" + std::to_string(Clock().WallMs()) + "-"), thread_([this] { Run(); }) {}

OperationTable::~OperationTable() { Stop(); }

Result<OperationTable::Operation> OperationTable::Start(const std::string& verb,
                                                        const std::string& request_id, Work work) {
  const std::lock_guard<std::mutex> lock(mutex_);
  size_t undone = 0;
  for (const auto& entry : entries_) {
    if (!request_id.empty() && entry->request_id == request_id) return View(*entry);
    undone += entry->ended_ms == 0 ? 1 : 0;
  }
  if (stopped_) return UnavailableError("the server is shutting down", "DRAINING");
  if (undone >= kUndoneMax) {
    return ResourceExhaustedError(std::to_string(undone) +
                                      " operations wait or work already; try again after them, or "
                                      "cancel some",
                                  "OPERATIONS_WAITING");
  }
  auto entry = std::make_shared<Entry>();
  entry->name = prefix_ + std::to_string(++begun_);
  entry->verb = verb;
  entry->request_id = request_id;
  entry->work = std::move(work);
  entry->created_ms = Clock().WallMs();
  entries_.push_front(entry);
  changed_.notify_all();
  return View(*entry);
}

Result<OperationTable::Operation> OperationTable::Get(const std::string& name) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto entry = Find(name);
  if (entry == nullptr) return Unknown(name);
  return View(*entry);
}

std::vector<OperationTable::Operation> OperationTable::List(size_t count,
                                                            const std::string& after) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Operation> found;
  bool behind = after.empty();
  for (const auto& entry : entries_) {
    if (behind && found.size() < count) found.push_back(View(*entry));
    behind = behind || entry->name == after;
  }
  return found;
}

Status OperationTable::Cancel(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto entry = Find(name);
  if (entry == nullptr) return Unknown(name);
  entry->cancelled = true;
  changed_.notify_all();
  return OkStatus();
}

Status OperationTable::Delete(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto entry = Find(name);
  if (entry == nullptr) return Unknown(name);
  if (entry->ended_ms == 0) {
    return FailedPreconditionError(
        "operation '" + name + "' has not ended; cancel it, and wait for that",
        "OPERATION_RUNNING");
  }
  entries_.remove(entry);
  return OkStatus();
}

Result<OperationTable::Operation> OperationTable::Wait(const std::string& name,
                                                       int64_t timeout_ms) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto entry = Find(name);
  if (entry == nullptr) return Unknown(name);
  if (waiting_ < kWaitingMax) {
    ++waiting_;
    changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                      [&] { return entry->ended_ms != 0 || stopped_; });
    --waiting_;
  }
  return View(*entry);
}

void OperationTable::Stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
    for (const auto& entry : entries_) entry->cancelled = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void OperationTable::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    // The oldest that has not ended.
    const auto next = std::find_if(entries_.rbegin(), entries_.rend(),
                                   [](const auto& entry) { return entry->ended_ms == 0; });
    if (next == entries_.rend()) {
      if (stopped_) return;
      changed_.wait(lock);
      continue;
    }
    const std::shared_ptr<Entry> entry = *next;
    lock.unlock();
    RunOne(*entry);
    lock.lock();
    entry->work = {};
    entry->ended_ms = Clock().WallMs();
    ForgetOldest();
    changed_.notify_all();
  }
}

void OperationTable::RunOne(Entry& entry) {
  const std::lock_guard<std::mutex> works(working_);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (entry.cancelled) {
      entry.status = CancelledError("the operation was cancelled before it began");
      return;
    }
    entry.started_ms = Clock().WallMs();
  }
  google::protobuf::Any response;
  const Status status = entry.work(
      [&](int64_t done, int64_t total) {
        const std::lock_guard<std::mutex> lock(mutex_);
        entry.done = done;
        entry.total = total;
        return !entry.cancelled;
      },
      &response);
  const std::lock_guard<std::mutex> lock(mutex_);
  entry.status = status;
  entry.response = std::move(response);
}

std::shared_ptr<OperationTable::Entry> OperationTable::Find(const std::string& name) const {
  for (const auto& entry : entries_) {
    if (entry->name == name) return entry;
  }
  return nullptr;
}

OperationTable::Operation OperationTable::View(const Entry& entry) const {
  v1::OperationMetadata metadata;
  metadata.set_verb(entry.verb);
  wire::SetTime(entry.created_ms, metadata.mutable_create_time());
  if (entry.started_ms != 0) wire::SetTime(entry.started_ms, metadata.mutable_start_time());
  if (entry.ended_ms != 0) wire::SetTime(entry.ended_ms, metadata.mutable_end_time());
  metadata.set_done(entry.done);
  metadata.set_total(entry.total);
  metadata.set_cancel_requested(entry.cancelled);
  Operation view;
  view.set_name(entry.name);
  view.mutable_metadata()->PackFrom(metadata);
  view.set_done(entry.ended_ms != 0);
  if (!view.done()) return view;
  if (entry.status.ok()) {
    *view.mutable_response() = entry.response;
  } else {
    view.mutable_error()->ParseFromString(wire::ToGrpc(entry.status).error_details());
  }
  return view;
}

void OperationTable::ForgetOldest() {
  size_t ended = 0;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const bool over = (*entry)->ended_ms != 0 && ++ended > kEndedMax;
    entry = over ? entries_.erase(entry) : std::next(entry);
  }
}

}  // namespace baleen

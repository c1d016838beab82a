// OperationTable: long work that goes on after its caller has been answered, and what came of it.
//
// Lives as long as its server: an operation that a restart interrupts is gone, and what it had
// begun is left as a caller who leaves would leave it. Used by the services of this folder only.
#pragma once

#include <google/longrunning/operations.pb.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/runtime.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Threads: any.
class OperationTable {
 public:
  using Operation = google::longrunning::Operation;
  /// Fills the response, or says why not. Runs on the table's thread.
  using Work = std::function<Status(const PortProgress& progress, google::protobuf::Any* response)>;

  OperationTable();
  /// As Stop.
  ~OperationTable();

  /// Answers at once; the work begins when all before it is done. `verb` names it. An earlier start
  /// with this `request_id` (not empty) is answered instead.
  /// Errors: RESOURCE_EXHAUSTED/OPERATIONS_WAITING, UNAVAILABLE/DRAINING after Stop.
  Result<Operation> Start(const std::string& verb, const std::string& request_id, Work work);
  /// Errors, here and below: NOT_FOUND/OPERATION_UNKNOWN.
  Result<Operation> Get(const std::string& name) const;
  /// Up to `count`, newest first, behind `after` ("": from the newest).
  std::vector<Operation> List(size_t count, const std::string& after) const;
  Status Cancel(const std::string& name);
  /// Errors: FAILED_PRECONDITION/OPERATION_RUNNING.
  Status Delete(const std::string& name);
  /// Blocks until it has ended or `timeout_ms` are over; not at all if two wait already.
  Result<Operation> Wait(const std::string& name, int64_t timeout_ms);
  /// Cancels all and waits for the one that works. Idempotent.
  void Stop();
  /// Locked by whoever works, so that one does at a time.
  std::mutex& working() { return working_; }

 private:
  struct Entry;

  void Run();
  void RunOne(Entry& entry);
  /// Null: unknown. Requires mutex_.
  std::shared_ptr<Entry> Find(const std::string& name) const;
  Operation View(const Entry& entry) const;
  void ForgetOldest();

  std::mutex working_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_:
  std::list<std::shared_ptr<Entry>>
      entries_;         ///< Newest first. Owners: this, and who waits for it.
  std::string prefix_;  ///< Of names; another one in each process.
  int64_t begun_ = 0;
  int waiting_ = 0;  ///< In Wait.
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace baleen

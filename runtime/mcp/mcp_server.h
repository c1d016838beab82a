// McpServer: one server of tools, from this side: found out about, asked, and begun anew when it is
// gone.
//
// Speaks the revisions with a handshake (2025-11-25 to 2024-11-05) and the stateless one
// (2026-07-28), and finds out which. Asks for tools and calls them; offers a server nothing (no
// roots, sampling or elicitation). Called by McpTools.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/clock.h"
#include "runtime/mcp/mcp_content.h"
#include "runtime/mcp/rpc_wire.h"
#include "runtime/mcp_options.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// The tools that a server has, as of one connection.
struct McpToolList {
  uint64_t connection = 0;
  std::string server;                 ///< "NAME VERSION", its own word.
  std::string version;                ///< Of the protocol.
  std::vector<McpToolListing> tools;  ///< Sorted by name.
};

struct McpRequest {
  std::string method;
  std::string params = "{}";  ///< JSON text of an object.
  int64_t idle_ms = 0;        ///< From the start, or from the newest word of progress.
  int64_t whole_ms = 0;
  bool with_progress = false;                    ///< Asks for words of progress.
  const std::atomic<bool>* cancelled = nullptr;  ///< Null: never.
  std::vector<std::string> headers;              ///< Over HTTP.
  /// Hears of the newest word of progress, from the thread that waits. Empty: nobody does.
  std::function<void(const CallProgress&)> progress;
};

/// How a request ended.
struct McpReply {
  enum class End { kResult, kFailed, kTimedOut, kCancelled };
  End end = End::kFailed;
  bool sent = false;   ///< The server may have taken it.
  std::string result;  ///< JSON text.
  Status status;       ///< Of kFailed.
  int64_t code = 0;    ///< Of an error that the server answered; 0: it answered none.
  std::string error_body;
  std::string progress;  ///< Its newest word.
  std::string words;     ///< The end of what the server printed, where it gave no answer.
};

/// Threads: any; calls block.
class McpServer final : private RpcListener {
 public:
  explicit McpServer(McpServerOptions options) : options_(std::move(options)) {}
  ~McpServer() override;
  McpServer(const McpServer&) = delete;
  McpServer& operator=(const McpServer&) = delete;

  const McpServerOptions& options() const { return options_; }

  /// Connects if there is no connection; asks again when the list is not fresh.
  /// Errors: UNAVAILABLE, DEADLINE_EXCEEDED (start_ms), CANCELLED, FAILED_PRECONDITION/MCP_VERSION,
  /// INVALID_ARGUMENT (rubbish): the message names the server.
  Result<McpToolList> ListTools(const std::atomic<bool>* cancelled);

  /// tools/call, in `connection` and no other: FAILED_PRECONDITION/MCP_RESTARTED, unsent.
  /// `parameters`: the tool's schema; `arguments`: JSON text of an object; of `context`, its end
  /// and who hears of progress.
  McpReply CallTool(uint64_t connection, const std::string& tool, const std::string& parameters,
                    const std::string& arguments, const CallContext& context);

  /// Ends the connection. A later call begins another.
  void Disconnect();

 private:
  enum class Era { kUnknown, kHandshake, kStateless };
  /// A request that somebody waits for.
  struct Waiting {
    bool done = false;
    McpReply reply;
    int64_t begun_ms = 0;
    int64_t last_ms = 0;              ///< Of its newest progress.
    int64_t heard = 0;                ///< McpServer::heard_ when it began.
    std::optional<McpProgress> news;  ///< That weren't told yet.
  };

  bool OnMessage(RpcMessage message) override;
  void OnLost(int64_t id, const Status& why) override;

  Status Connect(const std::atomic<bool>* cancelled);
  Status OpenWire();
  Status Handshake(const std::atomic<bool>* cancelled);
  Status Discover(McpRequest request);
  Status Initialize(McpRequest request);
  Status TellInitialized(const McpRequest& limits);
  void SetEra(Era era);
  void Accept(const McpGreeting& greeting, Era era);
  Result<std::vector<McpToolListing>> AskForTools(const std::atomic<bool>* cancelled);

  McpReply Ask(const McpRequest& request);
  /// The request's number.
  Result<int64_t> Begin(const McpRequest& request);
  McpReply Await(int64_t id, const McpRequest& request);
  /// Under mutex_, as the next three.
  void Cancel(int64_t id);
  void TakeNotification(const RpcMessage& message);
  void Reply(const RpcMessage& request);
  std::vector<std::string> HeadersFor(const McpRequest& request) const;
  Status Named(const Status& status) const;

  const McpServerOptions options_;
  const Clock clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool connecting_ = false;        ///< Under mutex_, as the rest.
  std::unique_ptr<RpcWire> wire_;  ///< Null: none.
  Status lost_;                    ///< Why wire_ is of no use any more.
  bool open_ = false;              ///< The handshake is over.
  Status failure_;                 ///< Of the newest try to connect.
  bool session_gone_ = false;
  Era era_ = Era::kUnknown;  ///< Kept over connections.
  std::string version_;
  std::string server_;
  bool has_tools_ = false;
  uint64_t connection_ = 0;
  int64_t next_id_ = 1;  ///< Never used again, so that an old answer fits no new question.
  int64_t heard_ = 0;    ///< Messages of this connection.
  int64_t replies_ = 0;
  std::map<int64_t, Waiting> waiting_;
  std::vector<McpToolListing> tools_;
  int64_t listed_ms_ = -1;  ///< Negative: to be asked for.
};

}  // namespace baleen

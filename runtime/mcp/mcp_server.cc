#include "runtime/mcp/mcp_server.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/mcp/http_wire.h"
#include "runtime/mcp/param_headers.h"
#include "runtime/mcp/stdio_wire.h"
#include "tools_sdk/json_text.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

constexpr char kVersionReason[] = "MCP_VERSION";
constexpr char kRefused[] = "MCP_REFUSED";
constexpr char kStatelessReason[] = "MCP_STATELESS";
constexpr int64_t kUnsupportedVersion = -32022;
/// A server with a handshake may say nothing to the question whether it needs none.
constexpr int64_t kProbeMs = 5000;
constexpr int64_t kLookMs = 20;
/// Older lists are asked for again before a call: not every server tells of changes.
constexpr int64_t kListFreshMs = 60'000;
constexpr int kPagesMax = 64;
constexpr size_t kToolsMaxOfServer = 1024;
constexpr int64_t kRepliesMax = 1000;

Json ClientName() { return {{"name", "baleen"}, {"version", "1"}}; }

std::string Joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ", ") + text;
  return all.empty() ? "none" : all;
}

bool Has(const std::vector<std::string>& texts, std::string_view wanted) {
  return std::find(texts.begin(), texts.end(), wanted) != texts.end();
}

Status Unspoken(const std::vector<std::string>& versions) {
  return FailedPreconditionError("it speaks " + Joined(versions) +
                                     "; spoken here: " + std::string(kMcpStateless) + ", " +
                                     Joined(McpHandshakeVersions()),
                                 kVersionReason);
}

}  // namespace

McpServer::~McpServer() { Disconnect(); }

void McpServer::Disconnect() {
  std::unique_ptr<RpcWire> wire;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    wire = std::move(wire_);
    open_ = false;
  }
  wire.reset();  // waits for its thread, which may want the mutex
  OnLost(0, UnavailableError("the connection was closed"));
}

Status McpServer::Named(const Status& status) const {
  return status.WithContext("MCP server '" + options_.name + "'");
}

// ---- the listener -------------------------------------------------------------------------------

bool McpServer::OnMessage(RpcMessage message) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++heard_;
  if (message.kind == RpcMessage::Kind::kRequest) {
    Reply(message);
    return false;
  }
  if (message.kind == RpcMessage::Kind::kNotification) {
    TakeNotification(message);
    return false;
  }
  // An id that nobody waits for is a lie, or an answer that came too late.
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& entry) {
    return std::to_string(entry.first) == message.id;
  });
  if (found == waiting_.end() || found->second.done) return false;
  McpReply& reply = found->second.reply;
  if (message.kind == RpcMessage::Kind::kResult) {
    reply.end = McpReply::End::kResult;
    reply.result = std::move(message.body);
  } else {
    reply.end = McpReply::End::kFailed;
    reply.code = message.code == 0 ? -1 : message.code;
    reply.error_body = std::move(message.body);
    reply.status = InvalidArgumentError("it answered with error " + std::to_string(message.code) +
                                        ": " + message.text);
  }
  found->second.done = true;
  changed_.notify_all();
  return true;
}

void McpServer::TakeNotification(const RpcMessage& message) {
  if (message.method == "notifications/tools/list_changed") listed_ms_ = -1;
  if (message.method != "notifications/progress") return;
  auto progress = ReadMcpProgress(message.body);
  if (!progress.ok()) return;
  for (auto& [id, waiting] : waiting_) {
    if (std::to_string(id) != progress->token) continue;
    waiting.last_ms = clock_.SteadyMs();
    waiting.reply.progress = progress->text;
    waiting.news = *std::move(progress);  // told by whoever waits, outside of the lock
    return;
  }
}

void McpServer::Reply(const RpcMessage& request) {
  // Without a handshake, servers have nothing to ask.
  if (wire_ == nullptr || era_ == Era::kStateless || ++replies_ > kRepliesMax) return;
  OutgoingMessage reply;
  reply.text = request.method == "ping" ? RpcEmptyResult(request.id)
                                        : RpcRefusal(request.id, request.method);
  if (!version_.empty()) reply.headers = {"MCP-Protocol-Version: " + version_};
  wire_->Send(std::move(reply)).IgnoreError("whoever waits for an answer finds out");
}

void McpServer::OnLost(int64_t id, const Status& why) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (id == 0) lost_ = why;
  if (why.reason() == kMcpSessionGone) session_gone_ = true;
  for (auto& [number, waiting] : waiting_) {
    if ((id != 0 && number != id) || waiting.done) continue;
    waiting.reply.end = McpReply::End::kFailed;
    waiting.reply.status = why;
    waiting.reply.sent = why.reason() != kRefused && why.reason() != kMcpSessionGone;
    waiting.done = true;
  }
  changed_.notify_all();
}

// ---- requests -----------------------------------------------------------------------------------

std::vector<std::string> McpServer::HeadersFor(const McpRequest& request) const {
  std::vector<std::string> headers = request.headers;
  if (era_ == Era::kHandshake) {
    if (!version_.empty()) headers.push_back("MCP-Protocol-Version: " + version_);
    return headers;
  }
  headers.push_back("MCP-Protocol-Version: " + std::string(kMcpStateless));
  headers.push_back("Mcp-Method: " + request.method);
  return headers;
}

Result<int64_t> McpServer::Begin(const McpRequest& request) {
  Json params = Json::parse(request.params, nullptr, false);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (wire_ == nullptr || !lost_.ok()) {
    return UnavailableError(lost_.ok() ? "there is no connection" : lost_.message(), kRefused);
  }
  const int64_t id = next_id_++;
  Json& meta = params["_meta"];
  if (request.with_progress) meta["progressToken"] = id;
  if (era_ != Era::kHandshake) {
    meta["io.modelcontextprotocol/protocolVersion"] = kMcpStateless;
    meta["io.modelcontextprotocol/clientInfo"] = ClientName();
    meta["io.modelcontextprotocol/clientCapabilities"] = Json::object();
  }
  if (meta.is_null()) params.erase("_meta");
  Waiting waiting;
  waiting.begun_ms = waiting.last_ms = clock_.SteadyMs();
  waiting.heard = heard_;
  waiting.reply.sent = true;
  waiting_[id] = std::move(waiting);
  OutgoingMessage message = {id, RpcRequest(id, request.method, JsonText(params)),
                             HeadersFor(request)};
  if (Status sent = wire_->Send(std::move(message)); !sent.ok()) {
    waiting_.erase(id);
    return sent;
  }
  return id;
}

McpReply McpServer::Await(int64_t id, const McpRequest& request) {
  std::unique_lock<std::mutex> lock(mutex_);
  Waiting& waiting = waiting_[id];
  while (!waiting.done) {
    const int64_t now = clock_.SteadyMs();
    const bool cancelled = request.cancelled != nullptr && request.cancelled->load();
    const bool late =
        now - waiting.last_ms >= request.idle_ms || now - waiting.begun_ms >= request.whole_ms;
    if (cancelled || late) {
      waiting.reply.end = cancelled ? McpReply::End::kCancelled : McpReply::End::kTimedOut;
      break;
    }
    if (const auto news = std::exchange(waiting.news, {}); news.has_value() && request.progress) {
      lock.unlock();
      request.progress({{}, 0, news->done, news->total, news->message});
      lock.lock();
      if (waiting.done) break;
    }
    changed_.wait_for(lock, std::chrono::milliseconds(kLookMs));
  }
  const bool unanswered = !waiting.done;
  const bool silent = waiting.heard == heard_;
  McpReply reply = std::move(waiting.reply);
  waiting_.erase(id);
  if (!unanswered) return reply;
  if (wire_ != nullptr) reply.words = wire_->Words();
  Cancel(id);
  // Time to answer, and not a sign of life: nobody else will get an answer either.
  std::unique_ptr<RpcWire> dead;
  if (reply.end == McpReply::End::kTimedOut && silent && !options_.command.empty() &&
      waiting_.empty() && open_) {
    dead = std::move(wire_);
    open_ = false;
  }
  lock.unlock();
  return reply;
}

void McpServer::Cancel(int64_t id) {
  if (wire_ == nullptr) return;
  const bool tell = !options_.command.empty() || era_ == Era::kHandshake;
  if (tell && open_) {
    const Json params = {{"requestId", id}, {"reason", "nobody waits for it any more"}};
    OutgoingMessage message;
    message.text = RpcNotification("notifications/cancelled", JsonText(params));
    if (!version_.empty()) message.headers = {"MCP-Protocol-Version: " + version_};
    wire_->Send(std::move(message)).IgnoreError("there is nobody to tell");
  }
  wire_->Forget(id);
}

McpReply McpServer::Ask(const McpRequest& request) {
  const auto id = Begin(request);
  if (id.ok()) return Await(*id, request);
  McpReply reply;
  reply.status = id.status();
  return reply;
}

// ---- connections --------------------------------------------------------------------------------

Status McpServer::OpenWire() {
  Disconnect();
  const std::lock_guard<std::mutex> lock(mutex_);
  lost_ = OkStatus();
  session_gone_ = false;
  heard_ = replies_ = 0;
  version_.clear();
  listed_ms_ = -1;
  if (!options_.command.empty()) {
    wire_ = NewStdioWire(options_, this);
    return OkStatus();
  }
  ASSIGN_OR_RETURN(wire_, NewHttpWire(options_, this));
  return OkStatus();
}

void McpServer::Accept(const McpGreeting& greeting, Era era) {
  const std::lock_guard<std::mutex> lock(mutex_);
  era_ = era;
  server_ = greeting.server;
  has_tools_ = greeting.has_tools;
  version_ = era == Era::kStateless ? std::string(kMcpStateless) : greeting.versions[0];
}

Status McpServer::Handshake(const std::atomic<bool>* cancelled) {
  McpRequest request;
  request.cancelled = cancelled;
  request.idle_ms = request.whole_ms = options_.start_ms;
  if (era_ == Era::kHandshake) return Initialize(request);
  McpRequest probe = request;
  if (era_ == Era::kUnknown) {
    probe.idle_ms = probe.whole_ms = std::min(kProbeMs, options_.start_ms);
  }
  const Status discovered = Discover(probe);
  if (discovered.ok() || discovered.code() == StatusCode::kCancelled) return discovered;
  if (era_ == Era::kStateless) return discovered;
  // Some servers end when they are asked what they don't know.
  const bool gone = [&] {
    const std::lock_guard<std::mutex> lock(mutex_);
    return !lost_.ok() && lost_.reason() != kRefused;
  }();
  if (gone) RETURN_IF_ERROR(OpenWire());
  SetEra(Era::kHandshake);
  Status greeted = Initialize(request);
  if (greeted.ok()) return greeted;
  SetEra(Era::kUnknown);
  // It begins slowly, and answered the first question when nobody listened any more.
  if (greeted.reason() == kStatelessReason) return Discover(request);
  return greeted;
}

void McpServer::SetEra(Era era) {
  const std::lock_guard<std::mutex> lock(mutex_);
  era_ = era;
}

Status McpServer::Discover(McpRequest request) {
  request.method = "server/discover";
  const McpReply reply = Ask(request);
  if (reply.end == McpReply::End::kCancelled) return CancelledError("cancelled");
  if (reply.end == McpReply::End::kFailed) return reply.status;
  if (reply.end == McpReply::End::kTimedOut) {
    return DeadlineExceededError("it gave no answer to server/discover");
  }
  ASSIGN_OR_RETURN(const McpGreeting greeting, ReadMcpGreeting(reply.result));
  if (!Has(greeting.versions, kMcpStateless)) return Unspoken(greeting.versions);
  Accept(greeting, Era::kStateless);
  return OkStatus();
}

Status McpServer::Initialize(McpRequest request) {
  const std::vector<std::string>& known = McpHandshakeVersions();
  request.method = "initialize";
  request.params = JsonText(Json{{"protocolVersion", known[0]},
                                 {"capabilities", Json::object()},
                                 {"clientInfo", ClientName()}});
  const McpReply reply = Ask(request);
  if (reply.end == McpReply::End::kCancelled) return CancelledError("cancelled");
  if (reply.end == McpReply::End::kTimedOut) {
    return DeadlineExceededError("it didn't answer the handshake in " +
                                 std::to_string(options_.start_ms) + " ms" +
                                 (reply.words.empty() ? "" : "; it printed: " + reply.words));
  }
  if (reply.code == kUnsupportedVersion) {
    const auto versions = ReadSupportedVersions(reply.error_body);
    if (!Has(versions, kMcpStateless)) return Unspoken(versions);
    return FailedPreconditionError("it wants no handshake", kStatelessReason);
  }
  if (reply.end != McpReply::End::kResult) return reply.status;
  ASSIGN_OR_RETURN(const McpGreeting greeting, ReadMcpGreeting(reply.result));
  if (!Has(known, greeting.versions[0])) return Unspoken(greeting.versions);
  Accept(greeting, Era::kHandshake);
  return TellInitialized(request);
}

Status McpServer::TellInitialized(const McpRequest& limits) {
  OutgoingMessage message;
  message.text = RpcNotification("notifications/initialized", "{}");
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (wire_ == nullptr) return lost_;
    message.headers = {"MCP-Protocol-Version: " + version_};
    if (options_.url.empty()) return wire_->Send(std::move(message));
    // A server may refuse what overtakes this.
    message.id = next_id_++;
    message.to_be_accepted = true;
    Waiting waiting;
    waiting.begun_ms = waiting.last_ms = clock_.SteadyMs();
    waiting_[message.id] = std::move(waiting);
    if (Status sent = wire_->Send(message); !sent.ok()) {
      waiting_.erase(message.id);
      return sent;
    }
  }
  const McpReply reply = Await(message.id, limits);
  if (reply.end == McpReply::End::kResult) return OkStatus();
  return reply.status.ok() ? DeadlineExceededError("it didn't take the end of the handshake")
                           : reply.status;
}

Status McpServer::Connect(const std::atomic<bool>* cancelled) {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    bool waited = false;
    while (connecting_) {
      waited = true;
      if (cancelled != nullptr && cancelled->load()) return CancelledError("cancelled");
      changed_.wait_for(lock, std::chrono::milliseconds(kLookMs));
    }
    if (open_ && wire_ != nullptr && lost_.ok() && !session_gone_) return OkStatus();
    // Its failure is everybody's who waited for it, or the last of many would wait for many.
    if (waited && !failure_.ok()) return failure_;
    connecting_ = true;
  }
  Status status = OpenWire();
  if (status.ok()) status = Handshake(cancelled);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = status.ok();
    failure_ = status.code() == StatusCode::kCancelled ? OkStatus() : status;
    connection_ += 1;
    connecting_ = false;
    changed_.notify_all();
  }
  if (!status.ok()) Disconnect();
  return status;
}

// ---- tools --------------------------------------------------------------------------------------

Result<std::vector<McpToolListing>> McpServer::AskForTools(const std::atomic<bool>* cancelled) {
  std::map<std::string, McpToolListing> tools;  // a name that comes twice counts once
  std::string cursor;
  const int64_t until = clock_.SteadyMs() + options_.start_ms;
  for (int page = 0; page < kPagesMax; ++page) {
    McpRequest request;
    request.method = "tools/list";
    if (!cursor.empty()) request.params = R"({"cursor":)" + cursor + "}";
    request.cancelled = cancelled;
    request.idle_ms = request.whole_ms = std::max<int64_t>(until - clock_.SteadyMs(), 0);
    const McpReply reply = Ask(request);
    switch (reply.end) {
      case McpReply::End::kResult: break;
      case McpReply::End::kFailed: return reply.status;
      case McpReply::End::kCancelled: return CancelledError("cancelled");
      case McpReply::End::kTimedOut:
        return DeadlineExceededError("it didn't tell its tools in " +
                                     std::to_string(options_.start_ms) + " ms");
    }
    ASSIGN_OR_RETURN(McpToolPage read, ReadMcpToolPage(reply.result));
    for (McpToolListing& tool : read.tools) tools.emplace(tool.name, std::move(tool));
    if (tools.size() > kToolsMaxOfServer) {
      return ResourceExhaustedError("it has over " + std::to_string(kToolsMaxOfServer) + " tools");
    }
    if (read.next_cursor.empty()) {
      std::vector<McpToolListing> sorted;
      for (auto& [name, tool] : tools) sorted.push_back(std::move(tool));
      return sorted;
    }
    if (read.next_cursor == cursor) break;
    cursor = std::move(read.next_cursor);
  }
  return InvalidArgumentError("its list of tools has no end");
}

Result<McpToolList> McpServer::ListTools(const std::atomic<bool>* cancelled) {
  for (int attempt = 0;; ++attempt) {
    if (Status status = Connect(cancelled); !status.ok()) return Named(status);
    McpToolList list;
    bool fresh = false;
    bool has_tools = false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      fresh = listed_ms_ >= 0 && clock_.SteadyMs() - listed_ms_ < kListFreshMs;
      list = {connection_, server_, version_, {}};
      has_tools = has_tools_;
      if (fresh) list.tools = tools_;
      if (!fresh) listed_ms_ = clock_.SteadyMs();  // a change that is told from now on counts
    }
    if (fresh) return list;
    auto tools = has_tools ? AskForTools(cancelled) : std::vector<McpToolListing>();
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!tools.ok()) {
      listed_ms_ = -1;
      // A connection that broke unnoticed, or a session that the server has forgotten.
      if ((!lost_.ok() || session_gone_) && attempt == 0) continue;
      return Named(tools.status());
    }
    tools_ = list.tools = *std::move(tools);
    return list;
  }
}

McpReply McpServer::CallTool(uint64_t connection, const std::string& tool,
                             const std::string& parameters, const std::string& arguments,
                             const CallContext& context) {
  McpReply refused;
  Json parsed = Json::parse(arguments, nullptr, false);
  if (!parsed.is_object()) {
    refused.status = InvalidArgumentError("the arguments are no JSON object");
    return refused;
  }
  McpRequest request;
  request.method = "tools/call";
  request.idle_ms = options_.call_ms;
  request.whole_ms = options_.call_ms_max;
  request.with_progress = true;
  request.cancelled = context.cancelled;
  request.progress = context.progress;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (connection != connection_ || !open_ || !lost_.ok()) {
      refused.status = FailedPreconditionError("it was begun anew", "MCP_RESTARTED");
      return refused;
    }
    if (!options_.url.empty() && era_ == Era::kStateless) {
      request.headers = McpParamHeaders(parameters, arguments);
      request.headers.push_back("Mcp-Name: " + McpHeaderValue(tool));
    }
  }
  request.params = JsonText(Json{{"name", tool}, {"arguments", std::move(parsed)}});
  McpReply reply = Ask(request);
  if (reply.end == McpReply::End::kFailed && reply.status.reason() == kMcpSessionGone) {
    reply.status = FailedPreconditionError(reply.status.message(), "MCP_RESTARTED");
  }
  return reply;
}

}  // namespace baleen

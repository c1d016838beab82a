// A host application in C++: one session, a tool that the host serves, one turn streamed.
//
//   embed_cpp MODEL DATA_DIR
//
// Run it again: the session is still there, and the turn continues the same context.
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/runtime.h"

namespace {

/// Calls that the model made, on their way from the control thread to ours.
class Calls : public baleen::ToolHostSink {
 public:
  bool OnCall(const std::string& /*session*/, const baleen::ToolCall& call,
              int64_t /*timeout_ms*/) override {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(call.id);
    return true;
  }
  void OnCancel(const std::string& /*session*/, const std::string& /*call_id*/) override {}

  std::vector<std::string> Take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(waiting_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> waiting_;
};

baleen::Status Run(const std::string& model, const std::string& folder) {
  baleen::RuntimeOptions options;
  options.model_path = model;
  options.data_dir = folder;
  ASSIGN_OR_RETURN(const auto runtime, baleen::Runtime::Open(options));

  baleen::CreateSessionRequest create;
  create.session = "embedded";
  create.settings.system_prompt = "You answer briefly.";
  create.settings.tokens_max = 256;
  baleen::ToolSpec selection;
  selection.name = "editor_selection";
  selection.description = "The text that is selected in the editor.";
  selection.parameters = R"({"type": "object", "properties": {}, "additionalProperties": false})";
  selection.effect = baleen::EffectClass::kPure;
  create.settings.host_tools = {selection};
  if (const auto session = runtime->CreateSession(create); !session.ok()) {
    if (session.status().code() != baleen::StatusCode::kAlreadyExists) return session.status();
    std::printf("the session is there from before\n");
  }

  Calls calls;
  ASSIGN_OR_RETURN(const auto host, runtime->ConnectToolHost("embedded", {selection.name}, &calls));
  baleen::StartTurnRequest start;
  start.session = "embedded";
  start.input = {"What is selected?"};
  start.constraint.emplace().tool_choice = "required";
  ASSIGN_OR_RETURN(baleen::TurnView turn, runtime->StartTurn(start));
  const std::string id = turn.turn;
  while (turn.state == baleen::TurnState::kRunning) {
    for (const std::string& call : calls.Take()) {
      std::printf("the model asks for the selection\n");
      baleen::ToolResult result;
      result.call_id = call;
      result.content = "int main(void);";
      RETURN_IF_ERROR(host->SubmitResult("embedded", result));
    }
    auto ended = runtime->WaitTurn("embedded", id, 20);
    if (ended.ok()) {
      turn = *std::move(ended);
    } else if (ended.status().code() != baleen::StatusCode::kDeadlineExceeded) {
      return ended.status();
    }
  }
  std::printf("turn %s: %lld tokens generated\n", id.c_str(),
              static_cast<long long>(turn.tokens_generated));
  return turn.error;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: embed_cpp MODEL DATA_DIR\n");
    return 2;
  }
  const baleen::Status status = Run(argv[1], argv[2]);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

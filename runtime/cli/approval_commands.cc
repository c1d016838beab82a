// `baleen approvals`: what turns wait for, and answers to it. And the question that `chat` asks.
#include "runtime/cli/approval_commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "runtime/cli/flags.h"
#include "runtime/sessions/view_json.h"
#include "tools_sdk/json_text.h"

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ApprovalFlags {
  RuntimeFlags runtime;
  ListApprovalsRequest list;
  ResolveApprovalRequest resolve;
  ListGrantsRequest grants;
  RevokeGrantRequest revoke;
  std::string turn;
  std::string call;
  std::string scope = "once";
  bool json = false;
};

/// A description as its author laid it out, such as a diff. Lines of several have a mark before
/// them, so that none can look like one of ours.
std::string Described(const std::string& description) {
  const bool several = description.find('\n') != std::string::npos;
  std::string out;
  std::istringstream lines(description);
  for (std::string line; std::getline(lines, line);) {
    out += (several ? "  | " : "  ") + PlainText(line) + "\n";
  }
  return out;
}

enum class Detail { kLine, kWhole };

void Print(const ApprovalView& view, Detail detail) {
  std::printf("%s %s  %s  %s\n", view.session.c_str(), view.approval.c_str(),
              ApprovalStateName(view.state), PlainText(view.title).c_str());
  if (!view.description.empty() && detail == Detail::kLine) {
    std::printf("  why: %s\n", PlainText(view.description).c_str());
  } else if (!view.description.empty()) {
    std::printf("  why:\n%s", Described(view.description).c_str());
  }
  for (const ToolCall& call : view.calls) {
    std::printf("  %s: %s %s\n", call.id.c_str(), call.name.c_str(),
                PlainText(call.arguments).c_str());
  }
  if (!view.budget.owner.empty()) {
    std::printf("  budget: %lld of %lld %s; a grant adds %lld\n",
                static_cast<long long>(view.budget.spent),
                static_cast<long long>(view.budget.limit), view.budget.resource.c_str(),
                static_cast<long long>(view.budget.extend));
  }
  if (view.state != ApprovalState::kPending) {
    std::printf("  by %s%s%s\n", PlainText(view.resolved_by).c_str(),
                view.reason.empty() ? "" : ": ", PlainText(view.reason).c_str());
  }
  if (view.state == ApprovalState::kRevoked) {
    std::printf("  revoked by %s\n", PlainText(view.revoked_by).c_str());
  }
}

int List(const ApprovalFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto views = (*runtime)->ListApprovals(flags.list);
  if (!views.ok()) return Fail(views.status(), flags.json);
  Json all = Json::array();
  for (const ApprovalView& view : *views) {
    if (flags.json) {
      all.push_back(ViewJson(view));
    } else {
      Print(view, Detail::kLine);
    }
  }
  if (flags.json) std::cout << all.dump(2) << "\n";
  return kExitOk;
}

void PrintGrant(const GrantView& view) {
  std::string tools;
  for (const std::string& tool : view.tools) tools += " " + tool;
  std::printf("%s %s  %s%s%s %s\n", view.session.c_str(), view.approval.c_str(),
              GrantScopeName(view.scope), view.workspace.empty() ? "" : " ",
              PlainText(view.workspace).c_str(), PlainText(tools).c_str());
  std::printf("  by %s%s%s\n", PlainText(view.granted_by).c_str(), view.reason.empty() ? "" : ": ",
              PlainText(view.reason).c_str());
}

int Grants(const ApprovalFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  const auto views = (*runtime)->ListGrants(flags.grants);
  if (!views.ok()) return Fail(views.status(), flags.json);
  Json all = Json::array();
  for (const GrantView& view : *views) {
    if (flags.json) {
      all.push_back(ViewJson(view));
    } else {
      PrintGrant(view);
    }
  }
  if (flags.json) std::cout << all.dump(2) << "\n";
  return kExitOk;
}

int Revoke(const ApprovalFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  RevokeGrantRequest request = flags.revoke;
  request.session = flags.resolve.session;
  request.approval = flags.resolve.approval;
  request.revoked_by = "cli";
  const auto view = (*runtime)->RevokeGrant(request);
  if (!view.ok()) return Fail(view.status(), flags.json);
  if (flags.json) {
    std::cout << ViewJson(*view).dump(2) << "\n";
  } else {
    std::printf("revoked: ");
    PrintGrant(*view);
  }
  return kExitOk;
}

int Report(const Result<ApprovalView>& view, bool json, Detail detail) {
  if (!view.ok()) return Fail(view.status(), json);
  if (json) {
    std::cout << ViewJson(*view).dump(2) << "\n";
  } else {
    Print(*view, detail);
  }
  return kExitOk;
}

int Show(const ApprovalFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  return Report((*runtime)->GetApproval(flags.resolve.session, flags.resolve.approval), flags.json,
                Detail::kWhole);
}

int Resolve(const ApprovalFlags& flags, bool grant) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  ResolveApprovalRequest request = flags.resolve;
  request.grant = grant;
  request.scope = flags.scope == "turn"        ? GrantScope::kTurn
                  : flags.scope == "session"   ? GrantScope::kSession
                  : flags.scope == "workspace" ? GrantScope::kWorkspace
                                               : GrantScope::kOnce;
  if (request.resolved_by.empty()) request.resolved_by = "cli";
  return Report((*runtime)->ResolveApproval(request), flags.json, Detail::kLine);
}

int Explain(const ApprovalFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  const auto view = (*runtime)->ExplainDecision(flags.resolve.session, flags.turn, flags.call);
  if (!view.ok()) return Fail(view.status(), flags.json);
  if (flags.json) {
    std::cout << ViewJson(*view).dump(2) << "\n";
    return kExitOk;
  }
  std::printf("%s %s  %s  by %s\n", view->call.c_str(), PlainText(view->tool).c_str(),
              view->decision.c_str(), PlainText(view->decided_by).c_str());
  if (!view->why.empty()) std::printf("  why: %s\n", PlainText(view->why).c_str());
  if (!view->grant.empty()) std::printf("  granted before: %s\n", view->grant.c_str());
  if (!view->approval.empty()) {
    std::printf("  approval %s: %s%s%s%s%s\n", view->approval.c_str(),
                ApprovalStateName(view->approval_state), view->resolved_by.empty() ? "" : " by ",
                PlainText(view->resolved_by).c_str(), view->reason.empty() ? "" : ": ",
                PlainText(view->reason).c_str());
  }
  std::printf("  arguments: sha256 %s\n  outcome: %s\n", view->arguments_sha256.c_str(),
              view->outcome.empty() ? "none yet" : view->outcome.c_str());
  return kExitOk;
}

int Grant(const ApprovalFlags& flags) { return Resolve(flags, true); }
int Deny(const ApprovalFlags& flags) { return Resolve(flags, false); }

bool Takes(const ApprovalView& approval, const char* decision) {
  for (const std::string& allowed : approval.allowed_decisions) {
    if (allowed == decision) return true;
  }
  return false;
}

/// The end of input is no answer: the question stays for somebody else.
Status AnswerOnTerminal(Runtime& runtime, ResolveApprovalRequest request) {
  request.grant = true;
  while (request.reason.empty()) {
    std::cerr << "  your answer: ";
    if (!std::getline(std::cin, request.reason)) return OkStatus();
  }
  const Status status = runtime.ResolveApproval(request).status();
  if (status.reason() != "NOT_AWAITING") return status;
  std::cerr << "  (answered elsewhere)\n";
  return OkStatus();
}

}  // namespace

Status AskOnTerminal(Runtime& runtime, const std::string& session, const std::string& name) {
  ASSIGN_OR_RETURN(const ApprovalView approval, runtime.GetApproval(session, name));
  if (approval.state != ApprovalState::kPending) return OkStatus();
  std::cerr << "? " << PlainText(approval.title) << "\n";
  if (approval.requester != session + "/" + approval.turn) {
    std::cerr << "  asked by " << PlainText(approval.requester) << "\n";
  }
  std::cerr << Described(approval.description);
  for (const ToolCall& call : approval.calls) {
    if (approval.subject == "question") break;  // the title asks it
    std::cerr << "  " << call.name << " " << PlainText(call.arguments) << "\n";
  }
  if (!approval.budget.owner.empty()) {
    std::cerr << "  a yes adds " << approval.budget.extend << " " << approval.budget.resource
              << "\n";
  }
  ResolveApprovalRequest request;
  request.session = session;
  request.approval = name;
  request.resolved_by = "terminal";
  if (approval.subject == "question") return AnswerOnTerminal(runtime, std::move(request));
  while (true) {
    std::cerr << "  [y]es";
    if (Takes(approval, "grant:turn")) std::cerr << ", for this [t]urn";
    if (Takes(approval, "grant:session")) std::cerr << ", for this [s]ession";
    if (Takes(approval, "grant:workspace")) std::cerr << ", for this [w]orkspace";
    std::cerr << ", [n]o: ";
    std::string answer;
    // The end of input is no consent, and no denial: the question stays for somebody else.
    if (!std::getline(std::cin, answer)) return OkStatus();
    if (answer.empty()) continue;
    request.grant = answer[0] != 'n';
    if (answer[0] == 't') {
      request.scope = GrantScope::kTurn;
    } else if (answer[0] == 's') {
      request.scope = GrantScope::kSession;
    } else if (answer[0] == 'w') {
      request.scope = GrantScope::kWorkspace;
    } else if (answer[0] != 'y' && answer[0] != 'n') {
      continue;
    }
    const Status status = runtime.ResolveApproval(request).status();
    if (status.reason() != "BAD_FIELD") {
      if (status.reason() == "NOT_AWAITING") std::cerr << "  (answered elsewhere)\n";
      return status.reason() == "NOT_AWAITING" ? OkStatus() : status;
    }
    std::cerr << "  " << status.message() << "\n";
  }
}

void AddApprovals(CLI::App& app, int* exit_code) {
  CLI::App* approvals =
      app.add_subcommand("approvals", "What turns wait for somebody to allow, and answers to it");
  approvals->require_subcommand(1);
  auto flags = std::make_shared<ApprovalFlags>();  // owners: the callbacks below
  const auto add = [&](const char* name, const char* about, int (*body)(const ApprovalFlags&)) {
    CLI::App* command = approvals->add_subcommand(name, about);
    flags->runtime.AddTo(*command);
    command->add_flag("--json", flags->json, "JSON on stdout");
    command->callback([flags, exit_code, body] { *exit_code = body(*flags); });
    return command;
  };
  CLI::App* list = add("list", "Those that wait, of one session or of all", &List);
  list->add_option("session", flags->list.session);
  list->add_flag("--resolved", flags->list.resolved, "Answered ones too; needs the session");
  const auto about_one = [&](CLI::App* command) {
    command->add_option("session", flags->resolve.session)->required();
    command->add_option("approval", flags->resolve.approval, "Id, as listed")->required();
  };
  about_one(add("show", "One approval", &Show));
  CLI::App* grant = add(
      "grant", "Allow what is asked, all of it or some calls; or answer a question with --reason",
      &Grant);
  CLI::App* deny = add("deny", "Refuse; the model is told", &Deny);
  for (CLI::App* command : {grant, deny}) {
    about_one(command);
    command->add_option("--reason", flags->resolve.reason,
                        "For the record, and the model; of a question, the answer");
    command->add_option("--request-id", flags->resolve.request_id,
                        "A repeat with the same id gets the first answer");
  }
  CLI::App* grants =
      add("grants", "What was granted and still holds: of one session or of all", &Grants);
  grants->add_option("session", flags->grants.session);
  CLI::App* revoke =
      add("revoke", "Take a grant back; calls of its tools are asked about again", &Revoke);
  about_one(revoke);
  revoke->add_option("--reason", flags->revoke.reason, "For the record");
  revoke->add_option("--request-id", flags->revoke.request_id,
                     "A repeat with the same id gets the first answer");
  CLI::App* explain = add("explain", "Why a call ran, waits or was refused", &Explain);
  explain->add_option("session", flags->resolve.session)->required();
  explain->add_option("turn", flags->turn, "Id, such as t3")->required();
  explain->add_option("call", flags->call, "Id, as `sessions show` and events have it")->required();
  grant
      ->add_option("--scope", flags->scope,
                   "once, turn, session or workspace; beyond the turn a grant of bash is of that "
                   "very command")
      ->check(CLI::IsMember({"once", "turn", "session", "workspace"}))
      ->capture_default_str();
  grant->add_option("--call", flags->resolve.calls,
                    "Id of a call to allow, may be repeated; the others are denied");
  grant->add_option("--extend", flags->resolve.extend,
                    "Of a budget: how much is added to its limit, if not what was asked");
}

}  // namespace baleen::cli

// Every unary RPC carries every field both ways, and every error keeps code, message and reason.

#include <cmath>
#include <thread>

#include "tests/grpc/fixture.h"

namespace baleen {
namespace {

SessionSettings FullSettings() {
  SessionSettings settings;
  settings.title = "Tïtle";
  settings.workspace = "/a/b";
  settings.script = "return 1";
  settings.script_name = "x.lua";
  settings.system_prompt = "be brief";
  settings.thinking = "thinking";
  settings.reasoning_effort = "max";
  settings.host_tools = {{"add", "adds", "{\"type\":\"object\"}", EffectClass::kPure, 5, 6},
                         {"rm", "removes", "{}", EffectClass::kIdempotent, 7, 8},
                         {"pay", "pays", "{}", EffectClass::kEffect, 9, 10}};
  settings.sampling = {0.0F, 0.5F, 0.25F, 40, 0xFFFF'FFFF'FFFF'FFFFULL};
  settings.tokens_max = 77;
  settings.policy.rules = {{"a*", "IDEMPOTENT", "ask", "why"},
                           {"*", "", "deny", ""},
                           {"bash", "", "allow", "", {{"git"}, {"log", "diff"}}, ""},
                           {"bash", "", "deny", "", {}, "*.key"}};
  settings.policy.approval_ms_max = 99;
  settings.budget = {1, 2, 3, 4};
  settings.turn_budget = {5, 6, 7, 8};
  settings.prices = {9, 10};
  return settings;
}

void CheckSame(const SessionSettings& got, const SessionSettings& want) {
  CHECK(got.title == want.title);
  CHECK(got.workspace == want.workspace);
  CHECK(got.script == want.script);
  CHECK(got.script_name == want.script_name);
  CHECK(got.system_prompt == want.system_prompt);
  CHECK(got.thinking == want.thinking);
  CHECK(got.reasoning_effort == want.reasoning_effort);
  REQUIRE(got.host_tools.size() == want.host_tools.size());
  for (size_t i = 0; i < want.host_tools.size(); ++i) {
    CHECK(got.host_tools[i].name == want.host_tools[i].name);
    CHECK(got.host_tools[i].description == want.host_tools[i].description);
    CHECK(got.host_tools[i].parameters == want.host_tools[i].parameters);
    CHECK(got.host_tools[i].effect == want.host_tools[i].effect);
    CHECK(got.host_tools[i].timeout_ms == want.host_tools[i].timeout_ms);
    CHECK(got.host_tools[i].output_bytes_max == want.host_tools[i].output_bytes_max);
  }
  CHECK(got.sampling.temperature == want.sampling.temperature);
  CHECK(got.sampling.top_p == want.sampling.top_p);
  CHECK(got.sampling.min_p == want.sampling.min_p);
  CHECK(got.sampling.top_k == want.sampling.top_k);
  CHECK(got.sampling.seed == want.sampling.seed);
  CHECK(got.tokens_max == want.tokens_max);
  CHECK(got.budget.tokens == want.budget.tokens);
  CHECK(got.budget.wall_ms == want.budget.wall_ms);
  CHECK(got.budget.tool_calls == want.budget.tool_calls);
  CHECK(got.budget.micro_usd == want.budget.micro_usd);
  CHECK(got.turn_budget.tokens == want.turn_budget.tokens);
  CHECK(got.prices.prompt == want.prices.prompt);
  CHECK(got.prices.generated == want.prices.generated);
  CHECK(got.policy.approval_ms_max == want.policy.approval_ms_max);
  REQUIRE(got.policy.rules.size() == want.policy.rules.size());
  for (size_t i = 0; i < want.policy.rules.size(); ++i) {
    CHECK(got.policy.rules[i].tool == want.policy.rules[i].tool);
    CHECK(got.policy.rules[i].effect == want.policy.rules[i].effect);
    CHECK(got.policy.rules[i].decision == want.policy.rules[i].decision);
    CHECK(got.policy.rules[i].why == want.policy.rules[i].why);
    CHECK(got.policy.rules[i].argv == want.policy.rules[i].argv);
    CHECK(got.policy.rules[i].writes == want.policy.rules[i].writes);
  }
}

TEST_CASE("CreateSession carries every setting up and the view down") {
  Fixture f;
  CreateSessionRequest request;
  request.session = "one";
  request.settings = FullSettings();
  request.request_id = "r-1";
  const auto view = f.remote->CreateSession(request);
  INFO(view.status().ToString());
  REQUIRE(view.ok());
  REQUIRE(f.runtime.created.size() == 1);
  CHECK(f.runtime.created[0].session == "one");
  CHECK(f.runtime.created[0].request_id == "r-1");
  CheckSame(f.runtime.created[0].settings, FullSettings());
  CheckSame(view->settings, FullSettings());
  CHECK(view->session == "one");
  CHECK(view->state == SessionState::kIdle);
  CHECK(view->created_ms == 1'600'000'000'001);
  CHECK(view->updated_ms == -1);
  CHECK(view->head_cursor == "one:1");
  CHECK(view->open_turn.empty());
}

TEST_CASE("Approvals and their answers carry every field") {
  Fixture f;
  ApprovalView asked;
  asked.session = "s";
  asked.approval = "t1-a1";
  asked.turn = "t1";
  asked.requester = "s/t1";
  asked.subject = "tool_calls";
  asked.title = "Run pay";
  asked.description = "m\u00f6ney";
  asked.calls = {{"c1", "pay", "{\"n\":1}"}, {"c2", "rm", "{}"}};
  asked.allowed_decisions = {"grant:once", "deny"};
  asked.budget = {"turn", "tokens", 100, 101, 50};
  asked.requested_ms = 1'600'000'000'123;
  asked.expires_ms = 1'600'000'009'000;
  f.runtime.approvals = {asked};
  const auto waiting = f.remote->ListApprovals({"", false});
  REQUIRE(waiting.ok());
  REQUIRE(waiting->size() == 1);
  const ApprovalView& got = waiting->at(0);
  CHECK(got.session == "s");
  CHECK(got.approval == "t1-a1");
  CHECK(got.turn == "t1");
  CHECK(got.requester == "s/t1");
  CHECK(got.subject == "tool_calls");
  CHECK(got.title == asked.title);
  CHECK(got.description == asked.description);
  REQUIRE(got.calls.size() == 2);
  CHECK(got.calls[0].arguments == "{\"n\":1}");
  CHECK(got.allowed_decisions == asked.allowed_decisions);
  CHECK(got.requested_ms == asked.requested_ms);
  CHECK(got.budget.owner == "turn");
  CHECK(got.budget.resource == "tokens");
  CHECK(got.budget.limit == 100);
  CHECK(got.budget.spent == 101);
  CHECK(got.budget.extend == 50);
  CHECK(got.expires_ms == asked.expires_ms);
  CHECK(got.state == ApprovalState::kPending);
  CHECK(f.remote->ListApprovals({"other", true})->empty());
  for (const GrantScope scope :
       {GrantScope::kOnce, GrantScope::kTurn, GrantScope::kSession, GrantScope::kWorkspace}) {
    ResolveApprovalRequest request;
    request.session = "s";
    request.approval = "t1-a1";
    request.grant = true;
    request.scope = scope;
    request.calls = {"c2"};
    request.reason = "because";
    request.extend = 77;
    request.resolved_by = "ann";
    request.request_id = "r-1";
    const auto view = f.remote->ResolveApproval(request);
    INFO(view.status().ToString());
    REQUIRE(view.ok());
    CHECK(view->state == ApprovalState::kGranted);
    CHECK(view->scope == scope);
    CHECK(view->granted_calls == request.calls);
    CHECK(view->resolved_by == "ann");
    CHECK(view->reason == "because");
    CHECK(view->resolved_ms == 1'700'000'000'000);
    CHECK(f.runtime.resolved.back().request_id == "r-1");
    CHECK(f.runtime.resolved.back().grant);
    CHECK(f.runtime.resolved.back().extend == 77);
  }
  ResolveApprovalRequest no;
  no.session = "s";
  no.approval = "t1-a1";
  CHECK(f.remote->ResolveApproval(no)->state == ApprovalState::kDenied);
  CHECK(f.remote->GetApproval("s", "t1-a2").status().reason() == "ITEM_UNKNOWN");
  CHECK(f.remote->GetApproval("s", "no/id").status().reason() == "BAD_FIELD");
}

TEST_CASE("Grants are listed page by page, and revoked by name") {
  Fixture f;
  for (int i = 0; i < 5; ++i) {
    GrantView grant;
    grant.session = "s" + std::to_string(i);
    grant.approval = "t1-a1";
    grant.scope = i % 2 == 0 ? GrantScope::kSession : GrantScope::kWorkspace;
    grant.workspace = i % 2 == 0 ? "" : "/m\u00f6bel";
    grant.tools = {"pay", "rm"};
    grant.granted_by = "ann";
    grant.reason = "because";
    grant.granted_ms = 1'600'000'000'123 + i;
    f.runtime.grants.push_back(grant);
  }
  const auto all = f.remote->ListGrants({});
  REQUIRE(all.ok());
  REQUIRE(all->size() == 5);
  for (size_t i = 0; i < 5; ++i) {
    const GrantView& sent = f.runtime.grants[i];
    const GrantView& got = all->at(i);
    CHECK(got.session == sent.session);
    CHECK(got.approval == sent.approval);
    CHECK(got.scope == sent.scope);
    CHECK(got.workspace == sent.workspace);
    CHECK(got.tools == sent.tools);
    CHECK(got.granted_by == "ann");
    CHECK(got.reason == "because");
    CHECK(got.granted_ms == sent.granted_ms);
  }
  ListGrantsRequest page;
  page.session = "s1";
  page.grants_max = 2;
  page.after = "s1/t1-a1";
  const auto two = f.remote->ListGrants(page);
  REQUIRE(two.ok());
  REQUIRE(two->size() == 2);
  CHECK(two->at(0).session == "s2");
  CHECK(f.runtime.grants_asked.back().session == "s1");
  CHECK(f.runtime.grants_asked.back().grants_max == 2);
  page.grants_max = -1;
  CHECK(f.remote->ListGrants(page).status().reason() == "BAD_FIELD");
  page.session = "no/id";
  CHECK(f.remote->ListGrants(page).status().reason() == "BAD_FIELD");
  RevokeGrantRequest revoke;
  revoke.session = "s3";
  revoke.approval = "t1-a1";
  revoke.reason = "enough";
  revoke.revoked_by = "bob";
  revoke.request_id = "r-1";
  const auto gone = f.remote->RevokeGrant(revoke);
  REQUIRE(gone.ok());
  CHECK(gone->session == "s3");
  CHECK(f.runtime.revoked.back().reason == "enough");
  CHECK(f.runtime.revoked.back().revoked_by == "bob");
  CHECK(f.runtime.revoked.back().request_id == "r-1");
  revoke.approval = "t1-a2";
  CHECK(f.remote->RevokeGrant(revoke).status().reason() == "ITEM_UNKNOWN");
}

TEST_CASE("Scripts are put, read, listed in pages, run and deleted over the wire") {
  Fixture f;
  PutScriptRequest put{"first", "return function() return 'a' end", false};
  const auto kept = f.remote->PutScript(put);
  REQUIRE(kept.ok());
  CHECK(kept->script == "first");
  CHECK(kept->source == put.source);
  CHECK(kept->bytes == std::ssize(put.source));
  CHECK(kept->updated_ms == 1'700'000'000'001);
  REQUIRE(kept->notes.size() == 1);
  CHECK(kept->notes[0].line == 3);
  CHECK(kept->notes[0].message == "a note");
  put.script = "";
  put.validate_only = true;
  CHECK(f.remote->PutScript(put)->script.empty());
  put.validate_only = false;
  CHECK(f.remote->PutScript(put).status().reason() == "BAD_FIELD");
  for (int i = 0; i < 60; ++i)
    f.runtime.scripts["s" + std::to_string(i)].script = "s" + std::to_string(i);
  CHECK(f.remote->ListScripts(0, "")->size() == 61);
  CHECK(f.remote->ListScripts(3, "s1")->at(0).script == "s10");
  CHECK(f.remote->GetScript("first")->source == put.source);
  CHECK(f.remote->GetScript("no/name").status().reason() == "BAD_FIELD");
  CHECK(f.remote->DeleteScript("first").ok());
  CHECK(f.remote->DeleteScript("first").reason() == "SCRIPT_UNKNOWN");
  CreateSessionRequest create;
  create.session = "s";
  create.stored_script = "s5";
  REQUIRE(f.remote->CreateSession(create).ok());
  CHECK(f.runtime.created.back().stored_script == "s5");
}

std::vector<std::string> All(const DecisionView& view) {
  return {view.session,
          view.turn,
          view.call,
          view.tool,
          view.arguments_sha256,
          view.decision,
          view.why,
          view.decided_by,
          view.grant,
          view.approval,
          view.resolved_by,
          view.reason,
          view.outcome,
          std::to_string(view.decided_ms) + " " +
              std::to_string(static_cast<int>(view.approval_state))};
}

TEST_CASE("Why a call was decided as it was comes over the wire whole") {
  Fixture f;
  DecisionView decision;
  decision.session = "s";
  decision.turn = "t2";
  decision.call = "call_1";
  decision.tool = "pay";
  decision.arguments_sha256 = std::string(64, 'a');
  decision.decision = "ask";
  decision.decided_by = "rule 2: ask pay";
  decision.why = "it costs";
  decision.approval = "t2-a1";
  decision.approval_state = ApprovalState::kExpired;
  decision.resolved_by = "expiry";
  decision.reason = "nobody answered in time";
  decision.decided_ms = 1'700'000'000'123;
  decision.outcome = "DENIED";
  DecisionView granted = decision;
  granted.call = "call_2";
  granted.approval = "";
  granted.approval_state = ApprovalState::kPending;
  granted.resolved_by = granted.reason = "";
  granted.grant = "s0/t1-a1";
  f.runtime.decisions = {decision, granted};
  for (const DecisionView& wanted : f.runtime.decisions) {
    const auto got = f.remote->ExplainDecision("s", "t2", wanted.call);
    REQUIRE(got.ok());
    CHECK(All(*got) == All(wanted));
  }
  CHECK(f.remote->ExplainDecision("s", "t2", "call_3").status().reason() == "ITEM_UNKNOWN");
  CHECK(f.remote->ExplainDecision("s", "no/turn", "c").status().reason() == "BAD_FIELD");
}

TEST_CASE("More approvals than a page holds come in several") {
  Fixture f;
  ApprovalView asked;
  asked.session = "s";
  asked.turn = "t1";
  asked.state = ApprovalState::kRevoked;
  asked.revoked_by = "bob";
  asked.revoked_ms = 1'600'000'000'123;
  for (int i = 1; i <= 2500; ++i) {
    asked.approval = "t1-a" + std::to_string(i);
    f.runtime.approvals.push_back(asked);
  }
  const auto all = f.remote->ListApprovals({"s", true});
  REQUIRE(all.ok());
  REQUIRE(all->size() == 2500);
  CHECK(all->back().approval == "t1-a2500");
  CHECK(all->back().state == ApprovalState::kRevoked);
  CHECK(all->back().revoked_by == "bob");
  CHECK(all->back().revoked_ms == asked.revoked_ms);
  CHECK(f.runtime.approvals_asked.size() == 3);
  ListApprovalsRequest few{"s", true};
  few.approvals_max = 7;
  CHECK(f.remote->ListApprovals(few)->size() == 7);
}

TEST_CASE("Tools and models carry every field") {
  Fixture f;
  ToolView tool;
  tool.spec = {"pay", "Pays.", R"({"type":"object"})", EffectClass::kIdempotent, 1234, 5678};
  tool.origin = "plugin";
  tool.available = false;
  f.runtime.tools = {tool, tool, tool};
  f.runtime.tools[2].origin = "mcp";
  f.runtime.tools[1].spec.name = "look";
  f.runtime.tools[1].origin = "host";
  f.runtime.tools[1].available = true;
  const auto tools = f.remote->ListTools("s");
  REQUIRE(tools.ok());
  REQUIRE(tools->size() == 3);
  CHECK(tools->at(2).origin == "mcp");
  CHECK(f.runtime.tools_asked == "s");
  CHECK(tools->at(0).spec.name == "pay");
  CHECK(tools->at(0).spec.description == "Pays.");
  CHECK(tools->at(0).spec.parameters == tool.spec.parameters);
  CHECK(tools->at(0).spec.effect == EffectClass::kIdempotent);
  CHECK(tools->at(0).spec.timeout_ms == 1234);
  CHECK(tools->at(0).spec.output_bytes_max == 5678);
  CHECK(tools->at(0).origin == "plugin");
  CHECK_FALSE(tools->at(0).available);
  CHECK(tools->at(1).origin == "host");
  CHECK(tools->at(1).available);
  CHECK(f.remote->ListTools("").ok());
  CHECK(f.runtime.tools_asked.empty());
  f.runtime.models = {{"", "/model", "", "fp", "ar", 1, 2, 3},
                      {"remote:there", "m", "https://example.org/v1", "", "", 4, 5, 0}};
  const auto models = f.remote->ListModels();
  REQUIRE(models.ok());
  REQUIRE(models->size() == 2);
  CHECK(models->at(0).engine.empty());
  CHECK(models->at(0).model == "/model");
  CHECK(models->at(0).fingerprint == "fp");
  CHECK(models->at(0).arithmetic_id == "ar");
  CHECK(models->at(0).context_tokens_max == 1);
  CHECK(models->at(0).vocabulary == 2);
  CHECK(models->at(0).layers == 3);
  CHECK(models->at(1).engine == "remote:there");
  CHECK(models->at(1).url == "https://example.org/v1");
}

TEST_CASE("Steering carries its text and its delivery") {
  Fixture f;
  f.NewSession("s");
  StartTurnRequest start;
  start.session = "s";
  start.input = {"go"};
  start.budget = BudgetSettings{11, 12, 13, 14};
  const auto turn = f.remote->StartTurn(start);
  REQUIRE(turn.ok());
  REQUIRE(f.runtime.started.back().budget.has_value());
  CHECK(f.runtime.started.back().budget->tool_calls == 13);
  for (const SteerDelivery delivery : {SteerDelivery::kNextStep, SteerDelivery::kAfterTurn}) {
    SteerTurnRequest request;
    request.session = "s";
    request.turn = turn->turn;
    request.input = {"left", "right"};
    request.delivery = delivery;
    request.request_id = "r-2";
    REQUIRE(f.remote->SteerTurn(request).ok());
    CHECK(f.runtime.steered.back().turn == turn->turn);
    CHECK(f.runtime.steered.back().input == request.input);
    CHECK(f.runtime.steered.back().delivery == delivery);
    CHECK(f.runtime.steered.back().request_id == "r-2");
  }
}

TEST_CASE("A session without settings gets the defaults of the value types") {
  Fixture f;
  REQUIRE(f.remote->CreateSession({}).ok());
  CheckSame(f.runtime.created.at(0).settings, SessionSettings());
}

TEST_CASE("An update carries its mask and what it names; a tenant goes by any name") {
  Fixture f;
  f.NewSession("s");
  UpdateSessionRequest update;
  update.session = "s";
  update.mask = {"title", "sampling.top_k", "notes", "budget.micro_usd"};
  update.settings.title = "Neu";
  update.settings.sampling.top_k = 7;
  update.settings.notes = {"one", "two"};
  update.settings.budget.micro_usd = 8;
  update.expected_head = "s:1";
  update.request_id = "r-9";
  const auto view = f.remote->UpdateSession(update);
  REQUIRE(view.ok());
  CHECK(view->settings.title == "Neu");
  const UpdateSessionRequest& got = f.runtime.updated.at(0);
  CHECK(got.session == "s");
  CHECK(got.mask == update.mask);
  CHECK(got.settings.title == "Neu");
  CHECK(got.settings.sampling.top_k == 7);
  CHECK(got.settings.notes == update.settings.notes);
  CHECK(got.settings.budget.micro_usd == 8);
  CHECK(got.expected_head == "s:1");
  CHECK(got.request_id == "r-9");
  f.runtime.usage["a client/of any name"] = {3, 1'000'000'000'000};
  const auto usage = f.remote->ReadTenant("a client/of any name");
  REQUIRE(usage.ok());
  CHECK(usage->sessions == 3);
  CHECK(usage->stored_bytes == 1'000'000'000'000);
  CHECK(f.remote->ReadTenant("").status().reason() == "BAD_FIELD");
  CreateSessionRequest create;
  create.tenant = "somebody";  // a server knows who asks
  CHECK(f.remote->CreateSession(create).status().reason() == "BAD_FIELD");
}

TEST_CASE("Fork, rewind, delete and pin carry every field both ways") {
  Fixture f;
  f.NewSession("s");
  ForkRequest fork;
  fork.session = "s";
  fork.at.turn = "t3";
  fork.at.timeline = 4;
  fork.fork = "f";
  fork.title = "Förk";
  fork.expected_head = "s:1";
  fork.request_id = "r-3";
  const auto forked = f.remote->ForkSession(fork);
  INFO(forked.status().ToString());
  REQUIRE(forked.ok());
  CHECK(forked->session == "f");
  CHECK(forked->parent == "s");
  const ForkRequest& got = f.runtime.forked.at(0);
  CHECK(got.session == "s");
  CHECK(got.at.turn == "t3");
  CHECK_FALSE(got.at.tokens.has_value());
  CHECK(got.at.timeline == 4);
  CHECK(got.fork == "f");
  CHECK(got.title == "Förk");
  CHECK(got.expected_head == "s:1");
  CHECK(got.request_id == "r-3");

  RewindRequest rewind;
  rewind.session = "s";
  rewind.to.tokens = 0;  // unset and 0 are different points
  rewind.validate_only = true;
  rewind.expected_head = "s:2";
  rewind.request_id = "r-4";
  CHECK(f.remote->RewindSession(rewind)->session.timeline == 1);
  rewind.to = {};
  rewind.validate_only = false;
  rewind.undo = true;
  rewind.scope = RewindScope::kBoth;
  const auto rewound = f.remote->RewindSession(rewind);
  REQUIRE(rewound.ok());
  REQUIRE(rewound->files.size() == 2);
  CHECK(rewound->files[0].path == "a/ä.txt");
  CHECK(rewound->files[0].action == FileAction::kRecreate);
  CHECK(rewound->files[1].action == FileAction::kNotKept);
  CHECK(rewound->files[1].why == "too large");
  CHECK(rewound->notes == std::vector<std::string>{"not commands"});
  CHECK(rewound->session.timeline == 2);
  CHECK(rewound->kept_seq == 3);
  CHECK(rewound->left_tokens == 400);
  CHECK(rewound->left_turns == 5);
  CHECK(rewound->left_timeline == 1);
  REQUIRE(f.runtime.rewound.size() == 2);
  CHECK(f.runtime.rewound[0].to.tokens == 0);
  CHECK(f.runtime.rewound[0].validate_only);
  CHECK_FALSE(f.runtime.rewound[0].undo);
  CHECK(f.runtime.rewound[0].expected_head == "s:2");
  CHECK(f.runtime.rewound[0].request_id == "r-4");
  CHECK_FALSE(f.runtime.rewound[1].to.tokens.has_value());
  CHECK(f.runtime.rewound[1].undo);
  CHECK(f.runtime.rewound[0].scope == RewindScope::kConversation);
  CHECK(f.runtime.rewound[1].scope == RewindScope::kBoth);
  rewind.to.tokens = 1;
  rewind.to.turn = "t1";
  CHECK(f.remote->RewindSession(rewind).status().code() == StatusCode::kInvalidArgument);

  CHECK(f.remote->PinSession("s", true)->pinned);
  CHECK_FALSE(f.remote->PinSession("s", false)->pinned);
  DeleteRequest remove;
  remove.session = "s";
  remove.validate_only = true;
  remove.expected_head = "s:3";
  remove.request_id = "r-5";
  const auto deleted = f.remote->DeleteSession(remove);
  REQUIRE(deleted.ok());
  CHECK(deleted->session == "s");
  CHECK(deleted->tokens == 100);
  CHECK(deleted->turns == 7);
  CHECK(deleted->timelines == 2);
  CHECK(deleted->forks == 1);
  CHECK(f.runtime.deleted.at(0).validate_only);
  CHECK(f.runtime.deleted[0].expected_head == "s:3");
  CHECK(f.runtime.deleted[0].request_id == "r-5");
}

TEST_CASE("Search, explain, backup and compact carry every field both ways") {
  Fixture f;
  f.NewSession("s");
  f.runtime.hits = {{"s", "t2", "generated", 9, 1'500'000'000'001, "…wörds…", 3, 4},
                    {"s", "", "title", 0, -5, "a title", 1}};
  const auto hits = f.remote->Search({"\"wörds\" OR *", 7, true});
  INFO(hits.status().ToString());
  REQUIRE(hits.ok());
  CHECK(f.runtime.searched.at(0).words == "\"wörds\" OR *");
  CHECK(f.runtime.searched[0].hits_max == 7);
  CHECK(f.runtime.searched[0].left_timelines);
  REQUIRE(hits->size() == 2);
  CHECK((*hits)[0].session == "s");
  CHECK((*hits)[0].turn == "t2");
  CHECK((*hits)[0].kind == "generated");
  CHECK((*hits)[0].seq == 9);
  CHECK((*hits)[0].time_ms == 1'500'000'000'001);
  CHECK((*hits)[0].snippet == "…wörds…");
  CHECK((*hits)[0].sessions == 3);
  CHECK((*hits)[0].timeline == 4);
  CHECK((*hits)[1].turn.empty());
  CHECK((*hits)[1].time_ms == -5);
  CHECK(f.remote->Search({std::string(2000, 'x'), 7}).status().code() ==
        StatusCode::kInvalidArgument);

  f.runtime.steps = {{"t1", 2, 3, 4, 5, 6, 7, 8, 9, 1.5, 2.5, {"why", "and why"}}};
  const auto steps = f.remote->Explain("s", "t1");
  REQUIRE(steps.ok());
  CHECK(f.runtime.explained == "s/t1");
  REQUIRE(steps->size() == 1);
  const StepReuse& step = (*steps)[0];
  CHECK(step.turn == "t1");
  CHECK(step.step == 2);
  CHECK(step.context_tokens == 3);
  CHECK(step.reused_ram == 4);
  CHECK(step.reused_disk == 5);
  CHECK(step.recomputed == 6);
  CHECK(step.prefilled == 7);
  CHECK(step.generated == 8);
  CHECK(step.bytes_read == 9);
  CHECK(step.restore_ms == 1.5);
  CHECK(step.prefill_ms == 2.5);
  CHECK(step.reasons == std::vector<std::string>{"why", "and why"});
  REQUIRE(f.remote->Explain("s", "").ok());
  CHECK(f.runtime.explained == "s/");

  const auto backup = f.remote->Backup("/somewhere/else");
  REQUIRE(backup.ok());
  CHECK(backup->path == "/somewhere/else");
  CHECK(backup->journal_bytes == 4096);
  CHECK(f.remote->Backup("relative").status().code() == StatusCode::kInvalidArgument);
  CHECK(f.remote->Compact()->journal_bytes_before == 9);
  CHECK(f.remote->Compact()->journal_bytes_after == 3);
  CHECK(f.remote->Compact()->kv_bytes_before == 8);
  CHECK(f.remote->Compact()->kv_bytes_after == 2);
  std::string next;
  const auto notes = f.remote->ListNotes({"/wörk", 5, "n6"}, &next);
  REQUIRE(notes.ok());
  CHECK(next == "n69");
  REQUIRE(notes->size() == 1);
  CHECK(notes->at(0).note == "n7");
  CHECK(notes->at(0).workspace == "/wörk");
  CHECK(notes->at(0).session == "old");
  CHECK(notes->at(0).time_ms == 1'600'000'000'123);
  CHECK(notes->at(0).text == "5");
  CHECK(f.remote->DeleteNote("n7")->note == "n7");
  CHECK(f.remote->DeleteNote("N 7").status().code() == StatusCode::kInvalidArgument);
  const auto own = f.remote->PruneSessions({std::nullopt, true});
  REQUIRE(own.ok());
  CHECK_FALSE(f.runtime.pruned.back().limits.has_value());
  CHECK(f.runtime.pruned.back().validate_only);
  REQUIRE(own->sessions.size() == 1);
  CHECK(own->sessions[0].session == "old");
  CHECK(own->sessions[0].used_ms == 1'600'000'000'123);
  CHECK(own->sessions[0].bytes == 7);
  CHECK(own->sessions[0].reason == "not used");
  CHECK(own->bytes_before == 20);
  CHECK(own->bytes_after == 13);
  REQUIRE(f.remote->PruneSessions({RetentionLimits{5, 6}, false}).ok());
  CHECK(f.runtime.pruned.back().limits->unused_ms_max == 5);
  CHECK(f.runtime.pruned.back().limits->bytes_max == 6);
  CHECK_FALSE(f.runtime.pruned.back().validate_only);
  const auto fetched = f.remote->PrefetchSession("s");
  REQUIRE(fetched.ok());
  CHECK(fetched->turn.empty());
  CHECK(fetched->context_tokens == 300);
  CHECK(fetched->reused_ram == 100);
  CHECK(fetched->reused_disk == 150);
  CHECK(fetched->reasons == std::vector<std::string>{"cold"});
  CHECK(f.remote->ReleaseSession("s")->session == "s");

  const auto exported = f.remote->ExportSession("s", "/a/file", {});
  REQUIRE(exported.ok());
  CHECK(exported->path == "/a/file");
  CHECK(exported->bytes == 1);
  CHECK(exported->events == 2);
  CHECK(exported->blocks == 3);
  CHECK(exported->blocks_missing == 4);
  CHECK(exported->checkpoints == 5);
  CHECK(exported->notes == std::vector<std::string>{"a note"});
  CHECK(f.remote->ExportSession("s", "relative", {}).status().code() ==
        StatusCode::kInvalidArgument);
  ImportRequest import{"/a/file", "moved", "/w", true, "r1", ""};
  const auto imported = f.remote->ImportSession(import, {});
  REQUIRE(imported.ok());
  CHECK(imported->session.session == "moved");
  CHECK(imported->session.settings.workspace == "/w");
  CHECK(imported->events == 1);
  CHECK(imported->tokens == 2);
  CHECK(imported->blocks == 3);
  CHECK(imported->checkpoints == 4);
  CHECK(imported->kv_taken);
  CHECK(imported->notes == std::vector<std::string>{"/a/file", "r1"});
}

TEST_CASE("Turns round trip with sampling, usage and failure") {
  Fixture f;
  f.NewSession("s");
  StartTurnRequest request;
  request.session = "s";
  request.input = {"a", "", "ü"};
  request.sampling = SamplingSettings{0.0F, 0.9F, 0.1F, 3, 9};
  request.tokens_max = 12;
  request.trace_logits = true;
  request.expected_head = "s:1";
  request.request_id = "r-2";
  const auto started = f.remote->StartTurn(request);
  INFO(started.status().ToString());
  REQUIRE(started.ok());
  const StartTurnRequest& got = f.runtime.started.at(0);
  CHECK(got.input == request.input);
  REQUIRE(got.sampling.has_value());
  CHECK(got.sampling->temperature == 0.0F);
  CHECK(got.sampling->seed == 9);
  CHECK(got.tokens_max == 12);
  CHECK(got.trace_logits);
  CHECK(got.expected_head == "s:1");
  CHECK(got.request_id == "r-2");
  CHECK(started->turn == "t1");
  CHECK(started->state == TurnState::kRunning);
  CHECK(started->tokens_reused_ram == 1);
  CHECK(started->tokens_reused_disk == 2);
  CHECK(started->tokens_recomputed == 3);
  CHECK(started->tokens_prefilled == 4);
  CHECK(started->tokens_generated == 5);
  CHECK(f.remote->GetSession("s")->open_turn == "t1");
  CHECK(f.remote->GetSession("s")->state == SessionState::kRunning);

  f.runtime.FinishTurn("s", "t1", TurnState::kFailed, "half", DataLossError("gone", "LOG_CORRUPT"));
  const auto failed = f.remote->GetTurn("s", "t1");
  REQUIRE(failed.ok());  // a failure inside a turn is state
  CHECK(failed->state == TurnState::kFailed);
  CHECK(failed->text == "half");
  CHECK(failed->error.code() == StatusCode::kDataLoss);
  CHECK(failed->error.message() == "gone");
  CHECK(failed->error.reason() == "LOG_CORRUPT");
}

TEST_CASE("A turn without sampling keeps the session's") {
  Fixture f;
  f.NewSession("s");
  REQUIRE(f.remote->StartTurn(TurnOf("s", "x")).ok());
  CHECK_FALSE(f.runtime.started.at(0).sampling.has_value());
}

TEST_CASE("CancelTurn and WaitTurn") {
  Fixture f;
  f.NewSession("s");
  REQUIRE(f.remote->StartTurn(TurnOf("s", "x")).ok());
  const auto late = f.remote->WaitTurn("s", "t1", 0);
  CHECK(late.status().code() == StatusCode::kDeadlineExceeded);
  std::thread finisher([&] {
    f.runtime.WaitUntil([&] { return f.runtime.watches == 1; });
    f.runtime.FinishTurn("s", "t1", TurnState::kSucceeded, "answer");
  });
  const auto done = f.remote->WaitTurn("s", "t1", 60'000);
  finisher.join();
  REQUIRE(done.ok());
  CHECK(done->state == TurnState::kSucceeded);
  CHECK(done->text == "answer");
  REQUIRE(f.remote->StartTurn(TurnOf("s", "x")).ok());
  CHECK(f.remote->CancelTurn("s", "t2")->state == TurnState::kCancelled);
  CHECK(f.remote->WaitTurn("s", "t2", 0)->state == TurnState::kCancelled);
}

TEST_CASE("ListSessions pages") {
  Fixture f;
  for (const char* id : {"a", "b", "c"}) f.NewSession(id);
  std::string token;
  const auto first = f.remote->ListSessions(2, "", &token);
  REQUIRE(first.ok());
  REQUIRE(first->size() == 2);
  CHECK(token == "b");
  const auto second = f.remote->ListSessions(2, token, &token);
  REQUIRE(second->size() == 1);
  CHECK(second->at(0).session == "c");
  CHECK(token.empty());
}

TEST_CASE("ReadTokens reads beyond one page and stops at the end") {
  Fixture f;
  f.NewSession("s");
  const int64_t total = (1 << 18) + 5;  // the client's page and a bit
  for (int64_t i = 0; i < total; ++i) f.runtime.trace.ids.push_back(static_cast<int32_t>(i * 7));
  auto got = f.remote->ReadTokens("s", 3, total);
  REQUIRE(got.ok());
  CHECK(got->begin == 3);
  CHECK(got->ids ==
        std::vector<int32_t>(f.runtime.trace.ids.begin() + 3, f.runtime.trace.ids.end()));
  CHECK(got->logits_hashes.empty());
  CHECK(f.runtime.token_calls == 2);
  for (int64_t i = 0; i < total; ++i) {
    f.runtime.trace.logits_hashes.push_back(0x8000'0000'0000'0000ULL + static_cast<uint64_t>(i));
  }
  got = f.remote->ReadTokens("s", 0, total);
  CHECK(got->logits_hashes == f.runtime.trace.logits_hashes);
  CHECK(f.remote->ReadTokens("s", 0, 0)->ids.empty());
}

TEST_CASE("Verify and Stats") {
  Fixture f;
  f.runtime.report = {1, 2, 3, 4, 5, 6, 7, {"block x", "y"}};
  f.runtime.stats = {1,  2,  3,  4,  5,  6,  7,   "fp", "ar", "/m", {"note"},
                     12, 13, 14, 15, 16, 17, 1.5, 19,   20,   21,   22};
  const auto report = f.remote->Verify("");
  REQUIRE(report.ok());
  CHECK(f.runtime.verified.empty());
  CHECK(report->sessions == 1);
  CHECK(report->events == 2);
  CHECK(report->tokens == 3);
  CHECK(report->blocks == 4);
  CHECK(report->block_bytes == 5);
  CHECK(report->checkpoints == 6);
  CHECK(report->checkpoint_bytes == 7);
  CHECK(report->problems == std::vector<std::string>{"block x", "y"});
  CHECK(f.remote->Verify("abc").ok());
  CHECK(f.runtime.verified == "abc");
  const auto stats = f.remote->Stats();
  REQUIRE(stats.ok());
  CHECK(stats->sessions == 1);
  CHECK(stats->turns_running == 2);
  CHECK(stats->sequences_resident == 3);
  CHECK(stats->kv_bytes_on_disk == 4);
  CHECK(stats->block_tokens == 5);
  CHECK(stats->block_payload_bytes == 6);
  CHECK(stats->engine_wakeups == 7);
  CHECK(stats->fingerprint == "fp");
  CHECK(stats->arithmetic_id == "ar");
  CHECK(stats->model_path == "/m");
  CHECK(stats->timelines == 12);
  CHECK(stats->timeline_tokens == 13);
  CHECK(stats->journal_tokens == 14);
  CHECK(stats->journal_bytes == 15);
  CHECK(stats->kv_blocks == 16);
  CHECK(stats->kv_block_bytes == 17);
  CHECK(stats->kv_write_amplification == 1.5);
  CHECK(stats->kv_blocks_found == 19);
  CHECK(stats->kv_blocks_missed == 20);
  CHECK(stats->kv_bytes_in_ram == 21);
  CHECK(stats->kv_blocks_evicted == 22);
}

TEST_CASE("Every code comes back with message and reason") {
  Fixture f;
  for (int code = 1; code <= 16; ++code) {
    const auto own = static_cast<StatusCode>(code);
    f.runtime.FailNext(Status(own, "what \xC3\xBC", "WHY_" + std::to_string(code)));
    const Status got = f.remote->Stats().status();
    CHECK(got.code() == own);
    CHECK(got.message() == "what \xC3\xBC");
    CHECK(got.reason() == "WHY_" + std::to_string(code));
    f.runtime.FailNext(Status(own, "no reason"));
    CHECK(f.remote->Stats().status().reason().empty());
  }
}

TEST_CASE("An endless or broken error message still arrives as an error of its code") {
  Fixture f;
  for (const std::string& unit :
       {std::string("x"), std::string("\xE2\x82\xAC"), std::string("\xFF")}) {
    std::string message;
    while (message.size() < 100'000) message += unit;
    f.runtime.FailNext(ResourceExhaustedError(message, "QUOTA"));
    const Status got = f.remote->Stats().status();
    CHECK(got.code() == StatusCode::kResourceExhausted);
    CHECK(got.reason() == "QUOTA");
    CHECK(got.message().size() > 1000);
  }
}

TEST_CASE("Text that is not UTF-8 is mended, not refused") {
  Fixture f;
  f.NewSession("s");
  REQUIRE(f.remote->StartTurn(TurnOf("s", "x")).ok());
  f.runtime.FinishTurn("s", "t1", TurnState::kSucceeded, "a\xFFz\xC3");
  const auto turn = f.remote->GetTurn("s", "t1");
  REQUIRE(turn.ok());
  CHECK(turn->text == "a\xEF\xBF\xBDz\xEF\xBF\xBD");
}

TEST_CASE("Bad fields are named and never reach the runtime") {
  Fixture f;
  f.NewSession("s");
  const auto bad = [](const Status& status, const std::string& field) {
    INFO(status.ToString());
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.reason() == "BAD_FIELD");
    CHECK(status.message().find(field) != std::string::npos);
  };
  for (const char* id : {"", "-a", "A", "a/b", "a.b", "\xC3\xBC"}) {
    bad(f.remote->GetSession(id).status(), "name");
  }
  bad(f.remote->GetSession(std::string(64, 'a')).status(), "name");
  CHECK(f.remote->GetSession(std::string(63, 'a')).status().code() == StatusCode::kNotFound);
  bad(f.remote->GetSession(std::string(1 << 20, 'a')).status(), "name");
  bad(f.remote->GetTurn("s", "T/1").status(), "name");
  bad(f.remote->GetTurn("s", "").status(), "name");
  bad(f.remote->ListSessions(-5, "", nullptr).status(), "page_size");
  bad(f.remote->ReadTokens("s", -1, 1).status(), "begin");
  StartTurnRequest turn = TurnOf("s", "x");
  for (const float value : {NAN, -1.0F, INFINITY}) {
    turn.sampling = SamplingSettings{};
    turn.sampling->temperature = value;
    bad(f.remote->StartTurn(turn).status(), "temperature");
  }
  turn.sampling = SamplingSettings{};
  turn.sampling->top_p = 1.5F;
  bad(f.remote->StartTurn(turn).status(), "top_p");
  CreateSessionRequest create;
  create.session = "UPPER";
  bad(f.remote->CreateSession(create).status(), "session_id");
  create = {};
  create.settings.thinking = "sometimes";
  bad(f.remote->CreateSession(create).status(), "thinking");
  create = {};
  create.request_id.assign(5000, 'r');
  bad(f.remote->CreateSession(create).status(), "request_id");
  CHECK(f.runtime.started.empty());
  CHECK(f.runtime.created.size() == 1);
}

TEST_CASE("Messages up to the limit pass, larger ones are RESOURCE_EXHAUSTED") {
  Fixture f({.message_bytes_max = 6 << 20});
  f.NewSession("s");
  CHECK(
      f.remote->StartTurn(TurnOf("s", std::string(5 << 20, 'x'))).ok());  // gRPC's default is 4 MiB
  const auto refused = f.remote->StartTurn(TurnOf("s", std::string(7 << 20, 'x')));
  CHECK(refused.status().code() == StatusCode::kResourceExhausted);
  CHECK(f.runtime.started.size() == 1);
  // Downwards too.
  f.runtime.FinishTurn("s", "t1", TurnState::kSucceeded, std::string(5 << 20, 'y'));
  CHECK(f.remote->GetTurn("s", "t1")->text.size() == 5 << 20);
}

}  // namespace
}  // namespace baleen

// History: a session's journal as the sim judges it, whole: what must hold of every history.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/store/journal.h"
#include "tests/store/status_checks.h"

namespace baleen {

using Json = nlohmann::json;

inline std::vector<EventRecord> AllEventsOf(Journal& journal, const std::string& session) {
  return Must(journal.ReadEvents(session, 0, 10'000));
}

/// How often each call's body began, by "session/turn.call".
using Ledger = std::map<std::string, int64_t>;

class History {
 public:
  History(Journal& journal, const std::string& session, const Ledger& ledger)
      : journal_(journal), session_(session), ledger_(ledger) {
    std::string whole;
    for (const EventRecord& event : AllEventsOf(journal, session)) {
      whole +=
          std::to_string(event.seq) + " " + event.kind + " " + event.payload.substr(0, 400) + "\n";
    }
    INFO(whole);
    for (const EventRecord& event : AllEventsOf(journal, session)) {
      CAPTURE(session, event.seq, event.kind, event.payload);
      Take(event, Json::parse(event.payload, nullptr, false));
    }
    CAPTURE(session);
    REQUIRE(open_turn_.empty());
    for (const auto& [approval, state] : approvals_) {
      CAPTURE(approval);
      REQUIRE(state != "PENDING");
    }
  }

  std::map<std::string, std::string> turn_states;   ///< By turn.
  std::map<std::string, std::string> turn_of_text;  ///< Input -> turn; of users.
  std::map<std::string, int64_t> told;  ///< Steering text -> how often it was delivered.
  std::set<std::string> steered;
  std::map<std::string, std::string> results;  ///< "turn.call" -> content.
  std::map<std::string, std::string> approval_ends;

 private:
  void Take(const EventRecord& event, const Json& payload) {
    const std::string turn = payload.value("turn", "");
    if (event.kind == "turn_started") {
      REQUIRE(open_turn_.empty());
      open_turn_ = turn;
      limit_ = payload.value("budget", Json::object()).value("tokens", int64_t{0});
      started_tokens_ = event.tokens;
      if (payload.value("trigger", "USER") == "STEER") {
        for (const std::string& text : Split(payload["input"])) told[text] += 1;
      } else {
        REQUIRE(turn_of_text.emplace(payload["input"], turn).second);
      }
    } else if (event.kind == "turn_finished") {
      REQUIRE(open_turn_ == turn);
      REQUIRE(calls_.empty());
      open_turn_.clear();
      turn_states[turn] = payload["state"];
      if (cancelled_.contains(turn)) REQUIRE(payload["state"] == "CANCELLED");
      const Json unsent = payload.value("unsent", Json::array());
      for (const auto& text : unsent) told[text] += 1;
      // Kept to the token.
      REQUIRE(payload["usage"].value("tokens", int64_t{0}) == event.tokens - started_tokens_);
      if (limit_ > 0) REQUIRE(event.tokens - started_tokens_ <= limit_);
    } else if (event.kind == "cancel_requested") {
      cancelled_.insert(turn);
    } else if (event.kind == "steered") {
      steer_texts_[payload["steer"]] = payload["input"];
      steered.insert(payload["input"]);
    } else if (event.kind == "generate") {
      const Json steers = payload.value("steers", Json::array());
      for (const auto& steer : steers) {
        told[steer_texts_.at(steer)] += 1;
      }
      CheckOwed(payload["prompt_begin"], payload["prompt_end"]);
    } else if (event.kind == "generated") {
      owed_ = std::ssize(payload["event"]["message"].value("tool_calls", Json::array()));
    } else {
      TakeCalls(event, payload, turn);
    }
  }

  void TakeCalls(const EventRecord& event, const Json& payload, const std::string& turn) {
    if (event.kind == "tool_calls") {
      REQUIRE(calls_.empty());
      REQUIRE(payload["phase"] == "PROPOSED");
      const Json effect = Json::parse(payload["effect"].get<std::string>());
      for (const auto& call : effect["calls"]) {
        calls_.emplace_back(call["id"], call["name"]);
      }
      dispatched_.clear();
      answered_.clear();
    } else if (event.kind == "tool_dispatched") {
      for (const auto& id : payload["calls"]) {
        REQUIRE(NameOf(id) != "");
        REQUIRE(dispatched_.insert(id).second);
      }
    } else if (event.kind == "tool_result") {
      for (const auto& result : payload["event"]["results"]) {
        REQUIRE(answered_.emplace(result["call_id"], result["content"]).second);
      }
    } else if (event.kind == "tool_results") {
      const auto& all = payload["event"]["results"];
      REQUIRE(all.size() == calls_.size());
      for (size_t i = 0; i < calls_.size(); ++i) CheckResult(turn, calls_[i], all[i]);
      calls_.clear();
    } else if (event.kind == "approval_requested") {
      REQUIRE(approvals_.emplace(payload["approval"], "PENDING").second);
    } else if (event.kind == "approval_resolved") {
      const std::string approval = payload["approval"];
      REQUIRE(approvals_.at(approval) == "PENDING");
      approvals_[approval] = payload["state"];
      approval_ends[approval] = payload["state"];
      if (payload.contains("budget") && payload["state"] == "GRANTED" &&
          payload["budget"]["owner"] == "turn" && payload["budget"]["resource"] == "tokens") {
        limit_ += payload["budget"]["extend"].get<int64_t>();
      }
    }
  }

  void CheckResult(const std::string& turn, const std::pair<std::string, std::string>& call,
                   const Json& result) {
    const std::string key = turn + "." + call.first;
    const auto found = ledger_.find(session_ + "/" + key);
    const int64_t began = found == ledger_.end() ? 0 : found->second;
    const std::string outcome = result["outcome"];
    CAPTURE(key, call.second, outcome, began);
    REQUIRE(result["call_id"] == call.first);
    results[key] = result["content"];
    // What was told as it came is what is told at the end.
    if (answered_.contains(call.first))
      REQUIRE(answered_[call.first] == result["content"].get<std::string>());
    if (call.second == "pay") REQUIRE(began <= 1);
    if (began > 0) REQUIRE(dispatched_.contains(call.first));
    if (outcome == "OK") REQUIRE(began >= 1);
    if (outcome == "DENIED" || outcome == "ABORTED_BEFORE_DISPATCH") REQUIRE(began == 0);
    if (outcome == "UNKNOWN") REQUIRE(call.second == "pay");
  }

  /// The prompt behind a message that asked for calls answers each of them.
  void CheckOwed(int64_t begin, int64_t end) {
    const auto run = Must(journal_.ReadTokens(session_, begin, end - begin));
    std::string text;
    for (const int32_t id : run.ids) text += id >= 3 && id < 259 ? static_cast<char>(id - 3) : '\n';
    int64_t answers = 0;
    for (size_t at = text.find("<tool_result>"); at != std::string::npos;
         at = text.find("<tool_result>", at + 1)) {
      ++answers;
    }
    CAPTURE(text);
    REQUIRE(answers == owed_);
    owed_ = 0;
  }

  std::string NameOf(const std::string& id) const {
    for (const auto& [call, name] : calls_) {
      if (call == id) return name;
    }
    return "";
  }
  static std::vector<std::string> Split(const std::string& text) {
    std::vector<std::string> parts;
    size_t at = 0;
    while (true) {
      const size_t end = text.find("\n\n", at);
      parts.push_back(text.substr(at, end - at));
      if (end == std::string::npos) return parts;
      at = end + 2;
    }
  }

  Journal& journal_;
  const std::string session_;
  const Ledger& ledger_;
  std::string open_turn_;
  int64_t limit_ = 0;
  int64_t started_tokens_ = 0;
  int64_t owed_ = 0;
  std::vector<std::pair<std::string, std::string>> calls_;  ///< Of the open step: id, tool.
  std::set<std::string> dispatched_;
  std::map<std::string, std::string> answered_;
  std::map<std::string, std::string> approvals_;
  std::map<std::string, std::string> steer_texts_;
  std::set<std::string> cancelled_;
};

}  // namespace baleen

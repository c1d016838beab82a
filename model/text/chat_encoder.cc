#include "model/text/chat_encoder.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "model/text/chat_texts.h"
#include "model/text/chat_turns.h"
#include "model/text/json_value.h"

namespace baleen {
namespace {

constexpr int64_t kV4Vocab = 129280;

/// Task names and the tokens that ask for them.
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kTasks = {{
    {"action", "<｜action｜>"},
    {"query", "<｜query｜>"},
    {"authority", "<｜authority｜>"},
    {"domain", "<｜domain｜>"},
    {"title", "<｜title｜>"},
    {"read_url", "<｜read_url｜>"},
}};

class SegmentWriter {
 public:
  void Control(int32_t id) { segments_.push_back({Segment::Kind::kControl, id, {}}); }
  void Trusted(std::string_view text) { Append(Segment::Kind::kTrusted, text); }
  void Data(std::string_view text) { Append(Segment::Kind::kData, text); }
  std::vector<Segment> Take() { return std::move(segments_); }

 private:
  void Append(Segment::Kind kind, std::string_view text) {
    if (text.empty()) return;
    if (!segments_.empty() && segments_.back().kind == kind) {
      segments_.back().text += text;
    } else {
      segments_.push_back({kind, 0, std::string(text)});
    }
  }
  std::vector<Segment> segments_;
};

bool IsUserLike(const Turn& turn) { return turn.role == "user" || turn.role == "developer"; }

ptrdiff_t LastUserIndex(const std::vector<Turn>& turns) {
  for (auto i = static_cast<ptrdiff_t>(turns.size()) - 1; i >= 0; --i) {
    if (IsUserLike(turns[i])) return i;
  }
  return -1;
}

/// Renders turns one by one, as the reference's render_message.
class TurnRenderer {
 public:
  struct Options {
    bool thinking = false;
    bool drop_thinking = false;
    std::string_view effort_prefix;  ///< Before turn 0.
  };
  /// Borrows: all of them.
  TurnRenderer(const std::vector<Turn>& turns, const ControlIds& ids, const Options& options,
               SegmentWriter* out)
      : turns_(turns), ids_(ids), options_(options), out_(*out), last_user_(LastUserIndex(turns)) {}

  Status Render(size_t index) {
    const Turn& turn = turns_[index];
    if (index == 0 && options_.thinking) out_.Trusted(options_.effort_prefix);
    if (turn.role == "system") {
      out_.Data(turn.content);
      RenderAppendices(turn);
    } else if (turn.role == "developer") {
      if (turn.content.empty()) {
        return InvalidArgumentError("messages: a developer message needs non-empty content");
      }
      out_.Control(ids_.user);
      out_.Data(turn.content);
      RenderAppendices(turn);
    } else if (turn.role == "user") {
      out_.Control(ids_.user);
      RenderBlocks(turn);
    } else if (turn.role == "latest_reminder") {
      out_.Control(ids_.latest_reminder);
      out_.Data(turn.content);
    } else if (turn.role == "assistant") {
      RenderAssistant(turn, index);
    } else {
      return InvalidArgumentError("messages: unknown role \"" + turn.role +
                                  "\"; expected system, developer, user, assistant, tool or "
                                  "latest_reminder");
    }
    return RenderTransition(turn, index);
  }

 private:
  void RenderAppendices(const Turn& turn) {
    if (!turn.tools.empty()) {
      out_.Trusted("\n\n");
      out_.Trusted(kToolsHead);
      for (size_t i = 0; i < turn.tools.size(); ++i) {
        if (i > 0) out_.Trusted("\n");
        out_.Data(turn.tools[i]);
      }
      out_.Trusted(kToolsTail);
    }
    if (!turn.response_format.empty()) {
      out_.Trusted("\n\n");
      out_.Trusted(kResponseFormatHead);
      out_.Data(turn.response_format);
    }
  }

  void RenderBlocks(const Turn& turn) {
    for (size_t i = 0; i < turn.blocks.size(); ++i) {
      const TurnBlock& block = turn.blocks[i];
      if (i > 0) out_.Trusted("\n\n");
      if (block.is_result) out_.Trusted(kResultOpen);
      out_.Data(block.text);
      if (block.is_result) out_.Trusted(kResultClose);
    }
  }

  void RenderAssistant(const Turn& turn, size_t index) {
    const bool after_task = index > 0 && turns_[index - 1].task.has_value();
    const bool keeps = !options_.drop_thinking || static_cast<ptrdiff_t>(index) > last_user_;
    if (options_.thinking && !after_task && keeps) {
      out_.Data(turn.reasoning);
      out_.Control(ids_.think_close);
    }
    out_.Data(turn.content);
    if (!turn.calls.empty()) RenderCalls(turn);
    if (!turn.without_eos) out_.Control(ids_.eos);
  }

  void RenderCalls(const Turn& turn) {
    out_.Trusted(kCallsOpen);
    for (size_t i = 0; i < turn.calls.size(); ++i) {
      const TurnCall& call = turn.calls[i];
      if (i > 0) out_.Trusted("\n");
      out_.Trusted(kInvokeOpen);
      out_.Data(call.name);
      out_.Trusted("\">\n");
      for (size_t j = 0; j < call.parameters.size(); ++j) {
        const TurnParameter& parameter = call.parameters[j];
        if (j > 0) out_.Trusted("\n");
        out_.Trusted(kParameterOpen);
        out_.Data(parameter.name);
        out_.Trusted(parameter.is_string ? kParameterString : kParameterJson);
        out_.Data(parameter.value);
        out_.Trusted(kParameterClose);
      }
      out_.Trusted(kInvokeClose);
    }
    out_.Trusted(kCallsClose);
  }

  // What follows a turn when the next one is the assistant's (or a reminder), or when it is last.
  Status RenderTransition(const Turn& turn, size_t index) {
    if (index + 1 < turns_.size()) {
      const std::string& next = turns_[index + 1].role;
      if (next != "assistant" && next != "latest_reminder") return OkStatus();
    }
    if (turn.task.has_value()) {
      const auto* task = std::find_if(kTasks.begin(), kTasks.end(),
                                      [&](const auto& known) { return known.first == *turn.task; });
      if (task == kTasks.end()) {
        return InvalidArgumentError("messages: unknown task \"" + *turn.task +
                                    "\"; expected action, query, authority, domain, title or "
                                    "read_url");
      }
      if (task->first == "action") {
        out_.Control(ids_.assistant);
        out_.Control(options_.thinking ? ids_.think_open : ids_.think_close);
      }
      out_.Trusted(task->second);
    } else if (IsUserLike(turn)) {
      const bool thinks = options_.thinking &&
                          (!options_.drop_thinking || static_cast<ptrdiff_t>(index) >= last_user_);
      out_.Control(ids_.assistant);
      out_.Control(thinks ? ids_.think_open : ids_.think_close);
    }
    return OkStatus();
  }

  const std::vector<Turn>& turns_;
  const ControlIds& ids_;
  Options options_;
  SegmentWriter& out_;
  ptrdiff_t last_user_;
};

/// nullopt: the dialect doesn't know the effort. Empty effort and "none given" are the same.
std::optional<std::string_view> EffortPrefix(std::string_view effort, ChatDialect dialect) {
  if (effort.empty()) return "";
  if (dialect == ChatDialect::kPreview) {
    if (effort == "high") return "";
    if (effort == "max") return kEffortThorough;
    return std::nullopt;
  }
  if (effort == "low") return "";
  if (effort == "high") return kEffortThorough;
  if (effort == "max") return kEffortExhaustive;
  return std::nullopt;
}

Status UnknownEffort(std::string_view effort, ChatDialect dialect) {
  return InvalidArgumentError(
      "reasoning_effort: expected " +
      std::string(dialect == ChatDialect::kPreview ? "high or max" : "low, high or max") +
      ", got \"" + std::string(effort) + "\"");
}

Status CheckDialect(ChatDialect dialect) {
  if (dialect != ChatDialect::kUnknown) return OkStatus();
  return InvalidArgumentError(
      "chat dialect is unknown: state whether the checkpoint is of the preview (April 2026) or the "
      "0731 family",
      "UNKNOWN_DIALECT");
}

/// Without the reasoning of assistants before the last user message, and without developer (and
/// unknown) messages before it.
std::vector<Turn> DropThinking(std::vector<Turn> turns) {
  constexpr std::array<std::string_view, 5> kKept = {"user", "system", "tool", "latest_reminder",
                                                     "direct_search_results"};
  const ptrdiff_t last_user = LastUserIndex(turns);
  std::vector<Turn> kept;
  for (size_t i = 0; i < turns.size(); ++i) {
    Turn& turn = turns[i];
    const bool stays = static_cast<ptrdiff_t>(i) >= last_user ||
                       std::find(kKept.begin(), kKept.end(), turn.role) != kKept.end();
    if (!stays && turn.role != "assistant") continue;
    if (!stays) turn.reasoning.clear();
    kept.push_back(std::move(turn));
  }
  return kept;
}

/// The reference's keyword arguments.
struct RequestOptions {
  bool thinking = false;
  bool drop_thinking = true;
  bool add_bos = true;
  std::string effort;
  std::vector<Turn> context;
};

Result<RequestOptions> ReadOptions(const JsonValue* kwargs) {
  RequestOptions options;
  bool has_mode = false;
  static const JsonValue none;
  if (kwargs == nullptr) kwargs = &none;
  if (!kwargs->IsObject() && !kwargs->IsNull()) {
    return InvalidArgumentError("kwargs: expected an object");
  }
  for (const auto& [name, value] : kwargs->members) {
    if (name == "thinking_mode") {
      has_mode = value.IsString() && (value.text == "chat" || value.text == "thinking");
      options.thinking = has_mode && value.text == "thinking";
    } else if (name == "drop_thinking") {
      options.drop_thinking = value.Truthy();
    } else if (name == "add_default_bos_token") {
      options.add_bos = value.Truthy();
    } else if (name == "reasoning_effort") {
      if (value.IsNull()) continue;
      if (!value.IsString() || value.text.empty()) {
        return InvalidArgumentError("kwargs.reasoning_effort: expected a level or null, got " +
                                    DumpJson(value));
      }
      options.effort = value.text;
    } else if (name == "context") {
      if (!value.Truthy()) continue;
      ASSIGN_OR_RETURN(options.context, ReadTurns(value, "kwargs.context"));
    } else {
      return InvalidArgumentError("kwargs: unknown member \"" + name + "\"");
    }
  }
  if (!has_mode) {
    return InvalidArgumentError(
        "kwargs.thinking_mode: expected \"chat\" or \"thinking\"; there is no default");
  }
  return options;
}

bool AnyTools(const std::vector<Turn>& turns) {
  return std::any_of(turns.begin(), turns.end(),
                     [](const Turn& turn) { return !turn.tools.empty(); });
}

}  // namespace

Result<std::vector<Segment>> RenderRequest(std::string_view request_json, ChatDialect dialect,
                                           const Tokenizer& tokenizer) {
  RETURN_IF_ERROR(CheckDialect(dialect));
  ASSIGN_OR_RETURN(const ControlIds ids, ControlIds::Lookup(tokenizer));
  ASSIGN_OR_RETURN(const JsonValue request, ParseJson(request_json));
  const JsonValue* messages = request.Find("messages");
  if (messages == nullptr) {
    return InvalidArgumentError("request: expected an object with an array `messages`");
  }
  ASSIGN_OR_RETURN(RequestOptions options, ReadOptions(request.Find("kwargs")));
  ASSIGN_OR_RETURN(std::vector<Turn> turns, ReadTurns(*messages, "messages"));
  if (const JsonValue* tools = request.Find("tools"); tools != nullptr) {
    RETURN_IF_ERROR(AttachTools(*tools, &turns));
  }
  const std::optional<std::string_view> prefix = EffortPrefix(options.effort, dialect);
  if (!prefix.has_value()) return UnknownEffort(options.effort, dialect);

  turns = FuseTurns(std::move(turns));
  SortResults(options.context, &turns);
  std::vector<Turn> context = FuseTurns(std::move(options.context));
  const bool first = context.empty();
  const bool drop = options.drop_thinking && !AnyTools(turns) && !AnyTools(context);
  std::vector<Turn> all = context;
  std::move(turns.begin(), turns.end(), std::back_inserter(all));
  size_t begin = context.size();
  if (options.thinking && drop) {
    // As the reference does, count what remains of the context alone, even where the whole
    // conversation would keep less of it.
    begin = DropThinking(std::move(context)).size();
    all = DropThinking(std::move(all));
  }
  SegmentWriter out;
  if (first && options.add_bos) out.Control(ids.bos);
  TurnRenderer renderer(all, ids, {options.thinking, drop, *prefix}, &out);
  for (size_t i = begin; i < all.size(); ++i) RETURN_IF_ERROR(renderer.Render(i));
  return out.Take();
}

Result<std::string> SegmentsText(const std::vector<Segment>& segments, const Tokenizer& tokenizer) {
  std::string text;
  for (const Segment& segment : segments) {
    if (segment.kind != Segment::Kind::kControl) {
      text += segment.text;
      continue;
    }
    const std::string_view literal = tokenizer.TokenBytes(segment.id);
    if (literal.empty()) {
      return InvalidArgumentError("control id " + std::to_string(segment.id) +
                                  " isn't in the vocabulary");
    }
    text += literal;
  }
  return text;
}

Result<ControlIds> ControlIds::Lookup(const Tokenizer& tokenizer) {
  struct Entry {
    int32_t ControlIds::* field;
    std::string_view literal;
    int32_t v4_id;
  };
  static constexpr Entry kEntries[] = {
      {&ControlIds::bos, "<｜begin▁of▁sentence｜>", 0},
      {&ControlIds::eos, "<｜end▁of▁sentence｜>", 1},
      {&ControlIds::user, "<｜User｜>", 128803},
      {&ControlIds::assistant, "<｜Assistant｜>", 128804},
      {&ControlIds::think_open, "<think>", 128821},
      {&ControlIds::think_close, "</think>", 128822},
      {&ControlIds::dsml, "｜DSML｜", 128825},
      {&ControlIds::latest_reminder, "<｜latest_reminder｜>", 128828},
  };
  ControlIds ids;
  for (const Entry& entry : kEntries) {
    const std::optional<int32_t> id = tokenizer.AddedTokenId(entry.literal);
    if (!id.has_value()) {
      return NotFoundError("tokenizer has no control token \"" + std::string(entry.literal) +
                           "\"; use the tokenizer.json of a DeepSeek-V4 checkpoint");
    }
    if (tokenizer.vocab() == kV4Vocab && *id != entry.v4_id) {
      return DataLossError("tokenizer: \"" + std::string(entry.literal) + "\" expected id " +
                           std::to_string(entry.v4_id) + ", got " + std::to_string(*id));
    }
    ids.*entry.field = *id;
  }
  return ids;
}

Result<SessionEncoder> SessionEncoder::Create(const Tokenizer& tokenizer, ChatDialect dialect) {
  RETURN_IF_ERROR(CheckDialect(dialect));
  SessionEncoder encoder;
  ASSIGN_OR_RETURN(encoder.ids_, ControlIds::Lookup(tokenizer));
  encoder.dialect_ = dialect;
  return encoder;
}

Status SessionEncoder::Check(const ContextStart& start) const {
  if (!EffortPrefix(start.reasoning_effort, dialect_).has_value()) {
    return UnknownEffort(start.reasoning_effort, dialect_);
  }
  for (size_t i = 0; i < start.tools.size(); ++i) {
    const Result<JsonValue> tool = ParseJson(start.tools[i]);
    if (!tool.ok()) return tool.status().WithContext("tools[" + std::to_string(i) + "]");
    if (!tool->IsObject()) {
      return InvalidArgumentError("tools[" + std::to_string(i) + "]: expected a JSON object");
    }
  }
  return OkStatus();
}

std::vector<Segment> SessionEncoder::Start(const ContextStart& start) const {
  Message system;
  system.role = Role::kSystem;
  system.content = start.system;
  system.tools = start.tools;
  const std::vector<Turn> turns = {MakeTurn(system)};
  const bool thinking = start.thinking == ThinkingMode::kThinking;
  const std::string_view prefix =
      EffortPrefix(start.reasoning_effort, dialect_).value_or(std::string_view());
  SegmentWriter out;
  out.Control(ids_.bos);
  TurnRenderer renderer(turns, ids_, {thinking, false, prefix}, &out);
  renderer.Render(0).IgnoreError("a system turn without a task always renders");
  return out.Take();
}

std::vector<Segment> SessionEncoder::UserTurn(const std::vector<Message>& messages,
                                              ThinkingMode thinking,
                                              bool previous_needs_eos) const {
  std::vector<Turn> turns;
  turns.reserve(messages.size());
  for (const Message& message : messages) turns.push_back(MakeTurn(message));
  turns = FuseTurns(std::move(turns));
  SegmentWriter out;
  if (previous_needs_eos) out.Control(ids_.eos);
  TurnRenderer renderer(turns, ids_, {thinking == ThinkingMode::kThinking, false, {}}, &out);
  for (size_t i = 0; i < turns.size(); ++i) {
    renderer.Render(i).IgnoreError("only an empty developer message fails, and renders nothing");
  }
  return out.Take();
}

}  // namespace baleen

#include "model/text/tolerant_parser.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "model/text/chat_parser.h"
#include "model/text/json_value.h"

namespace baleen {
namespace {

constexpr std::string_view kThinkOpen = "<think>";
constexpr std::string_view kThinkClose = "</think>";
constexpr std::string_view kWideBar = "｜";
constexpr size_t kCallsMax = 128;    // What a script may dispatch at once.
constexpr size_t kOpenersMax = 512;  // What comes after that many is text.
constexpr size_t kNotesMax = 64;
constexpr size_t kTagBytesMax = 4096;

enum class TagKind { kBlock, kInvoke, kParameter };

/// One piece of markup, however it is spelled.
struct Tag {
  TagKind kind = TagKind::kBlock;
  bool closes = false;
  bool marked = false;  ///< With the sentinel DSML; plain tags may be mere text.
  std::string_view attributes;
  size_t begin = 0;
  size_t end = 0;
};

struct TagName {
  std::string_view name;
  TagKind kind;
};

// Longer names first where one begins another.
constexpr std::array<TagName, 6> kTagNames = {{{"function_calls", TagKind::kBlock},
                                               {"tool_calls", TagKind::kBlock},
                                               {"toolcalls", TagKind::kBlock},
                                               {"calls", TagKind::kBlock},
                                               {"invoke", TagKind::kInvoke},
                                               {"parameter", TagKind::kParameter}}};

bool Take(std::string_view text, size_t* at, std::string_view literal) {
  if (text.substr(*at, literal.size()) != literal) return false;
  *at += literal.size();
  return true;
}

/// Up to two bars, wide or plain.
bool TakeBars(std::string_view text, size_t* at) {
  bool any = false;
  for (int i = 0; i < 2 && (Take(text, at, kWideBar) || Take(text, at, "|")); ++i) any = true;
  return any;
}

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

std::string_view Stripped(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

/// The tag that begins at `begin`, which is a '<'.
std::optional<Tag> ReadTag(std::string_view text, size_t begin) {
  Tag tag;
  tag.begin = begin;
  size_t at = begin + 1;
  tag.closes = Take(text, &at, "/");
  TakeBars(text, &at);
  tag.marked = Take(text, &at, "DSML");
  TakeBars(text, &at);
  while (at < text.size() && text[at] == ' ') ++at;
  const auto* name = std::find_if(kTagNames.begin(), kTagNames.end(), [&](const TagName& entry) {
    return Take(text, &at, entry.name);
  });
  if (name == kTagNames.end()) return std::nullopt;
  tag.kind = name->kind;
  // Attribute values may hold anything but quotes; a tag is one line.
  bool quoted = false;
  const size_t attributes = at;
  for (; at < text.size() && (quoted || text[at] != '>'); ++at) {
    if (text[at] == '\n' || at - attributes > kTagBytesMax) return std::nullopt;
    if (text[at] == '"') quoted = !quoted;
  }
  if (at == text.size()) return std::nullopt;
  tag.attributes = text.substr(attributes, at - attributes);
  if (!tag.attributes.empty() && !IsSpace(tag.attributes.front()) &&
      tag.attributes.front() != '/') {
    return std::nullopt;  // <parameters>, <invoked ...>
  }
  tag.end = at + 1;
  return tag;
}

std::optional<Tag> FindTag(std::string_view text, size_t from) {
  for (size_t at = text.find('<', from); at != std::string_view::npos;
       at = text.find('<', at + 1)) {
    if (auto tag = ReadTag(text, at)) return tag;
  }
  return std::nullopt;
}

std::optional<std::string_view> Attribute(const Tag& tag, std::string_view name) {
  const std::string opening = " " + std::string(name) + "=\"";
  const size_t found = tag.attributes.find(opening);
  if (found == std::string_view::npos) return std::nullopt;
  const std::string_view rest = tag.attributes.substr(found + opening.size());
  const size_t end = rest.find('"');
  if (end == std::string_view::npos) return std::nullopt;
  return rest.substr(0, end);
}

/// A parameter as it was written.
struct RawParameter {
  std::string name;
  std::string_view value;
  std::optional<bool> is_string;  ///< The attribute, if there is one.
};

struct RawCall {
  std::string name;
  std::vector<RawParameter> parameters;
  std::string_view body;  ///< Text beside the parameters.
  std::string fault;      ///< Why it can't be taken.
  bool closed = false;
};

/// What a tool declares of one parameter.
class Declaration {
 public:
  explicit Declaration(const ToolSpec& spec) {
    if (auto schema = ParseJson(spec.parameters); schema.ok()) schema_ = std::move(schema).value();
  }
  const JsonValue* Find(std::string_view name) const {
    const JsonValue* properties = schema_.Find("properties");
    return properties == nullptr ? nullptr : properties->Find(name);
  }
  /// nullopt: the schema doesn't say.
  std::optional<bool> Allows(std::string_view name, std::string_view type) const {
    const JsonValue* property = Find(name);
    const JsonValue* types = property == nullptr ? nullptr : property->Find("type");
    if (types == nullptr) return std::nullopt;
    if (types->IsString()) return types->text == type;
    return std::any_of(types->items.begin(), types->items.end(),
                       [&](const JsonValue& entry) { return entry.text == type; });
  }

 private:
  JsonValue schema_;
};

class Recovery {
 public:
  Recovery(std::string_view text, const CompletionSource& source, const ToolSet& tools)
      : text_(text), source_(source), tools_(tools) {
    out_.message.role = Role::kAssistant;
  }

  RecoveredMessage Run() {
    StripEos();
    SplitReasoning();
    ReadBody(text_);
    if (out_.cut) out_.message.tool_calls.clear();
    return std::move(out_);
  }

 private:
  void Repair(std::string what) {
    if (out_.repairs.size() < kNotesMax) out_.repairs.push_back(std::move(what));
  }
  void Refuse(std::string why) {
    if (out_.refused.size() < kNotesMax) out_.refused.push_back(std::move(why));
  }

  void StripEos() {
    for (const std::string_view eos :
         {std::string_view("<｜end▁of▁sentence｜>"), std::string_view("<｜｜end▁of▁sentence｜｜>"),
          std::string_view("<|end▁of▁sentence|>")}) {
      const size_t found = text_.find(eos);
      if (found == std::string_view::npos) continue;
      if (!Stripped(text_.substr(found + eos.size())).empty()) {
        Repair("text after the end-of-sentence token was dropped");
      }
      text_ = text_.substr(0, found);
    }
  }

  void SplitReasoning() {
    if (text_.starts_with(kThinkOpen)) {
      Repair("an opener of the reasoning was dropped");
      text_.remove_prefix(kThinkOpen.size());
    }
    const size_t close = text_.find(kThinkClose);
    if (source_.mode == ThinkingMode::kChat) {
      if (close != 0) return;
      Repair("a closer of the reasoning where there was none was dropped");
      text_.remove_prefix(kThinkClose.size());
      return;
    }
    if (close != std::string_view::npos) {
      // Whatever looks like a call in here is talk about calls.
      out_.message.reasoning = text_.substr(0, close);
      text_.remove_prefix(close + kThinkClose.size());
      return;
    }
    // Never closed: a whole, valid call ends the reasoning; anything else is part of it.
    Recovery inner(text_, {ThinkingMode::kChat, source_.end}, tools_);
    const RecoveredMessage found = inner.Run();
    if (found.message.tool_calls.empty()) {
      out_.message.reasoning = text_;
      out_.cut = found.cut;
      Repair("the reasoning was never closed");
      text_ = {};
      return;
    }
    const auto tag = FindOpener(text_, 0);
    out_.message.reasoning = Separated(text_.substr(0, tag->begin));
    text_.remove_prefix(tag->begin);
    Repair("the reasoning was closed before the first call");
  }

  /// The first tag that opens a block or a call.
  static std::optional<Tag> FindOpener(std::string_view text, size_t from) {
    for (auto tag = FindTag(text, from); tag.has_value(); tag = FindTag(text, tag->end)) {
      if (!tag->closes && tag->kind != TagKind::kParameter) return tag;
    }
    return std::nullopt;
  }

  /// Without the blank line that belongs to the block behind it.
  static std::string_view Separated(std::string_view text) {
    for (int i = 0; i < 2 && text.ends_with("\n"); ++i) text.remove_suffix(1);
    return text;
  }

  /// Text, blocks and bare calls, in any order.
  void ReadBody(std::string_view body) {
    size_t at = 0;
    std::string content;
    while (at < body.size()) {
      const auto tag = FindTag(body, at);
      if (!tag.has_value() || openers_ > kOpenersMax) {
        content += body.substr(at);
        break;
      }
      const std::string_view before = body.substr(at, tag->begin - at);
      if (tag->closes || tag->kind == TagKind::kParameter) {
        if (tag->marked) {
          content += before;
          Repair(tag->closes ? "a stray closer was dropped"
                             : "a parameter outside any call was dropped");
        } else {
          content += body.substr(at, tag->end - at);  // somebody's XML
        }
        at = tag->end;
        continue;
      }
      const size_t calls_before = out_.message.tool_calls.size() + out_.refused.size();
      const size_t end =
          tag->kind == TagKind::kBlock ? ReadBlock(body, *tag) : ReadBare(body, *tag);
      const bool taken = out_.message.tool_calls.size() + out_.refused.size() > calls_before;
      if (!taken && !tag->marked && !out_.cut) {
        content += body.substr(at, end - at);  // plain tags that are no calls are text
      } else {
        content += Separated(before);
      }
      at = end;
    }
    if (!out_.message.tool_calls.empty() && !content.empty()) {
      content = std::string(content.substr(0, content.find_last_not_of(" \n\r\t") + 1));
    }
    out_.message.content = std::move(content);
  }

  size_t ReadBare(std::string_view body, const Tag& tag) {
    RawCall call;
    ++openers_;
    const size_t end = ReadCall(body, tag, &call);
    if (!call.closed && !tag.marked) return tag.end;
    if (Finish(call)) Repair("a call stood outside a block of calls");
    return end;
  }

  size_t ReadBlock(std::string_view body, const Tag& open) {
    if (!Exact(body, open)) Repair("the block of calls is not spelled as the encoding has it");
    size_t at = open.end;
    size_t calls = 0;
    ++openers_;
    while (true) {
      const auto tag = FindTag(body, at);
      if (!tag.has_value() || openers_ > kOpenersMax) {
        const bool stopped = source_.end == CompletionEnd::kStopped;
        if (!stopped || !Stripped(body.substr(at)).empty()) out_.cut = out_.cut || open.marked;
        if (!out_.cut) Repair("the block of calls was never closed");
        return body.size();
      }
      if (!Stripped(body.substr(at, tag->begin - at)).empty()) {
        Repair("text between calls was dropped");
      }
      at = tag->end;
      if (tag->kind == TagKind::kInvoke && !tag->closes) {
        RawCall call;
        at = ReadCall(body, *tag, &call);
        ++calls;
        ++openers_;
        if (!call.closed && !open.marked) return open.end;
        Finish(call);
      } else if (tag->kind == TagKind::kBlock && tag->closes) {
        if (calls == 0) Repair("an empty block of calls was dropped");
        return at;
      } else if (tag->kind == TagKind::kParameter && !tag->closes) {
        Refuse(
            "a parameter stands outside any call: a call begins with <｜DSML｜invoke "
            "name=\"...\">");
        ++calls;
      } else {
        Repair("a stray tag inside the block was dropped");
      }
    }
  }

  /// Up to behind the call's closer. Tags of another style than the opener's are text.
  size_t ReadCall(std::string_view body, const Tag& open, RawCall* call) {
    if (const auto name = Attribute(open, "name")) {
      call->name = *name;
    } else {
      call->fault = "a call has no name";
    }
    size_t at = open.end;
    size_t text_begin = at;
    while (true) {
      auto tag = FindTag(body, at);
      while (tag.has_value() && tag->marked != open.marked) tag = FindTag(body, tag->end);
      if (!tag.has_value()) {
        out_.cut = out_.cut || open.marked;
        return body.size();
      }
      at = tag->end;
      if (tag->kind == TagKind::kInvoke && tag->closes) {
        call->body = Stripped(body.substr(text_begin, tag->begin - text_begin));
        call->closed = true;
        return at;
      }
      if (tag->kind == TagKind::kParameter && !tag->closes) {
        at = ReadParameter(body, *tag, call);
        text_begin = at;
        continue;
      }
      if (call->fault.empty() && tag->kind != TagKind::kParameter) {
        call->fault = "call of '" + call->name + "': it was not closed before the next one";
      }
      if (tag->kind == TagKind::kBlock) {
        call->closed = true;  // with its fault
        return tag->closes ? tag->begin : at;
      }
      if (tag->kind == TagKind::kInvoke) {
        call->closed = true;
        return tag->begin;
      }
    }
  }

  size_t ReadParameter(std::string_view body, const Tag& open, RawCall* call) {
    auto tag = FindTag(body, open.end);
    while (tag.has_value() && tag->marked != open.marked) tag = FindTag(body, tag->end);
    RawParameter parameter;
    const auto name = Attribute(open, "name");
    if (!name.has_value() && call->fault.empty()) {
      call->fault = "call of '" + call->name + "': a parameter has no name";
    }
    parameter.name = name.value_or("");
    if (const auto is_string = Attribute(open, "string"))
      parameter.is_string = *is_string == "true";
    if (!tag.has_value()) {
      out_.cut = out_.cut || open.marked;
      return body.size();
    }
    if (tag->kind != TagKind::kParameter || !tag->closes) {
      if (call->fault.empty()) {
        call->fault =
            "call of '" + call->name + "': the parameter '" + parameter.name + "' was not closed";
      }
      return tag->begin;
    }
    parameter.value = body.substr(open.end, tag->begin - open.end);
    call->parameters.push_back(std::move(parameter));
    return tag->end;
  }

  /// Takes the call, or says why not.
  bool Finish(const RawCall& raw) {
    if (!raw.closed) return false;
    if (!raw.fault.empty()) {
      Refuse(raw.fault);
      return false;
    }
    if (out_.message.tool_calls.size() >= kCallsMax) {
      Refuse("call of '" + raw.name + "': more than " + std::to_string(kCallsMax) + " calls");
      return false;
    }
    ToolCall call;
    call.name = Stripped(raw.name);
    const ToolSpec* spec = tools_.Find(call.name);
    if (spec != nullptr) call.arguments = ArgumentsOf(raw, *spec);
    if (spec != nullptr && call.arguments.empty()) return false;  // Refuse was called
    if (const Status status = tools_.CheckCall(call); !status.ok()) {
      Refuse(status.message());
      return false;
    }
    out_.message.tool_calls.push_back(std::move(call));
    return true;
  }

  /// JSON text; empty: refused.
  std::string ArgumentsOf(const RawCall& raw, const ToolSpec& spec) {
    const Declaration declared(spec);
    if (raw.parameters.empty() && raw.body.starts_with("{")) {
      if (ParseJson(raw.body).ok()) {
        Repair("arguments were written as one JSON object");
        return std::string(raw.body);
      }
    }
    std::vector<std::string> names;
    std::string arguments;
    for (const RawParameter& parameter : raw.parameters) {
      if (std::find(names.begin(), names.end(), parameter.name) != names.end()) {
        Refuse("call of '" + raw.name + "': the parameter '" + parameter.name + "' is given twice");
        return "";
      }
      names.push_back(parameter.name);
      const auto value = ValueOf(parameter, declared);
      if (!value.has_value()) {
        Refuse("call of '" + raw.name + "': the value of '" + parameter.name + "' is not JSON");
        return "";
      }
      if (raw.parameters.size() == 1 && IsWrapper(parameter.name, *value, declared)) {
        Repair("arguments were wrapped in a parameter '" + parameter.name + "'");
        return UnwrappedObject(*value);
      }
      arguments += (arguments.empty() ? "" : ", ") + QuoteJson(parameter.name) + ": " + *value;
    }
    return "{" + arguments + "}";
  }

  /// The value as JSON text. The attribute decides the type, unless the schema leaves only another.
  std::optional<std::string> ValueOf(const RawParameter& parameter, const Declaration& declared) {
    const bool json = ParseJson(parameter.value).ok();
    const std::optional<bool> may_be_string = declared.Allows(parameter.name, "string");
    const bool said_string = parameter.is_string.value_or(may_be_string.value_or(!json));
    if (!parameter.is_string.has_value()) Repair("a parameter has no attribute 'string'");
    if (said_string) {
      if (may_be_string == false && json) {
        Repair("'" + parameter.name + "' is no string by its schema, though marked as one");
        return std::string(parameter.value);
      }
      return QuoteJson(parameter.value);
    }
    const auto parsed = ParseJson(parameter.value);
    const bool only_string = may_be_string == true &&
                             !declared.Allows(parameter.name, "null").value_or(false) &&
                             !declared.Allows(parameter.name, "number").value_or(false) &&
                             !declared.Allows(parameter.name, "integer").value_or(false) &&
                             !declared.Allows(parameter.name, "boolean").value_or(false) &&
                             !declared.Allows(parameter.name, "object").value_or(false) &&
                             !declared.Allows(parameter.name, "array").value_or(false);
    if (only_string && !(parsed.ok() && parsed->IsString())) {
      Repair("'" + parameter.name + "' is a string by its schema, though not marked as one");
      return QuoteJson(parameter.value);
    }
    if (!parsed.ok()) return std::nullopt;
    return std::string(parameter.value);
  }

  static std::string UnwrappedObject(const std::string& value) {
    const auto parsed = ParseJson(value);
    return parsed.ok() && parsed->IsString() ? parsed->text : value;
  }

  /// A lone object, maybe in a string, under a name that the tool doesn't have, with members that
  /// it has.
  static bool IsWrapper(std::string_view name, const std::string& value,
                        const Declaration& declared) {
    if ((name != "arguments" && name != "input") || declared.Find(name) != nullptr) return false;
    const auto object = ParseJson(UnwrappedObject(value));
    return object.ok() && object->IsObject() &&
           std::all_of(object->members.begin(), object->members.end(),
                       [&](const JsonMember& m) { return declared.Find(m.name) != nullptr; });
  }

  bool Exact(std::string_view body, const Tag& open) const {
    const std::string_view spelled = body.substr(open.begin, open.end - open.begin);
    return spelled == "<｜DSML｜tool_calls>" || spelled == "<｜DSML｜ calls>";
  }

  std::string_view text_;
  const CompletionSource source_;
  const ToolSet& tools_;
  size_t openers_ = 0;
  RecoveredMessage out_;
};

}  // namespace

RecoveredMessage RecoverCompletion(std::string_view text, const CompletionSource& source,
                                   const ToolSet& tools) {
  // What the strict parser reads is what was meant, if its calls are good and it saw no text that
  // looks like one.
  if (auto strict = ParseCompletion(text, source.mode); strict.ok()) {
    const bool valid =
        std::all_of(strict->tool_calls.begin(), strict->tool_calls.end(),
                    [&](const ToolCall& call) { return tools.CheckCall(call).ok(); });
    const bool plain = strict->tool_calls.empty() && FindTag(strict->content, 0).has_value();
    if (valid && !plain) return RecoveredMessage{std::move(strict).value(), {}, {}, false};
  }
  return Recovery(text, source, tools).Run();
}

}  // namespace baleen

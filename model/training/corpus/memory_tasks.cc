// Tasks of memory: facts stated early and asked late, look-ups, copies, repeats, talk and text.
#include <algorithm>
#include <utility>

#include "model/training/corpus/tasks.h"

namespace baleen::training {
namespace {

constexpr std::string_view kFacts[] = {
    "The {a} of {k} is {v}. ",           "{k}'s {a} is {v}. ",
    "For {k}, the {a} is {v}. ",         "{k} has the {a} {v}. ",
    "{v} is the {a} of {k}. ",           "{k} {a}: {v}\n",
    "Remember: the {a} of {k} is {v}. ", "Note that the {a} of {k} is {v}. ",
    "{v} is what {k} has as its {a}. ",  "As to {k}, its {a} is {v}. ",
};
constexpr std::string_view kLeads[] = {
    "", "", "", "Now: ", "So, ", "Please: ", "OK. ", "One question. "};
constexpr std::string_view kQuestions[] = {"What is the {a} of {k}",   "Tell me the {a} of {k}",
                                           "And the {a} of {k}",       "What is {k}'s {a}",
                                           "For {k}, what is the {a}", "{k} {a}",
                                           "Which {a} has {k}",        "Give me {k}'s {a}",
                                           "The {a} of {k}",           "What {a} does {k} have"};
constexpr std::string_view kReverse[] = {"Whose {a} is {v}", "What has the {a} {v}",
                                         "{v} is whose {a}", "Who or what has the {a} {v}",
                                         "Name what has the {a} {v}"};
constexpr std::string_view kMarks[] = {"?", ".", "", "?", "!", ", please."};
constexpr std::string_view kFillers[] = {
    "We went to {x} and saw the {n}. ",
    "It is a long way from {x} to {y}. ",
    "I like the {n} in {x}. ",
    "The {n} was late again. ",
    "Nobody knows where {x} keeps the {n}. ",
    "There is a {n} near {y}. ",
    "Last year the {n} of {x} was sold. ",
    "{x} and {y} talked about the {n}. ",
    "They say that {x} is quiet in winter. ",
    "The {n} stands between {x} and {y}. ",
};
constexpr std::string_view kSeparators[] = {": ", " = ", " -> ", " is ", "\t", " - ", ", "};
constexpr std::string_view kEnders[] = {". ", "; ", "\n", " | ", "\n"};
constexpr std::string_view kCopyHeads[] = {
    "Repeat: ",           "Say: ",          "Copy this: ",        "Echo ",
    "Write this again: ", "Say after me: ", "Repeat this text: ", "Copy "};

Message User(std::string text) {
  Message message;
  message.role = Role::kUser;
  message.content = std::move(text);
  return message;
}

Exchange Ask(std::string question, std::string answer, Skill skill) {
  Exchange exchange;
  exchange.append = {User(std::move(question))};
  exchange.reply.role = Role::kAssistant;
  exchange.value = skill == Skill::kAnswer ? answer : "";
  exchange.reply.content = std::move(answer);
  exchange.skill = skill;
  return exchange;
}

struct Fact {
  std::string attribute;
  std::string thing;
  std::string value;
};

std::string StatementOf(Draw& draw, const Fact& fact) {
  return Fill(draw.One(kFacts), {{"a", fact.attribute}, {"k", fact.thing}, {"v", fact.value}});
}

std::string QuestionOf(Draw& draw, const Fact& fact) {
  return Fill(draw.Phrase({kLeads, kQuestions, kMarks}),
              {{"a", fact.attribute}, {"k", fact.thing}});
}

Fact InventFact(Draw& draw) {
  const Attribute& attribute = draw.One(kAttributes);
  return {std::string(attribute.name), draw.Word(), draw.Value(attribute.kind)};
}

std::string Filler(Draw& draw) {
  const std::string one = draw.Name();
  const std::string other = draw.Name();
  const std::string noun = draw.Noun();
  return Fill(draw.One(kFillers), {{"x", one}, {"y", other}, {"n", noun}});
}

/// Questions are exchanges of their own; the first one's message also carries the context.
void PutContextFirst(const std::string& context, Conversation* out) {
  Message& first = out->exchanges.front().append.front();
  first.content = context + first.content;
}

int64_t TokensOf(const TaskSetting& setting, const std::string& text) {
  const auto ids = setting.tokenizer->Encode(text, TextTrust::kData);
  return ids.ok() ? static_cast<int64_t>(ids->size()) : 0;
}

}  // namespace

Conversation LookupTask(Draw& draw, const TaskSetting& setting) {
  Conversation out;
  out.task = "lookup";
  std::vector<Attribute> attributes;
  const int64_t attributes_wanted = draw.One<int64_t>({1, 2, 2, 3});
  std::vector<std::string> names;
  while (static_cast<int64_t>(names.size()) < attributes_wanted) {
    const Attribute& known = draw.One(kAttributes);
    const std::string name = draw.Chance(0.2) ? draw.Word() : std::string(known.name);
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    names.push_back(name);
    attributes.push_back(known);
  }
  std::vector<std::string> things;
  for (int64_t i = draw.One<int64_t>({1, 2, 2, 3, 4}); i > 0; --i) {
    things.push_back(draw.ValueUnlike(ValueKind::kWord, things));
  }
  std::vector<Fact> facts;
  for (size_t i = 0; i < attributes.size(); ++i) {
    for (const std::string& thing : things) {
      facts.push_back({names[i], thing, draw.Value(attributes[i].kind)});
    }
  }
  draw.Shuffle(facts);
  if (facts.size() > 8) facts.resize(8);
  const double between = draw.One({0.0, 0.0, 0.4, 1.0});
  std::string context;
  for (const Fact& fact : facts) {
    if (draw.Chance(between) && static_cast<int64_t>(context.size()) < setting.tokens_max) {
      context += Filler(draw);
    }
    context += StatementOf(draw, fact);
  }
  std::vector<Fact> asked = facts;
  draw.Shuffle(asked);
  asked.resize(std::min<size_t>(asked.size(), static_cast<size_t>(draw.Between(2, 4))));
  for (const Fact& fact : asked) {
    const auto same = std::count_if(facts.begin(), facts.end(), [&](const Fact& other) {
      return other.attribute == fact.attribute && other.value == fact.value;
    });
    if (same == 1 && draw.Chance(0.12)) {
      const std::string question =
          Fill(draw.Phrase({kLeads, kReverse, kMarks}), {{"a", fact.attribute}, {"v", fact.value}});
      out.exchanges.push_back(Ask(question, fact.thing, Skill::kAnswer));
    } else {
      out.exchanges.push_back(Ask(QuestionOf(draw, fact), fact.value, Skill::kAnswer));
    }
  }
  PutContextFirst(context, &out);
  out.used = draw.used();
  return out;
}

Conversation RecallTask(Draw& draw, const TaskSetting& setting, int64_t tokens, double depth) {
  Conversation out;
  out.task = "recall";
  const int64_t length =
      tokens > 0 ? tokens : draw.Scale(32, std::max<int64_t>(40, setting.tokens_max - 100));
  std::vector<std::string> sentences;
  std::vector<Fact> facts;
  const double facts_share = depth >= 0 ? 0.0 : draw.One({0.2, 0.5, 0.6});
  int64_t count = 0;
  const auto add = [&](std::string sentence) {
    count += TokensOf(setting, sentence);
    sentences.push_back(std::move(sentence));
  };
  facts.push_back(InventFact(draw));
  const std::string needle = StatementOf(draw, facts[0]);
  count += TokensOf(setting, needle);
  while (count < length) {
    if (draw.Chance(facts_share)) {
      facts.push_back(InventFact(draw));
      add(StatementOf(draw, facts.back()));
    } else {
      add(Filler(draw));
    }
  }
  const double place = depth >= 0 ? depth : draw.One({0.0, 0.0, 0.2, 0.5, 0.8});
  const auto at = static_cast<ptrdiff_t>(place * static_cast<double>(sentences.size()));
  sentences.insert(sentences.begin() + at, needle);
  std::string context;
  for (const std::string& sentence : sentences) {
    context += sentence;
    if (depth < 0 && draw.Chance(0.03)) {
      out.exchanges.push_back(Ask(std::move(context), "Noted.", Skill::kNone));
      context.clear();
    }
  }
  std::vector<Fact> asked = {facts[0]};
  if (depth < 0) {
    std::vector<Fact> others(facts.begin() + 1, facts.end());
    draw.Shuffle(others);
    others.resize(std::min<size_t>(others.size(), static_cast<size_t>(draw.Between(1, 3))));
    asked.insert(asked.end(), others.begin(), others.end());
    draw.Shuffle(asked);
  }
  for (const Fact& fact : asked) {
    out.exchanges.push_back(Ask(context + QuestionOf(draw, fact), fact.value, Skill::kAnswer));
    context.clear();
  }
  out.used = draw.used();
  return out;
}

Conversation KeyValueTask(Draw& draw, const TaskSetting& setting) {
  static_cast<void>(setting);
  Conversation out;
  out.task = "key_value";
  std::vector<std::string> keys;
  for (int64_t i = draw.One<int64_t>({2, 3, 4, 6, 8}); i > 0; --i) {
    keys.push_back(draw.ValueUnlike(ValueKind::kWord, keys));
  }
  const std::string_view separator = draw.One(kSeparators);
  const std::string_view ender = draw.One(kEnders);
  std::vector<std::string> values;
  std::string context;
  for (const std::string& key : keys) {
    values.push_back(draw.Value(
        draw.One({ValueKind::kWord, ValueKind::kName, ValueKind::kNumber, ValueKind::kCode})));
    context += key + std::string(separator) + values.back() + std::string(ender);
  }
  for (int64_t i = draw.Between(1, 3); i > 0; --i) {
    const auto at = static_cast<size_t>(draw.Below(static_cast<int64_t>(keys.size())));
    out.exchanges.push_back(Ask(keys[at] + "?", values[at], Skill::kAnswer));
  }
  PutContextFirst(context, &out);
  out.used = draw.used();
  return out;
}

Conversation CopyTask(Draw& draw, const TaskSetting& setting) {
  Conversation out;
  out.task = "copy";
  const int64_t most = std::max<int64_t>(1, setting.tokens_max / 16);
  std::string text;
  for (int64_t i = std::min(most, draw.One<int64_t>({1, 2, 4, 8, 16})); i > 0; --i) {
    if (!text.empty()) text += " ";
    text += draw.Value(
        draw.One({ValueKind::kWord, ValueKind::kWord, ValueKind::kName, ValueKind::kNumber,
                  ValueKind::kFile, ValueKind::kCode, ValueKind::kMail, ValueKind::kDate}));
  }
  out.exchanges.push_back(Ask(std::string(draw.One(kCopyHeads)) + text, text, Skill::kAnswer));
  out.used = draw.used();
  return out;
}

Conversation RepeatTask(Draw& draw, const TaskSetting& setting) {
  Conversation out;
  out.task = "repeat";
  const int64_t vocab = setting.tokenizer->vocab();
  out.raw_free = draw.Scale(3, std::clamp<int64_t>(setting.tokens_max / 3, 4, 64));
  for (int64_t i = 0; i < out.raw_free; ++i) {
    int32_t id = static_cast<int32_t>(draw.Below(vocab));
    while (setting.tokenizer->IsAddedToken(id) || setting.tokenizer->TokenBytes(id).empty()) {
      id = static_cast<int32_t>(draw.Below(vocab));
    }
    out.raw.push_back(id);
  }
  const std::vector<int32_t> once = out.raw;
  for (int64_t times = draw.Between(1, 2); times > 0; --times) {
    out.raw.insert(out.raw.end(), once.begin(), once.end());
  }
  ++out.raw_free;  // Nothing tells that the repetition begins.
  return out;
}

Conversation ChatTask(Draw& draw, const TaskSetting& setting) {
  static_cast<void>(setting);
  struct Line {
    std::string_view said;
    std::string_view reply;
  };
  static constexpr Line kLines[] = {
      {"Hello", "Hello. What can I do for you?"},
      {"Hi", "Hello. What can I do for you?"},
      {"Good morning", "Good morning. What can I do for you?"},
      {"Who are you", "I am Krill, a small model that calls tools."},
      {"What is your name", "I am Krill."},
      {"What can you do", "I can call the tools that you give me and find what you told me."},
      {"How are you", "I am fine, thank you."},
      {"Thank you", "You are welcome."},
      {"Thanks", "You are welcome."},
      {"Goodbye", "Goodbye."},
      {"Are you a person", "No. I am a small language model."},
      {"Do you know everything",
       "No. I know what is in this conversation and what my tools tell me."},
      {"That was wrong", "I am sorry. Please tell me what you need."},
      {"Nothing more", "Good. I am here if you need me."},
  };
  static constexpr std::string_view kEnds[] = {"", ".", "?", "!", ", Krill.", "...", " :)"};
  static constexpr std::string_view kBegins[] = {"", "", "", "Oh. ", "Well, ", "OK. ", "So: "};
  Conversation out;
  out.task = "chat";
  out.system = std::string(draw.One(kSystemPrompts));
  for (int64_t i = draw.Between(1, 3); i > 0; --i) {
    const Line& line = draw.One(kLines);
    const std::string_view said[] = {line.said};
    const std::string question = draw.Phrase({kBegins, said, kEnds});
    out.exchanges.push_back(Ask(question, std::string(line.reply), Skill::kNone));
  }
  out.used = draw.used();
  return out;
}

Conversation TextTask(Draw& draw, const TaskSetting& setting) {
  std::string paragraph;
  for (int tries = 0; !setting.texts.empty() && tries < 200; ++tries) {
    const std::string& text = draw.One(setting.texts);
    if (SplitOf(text) != draw.split()) continue;
    paragraph = text;
    break;
  }
  // Cut where a word begins; a fifth of it is given.
  const size_t cut = paragraph.find(' ', paragraph.size() / 5);
  if (paragraph.empty() || cut == std::string::npos) return ChatTask(draw, setting);
  Conversation out;
  out.task = "text";
  out.exchanges.push_back(
      Ask("Go on: " + paragraph.substr(0, cut), paragraph.substr(cut), Skill::kNone));
  out.used = draw.used();
  return out;
}

}  // namespace baleen::training

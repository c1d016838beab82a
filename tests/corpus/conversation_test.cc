// What the tasks make: true to the runtime's prompt, consistent in itself, disjoint between splits.
#include "model/training/corpus/conversation.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "model/text/chat_parser.h"
#include "model/training/corpus/tasks.h"
#include "tests/corpus/krill_source.h"
#include "tools_sdk/builtin/builtin.h"
#include "tools_sdk/tool_set.h"

namespace baleen::training {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kSeed = 4711;

/// The whole conversation as a request in the reference's form.
Json RequestOf(const Conversation& conversation) {
  Json messages = Json::array();
  Json system = {{"role", "system"}, {"content", conversation.system}};
  for (const std::string& tool : StartOf(conversation).tools) {
    system["tools"].push_back({{"type", "function"}, {"function", Json::parse(tool)}});
  }
  messages.push_back(system);
  for (const Exchange& exchange : conversation.exchanges) {
    for (const Message& message : exchange.append) {
      messages.push_back(
          {{"role", message.role == Role::kTool ? "tool" : "user"}, {"content", message.content}});
    }
    Json reply = {{"role", "assistant"}, {"content", exchange.reply.content}};
    for (const ToolCall& call : exchange.reply.tool_calls) {
      reply["tool_calls"].push_back(
          {{"type", "function"},
           {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    }
    messages.push_back(reply);
  }
  return {{"messages", messages},
          {"kwargs", {{"thinking_mode", "chat"}, {"drop_thinking", false}}}};
}

TEST_CASE("A sample is, token for token, the rendered conversation", "[corpus]") {
  INFO("seed " << kSeed);
  const auto source = OpenSource(KrillOptions(Split::kTrain, 1536, kSeed));
  std::set<std::string> tasks;
  for (int i = 0; i < 400; ++i) {
    EncodedConversation encoded;
    auto conversation = source->NextConversation(&encoded);
    REQUIRE(conversation.ok());
    tasks.insert(conversation->task);
    if (!conversation->raw.empty()) continue;
    const auto segments =
        RenderRequest(RequestOf(*conversation).dump(), ChatDialect::k0731, KrillTokenizer());
    INFO(conversation->task << ": " << segments.status().ToString());
    REQUIRE(segments.ok());
    CHECK(KrillTokenizer().EncodeSegments(*segments).value() == encoded.sample.tokens);
  }
  CHECK(tasks.size() >= TaskKinds().size() - 1);  // "text" may fall back to talk.
}

TEST_CASE("The reply's tokens, read as the runtime reads them, are the expected message",
          "[corpus]") {
  const auto source = OpenSource(KrillOptions(Split::kTrain, 1536, kSeed + 1));
  int calls = 0;
  for (int i = 0; i < 300; ++i) {
    EncodedConversation encoded;
    const auto conversation = source->NextConversation(&encoded);
    REQUIRE(conversation.ok());
    const Sample& sample = encoded.sample;
    std::vector<bool> assistant(sample.tokens.size(), !conversation->raw.empty());
    for (size_t e = 0; e < encoded.exchanges.size(); ++e) {
      const auto [begin, end] = encoded.exchanges[e];
      std::fill(assistant.begin() + begin, assistant.begin() + end, true);
      const std::string text = KrillTokenizer()
                                   .Decode(std::vector<int32_t>(sample.tokens.begin() + begin,
                                                                sample.tokens.begin() + end))
                                   .value();
      const auto message = ParseCompletion(text, ThinkingMode::kChat);
      INFO(conversation->task << ": " << text);
      REQUIRE(message.ok());
      const Message& expected = conversation->exchanges[e].reply;
      CHECK(message->content == expected.content);
      REQUIRE(message->tool_calls.size() == expected.tool_calls.size());
      for (size_t c = 0; c < expected.tool_calls.size(); ++c) {
        ++calls;
        CHECK(message->tool_calls[c].name == expected.tool_calls[c].name);
        CHECK(Json::parse(message->tool_calls[c].arguments) ==
              Json::parse(expected.tool_calls[c].arguments));
      }
    }
    if (!conversation->raw.empty()) continue;
    for (size_t t = 0; t < sample.weights.size(); ++t) {
      REQUIRE(sample.weights[t] == (assistant[t] ? 1.0F : 0.1F));
    }
  }
  CHECK(calls > 100);
}

TEST_CASE("Every expected call fits its tool, and every answer stands in the context", "[corpus]") {
  const double varied = GENERATE(0.0, 0.5);
  for (const Split split : {Split::kTrain, Split::kEvaluation}) {
    ConversationOptions options = KrillOptions(split, 1536, kSeed + 2);
    options.varied = varied;
    const auto source = OpenSource(options);
    for (int i = 0; i < 600; ++i) {
      EncodedConversation encoded;
      const auto conversation = source->NextConversation(&encoded);
      REQUIRE(conversation.ok());
      ToolSet tools;
      for (const ToolSpec& spec : conversation->tools) {
        const Status added = tools.Add(spec);
        INFO(added.ToString());
        REQUIRE(added.ok());
      }
      std::string context;
      for (const Exchange& exchange : conversation->exchanges) {
        for (const Message& message : exchange.append) context += message.content + "\n";
        for (const ToolCall& call : exchange.reply.tool_calls) {
          const Status fits = tools.CheckCall(call);
          INFO(call.name << call.arguments << ": " << fits.ToString());
          CHECK(fits.ok());
        }
        if (exchange.skill != Skill::kAnswer || conversation->task == "workspace" ||
            conversation->task == "pair") {
          continue;
        }
        INFO(conversation->task << "\n" << context << "\n-> " << exchange.value);
        CHECK(context.find(exchange.value) != std::string::npos);
        CHECK(exchange.reply.content.find(exchange.value) != std::string::npos);
      }
    }
  }
}

TEST_CASE("Workspaces show the built-in tools with their own schemas", "[corpus]") {
  TaskSetting setting;
  setting.tokenizer = &KrillTokenizer();
  const auto builtins = MakeBuiltinTools();
  for (uint64_t i = 0; i < 50; ++i) {
    Draw draw(kSeed, i, Split::kTrain);
    const Conversation conversation = WorkspaceTask(draw, setting, WorkspaceGoal::kFind, nullptr);
    REQUIRE(conversation.tools.size() == builtins.size());
    for (size_t t = 0; t < builtins.size(); ++t) {
      CHECK(conversation.tools[t].name == builtins[t]->spec().name);
      CHECK(conversation.tools[t].parameters == builtins[t]->spec().parameters);
    }
    // What it shows is what the tools say: never a failure in this goal.
    for (const Exchange& exchange : conversation.exchanges) {
      for (const Message& message : exchange.append) {
        CHECK_FALSE(message.content.starts_with("ERROR"));
      }
    }
  }
}

struct Seen {
  std::set<std::string> words, names, paths, templates;
};

Seen SeenBy(Split split, double pieced_words, double varied = 0) {
  ConversationOptions options = KrillOptions(split, 1536, kSeed + 3);
  options.pieced_words = pieced_words;
  options.varied = varied;
  const auto source = OpenSource(options);
  Seen seen;
  for (int i = 0; i < 2500; ++i) {
    EncodedConversation encoded;
    const auto conversation = source->NextConversation(&encoded);
    REQUIRE(conversation.ok());
    const UsedTexts& used = conversation->used;
    seen.words.insert(used.words.begin(), used.words.end());
    seen.names.insert(used.names.begin(), used.names.end());
    seen.paths.insert(used.paths.begin(), used.paths.end());
    seen.templates.insert(used.templates.begin(), used.templates.end());
    for (const ToolSpec& tool : conversation->tools) {
      const auto builtins = {"read", "list", "grep"};
      if (std::find(builtins.begin(), builtins.end(), tool.name) == builtins.end()) {
        seen.names.insert(tool.name);
      }
    }
  }
  return seen;
}

TEST_CASE("The splits share no word, name, path or template", "[corpus]") {
  const Split splits[] = {Split::kTrain, Split::kValidation, Split::kEvaluation};
  std::vector<Seen> seen;
  // Words of the tokenizer's pieces and varied nouns keep to it, too.
  const double wider = GENERATE(0.0, 0.5);
  for (const Split split : splits) seen.push_back(SeenBy(split, wider, wider));
  for (size_t a = 0; a < 3; ++a) {
    INFO(SplitName(splits[a]));
    CHECK(seen[a].words.size() > 3000);
    CHECK(seen[a].names.size() > 500);
    CHECK(seen[a].paths.size() > 300);
    CHECK(seen[a].templates.size() > 150);
    for (const auto part : {&Seen::words, &Seen::names, &Seen::paths, &Seen::templates}) {
      for (const std::string& text : seen[a].*part) {
        INFO(text);
        CHECK(SplitOf(text) == splits[a]);
        for (size_t b = 0; b < 3; ++b) CHECK((b == a || !(seen[b].*part).contains(text)));
      }
    }
  }
}

// Syllables never give a "y": such words are put together from tokens.
TEST_CASE("Pieced words are written, and only where they are asked for", "[corpus]") {
  const auto words_with_y = [](double share) {
    const Seen seen = SeenBy(Split::kTrain, share);
    return std::count_if(seen.words.begin(), seen.words.end(), [](const std::string& word) {
      return word.find('y') != std::string::npos;
    });
  };
  CHECK(words_with_y(0) == 0);
  CHECK(words_with_y(0.5) > 100);
  ConversationOptions options = KrillOptions(Split::kTrain, 1536, kSeed);
  const std::string plain = OpenSource(options)->identity();
  options.pieced_words = 0.5;
  CHECK(OpenSource(options)->identity() != plain);
}

TEST_CASE("Varied samples have nouns of two words, and only where they are asked for", "[corpus]") {
  const auto pairs = [](double varied) {
    const Seen seen = SeenBy(Split::kTrain, 0, varied);
    for (const std::string& name : seen.names) {
      INFO(name);
      CHECK(name.find(' ') == std::string::npos);
    }
    return std::count_if(seen.words.begin(), seen.words.end(), [](const std::string& word) {
      return word.find(' ') != std::string::npos;
    });
  };
  CHECK(pairs(0) == 0);
  CHECK(pairs(0.5) > 300);
  ConversationOptions options = KrillOptions(Split::kTrain, 1536, kSeed);
  const std::string plain = OpenSource(options)->identity();
  options.varied = 0.5;
  CHECK(OpenSource(options)->identity() != plain);
}

// Figures of different days can be compared only if a seed asks the same of every model. Whoever
// changes what is asked changes this number and measures Krill anew.
TEST_CASE("What evaluations ask by a seed stays what it is", "[corpus]") {
  TaskSetting setting;
  setting.tokens_max = 1536;
  setting.tokenizer = &KrillTokenizer();
  uint64_t hash = 0xCBF29CE484222325ULL;
  const auto add = [&](const Conversation& conversation) {
    for (const char c : RequestOf(conversation).dump()) {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
    }
  };
  for (uint64_t i = 0; i < 40; ++i) {
    for (const TaskKind& kind : TaskKinds()) {
      Draw draw(kSeed, i, Split::kEvaluation);
      add(kind.make(draw, setting));
    }
    Draw alike(kSeed, i, Split::kEvaluation);
    add(ToolTask(alike, setting, {.tools = 4, .alike = 1}));
    Draw needle(kSeed, i, Split::kEvaluation);
    add(RecallTask(needle, setting, 400, 0.25));
  }
  CHECK(hash == 0xEB8DFE5A0B8A1875ULL);
}

// With two parameters or more that must be given, a value without its parameter's name could stand
// for any of them, and nobody could tell which one is missing.
TEST_CASE("A request with a gap names the parameters that it gives", "[corpus]") {
  INFO("seed " << kSeed);
  TaskSetting setting;
  setting.tokenizer = &KrillTokenizer();
  for (uint64_t i = 0; i < 500; ++i) {
    Draw draw(kSeed, i, Split::kTrain);
    const Conversation conversation = MissingTask(draw, setting);
    REQUIRE(conversation.exchanges.size() >= 2);
    const std::string& asked = conversation.exchanges[0].append[0].content;
    const std::string& missing = conversation.exchanges[0].value;
    const Json arguments = Json::parse(conversation.exchanges[1].reply.tool_calls[0].arguments);
    for (const auto& argument : arguments.items()) {
      INFO("sample " << i << ": " << asked);
      if (argument.key() != missing) CHECK(asked.find(argument.key()) != std::string::npos);
    }
  }
}

}  // namespace
}  // namespace baleen::training

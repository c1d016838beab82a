// Any schema compiles or is refused; what compiles has no traps; what comes out of it parses
// strictly and, as far as the schema is kept to while writing, validates.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "model/constraint/automaton.h"
#include "model/constraint/chat_grammar.h"
#include "model/text/chat_parser.h"
#include "tools_sdk/schema.h"

namespace {

// Bytes below 32 stand for pieces of schemas, so that the fuzzer reaches the keywords.
std::string Expand(std::string_view text) {
  static constexpr std::string_view kPieces[] = {R"({"type":"object","properties":{"a":)",
                                                 R"(},"required":["a"]})",
                                                 R"({"type":"integer"})",
                                                 R"({"type":"string","maxLength":3})",
                                                 R"({"type":["null","boolean"]})",
                                                 R"({"enum":[1,"x"]})",
                                                 R"({"anyOf":[)",
                                                 "]}",
                                                 R"({"allOf":[)",
                                                 R"({"$ref":"#"})",
                                                 R"({"$ref":"#/properties/a"})",
                                                 R"({"type":"array","items":)",
                                                 R"(,"maxItems":2})",
                                                 R"(,"minItems":1)",
                                                 R"({"minimum":-3,)",
                                                 R"("maximum":12,"type":"integer"})",
                                                 R"({"type":"object","additionalProperties":)",
                                                 R"({"const":{"k":[]}})",
                                                 R"("b":)",
                                                 "true",
                                                 "false",
                                                 "{}",
                                                 ",",
                                                 "}",
                                                 "]"};
  std::string expanded;
  for (const char c : text) {
    const auto index = static_cast<size_t>(static_cast<uint8_t>(c));
    expanded += index < std::size(kPieces) ? kPieces[index] : std::string_view(&c, 1);
  }
  return expanded;
}

std::string Text(const std::vector<baleen::Symbol>& symbols) {
  std::string text;
  for (const baleen::Symbol symbol : symbols) {
    if (symbol < 256) text += static_cast<char>(symbol);
    if (symbol == baleen::kDsmlSymbol) text += "｜DSML｜";
    if (symbol == baleen::kEosSymbol) text += "<｜end▁of▁sentence｜>";
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  const size_t end = std::min(input.find('\xFF'), size);
  baleen::ChatShape shape;
  shape.choice = baleen::ToolChoice::kRequired;
  shape.tools.resize(1);
  shape.tools[0].name = "f";
  shape.tools[0].parameters = Expand(input.substr(0, end));
  const auto grammar = baleen::CompileChat(shape);
  if (!grammar.ok()) return 0;
  const auto schema = baleen::Schema::Parse(shape.tools[0].parameters);
  baleen::Automaton automaton(*grammar);
  baleen::StateId state = automaton.start();
  std::vector<baleen::Symbol> written;
  for (size_t at = end; at < size && written.size() < 2000 && !automaton.Complete(state);) {
    std::vector<baleen::Symbol> allowed;
    for (baleen::Symbol symbol = 0; symbol <= baleen::kThinkCloseSymbol; ++symbol) {
      if (automaton.Next(state, symbol) != baleen::kDeadState) allowed.push_back(symbol);
    }
    if (allowed.empty()) std::abort();
    // Only choices use up input.
    written.push_back(allowed[bytes[at] % allowed.size()]);
    if (allowed.size() > 1) ++at;
    state = automaton.Next(state, written.back());
  }
  if (!automaton.Complete(state)) return 0;
  const auto message = baleen::ParseCompletion(Text(written), baleen::ThinkingMode::kChat);
  if (!message.ok()) std::abort();
  if (!schema.ok() || !schema->notes().empty()) return 0;
  for (const baleen::ToolCall& call : message->tool_calls) {
    const baleen::Status valid = schema->Validate(call.arguments);
    if (!valid.ok() && valid.code() != baleen::StatusCode::kResourceExhausted) std::abort();
  }
  return 0;
}

#include "agent/lua_api.h"

namespace baleen {
namespace {

constexpr LuaField kGenerateFields[] = {
    {"user?", "string", "What the user says next; or give `messages`."},
    {"messages?", "baleen.Message[]", "User and tool messages, in order."},
    {"max_tokens?", "integer", "At most this many tokens; default: the turn's."},
    {"temperature?", "number", "0 to 100; 0: always the likeliest token."},
    {"seed?", "integer", "Of the sampling, 0 or more; default: the session's."},
    {"tool_choice?", "string", "\"auto\", \"none\", \"required\" or the name of a tool."},
    {"answer_schema?", "string", "JSON schema, as text, that the answer is kept to."},
    {"thinking_tokens?", "integer", "At most this many tokens of reasoning."},
};
constexpr LuaField kMessageFields[] = {
    {"role", "\"user\"|\"tool\"", "Who speaks."},
    {"content", "string", "UTF-8."},
    {"tool_call_id?", "string", "Of the call that a tool message answers."},
};
constexpr LuaField kCallFields[] = {
    {"id?", "string", "Names the call; default: c1, c2, ..."},
    {"name", "string", "Of the tool, 1 to 64 bytes."},
    {"arguments?", "table", "Named arguments; default: none."},
    {"arguments_json?", "string", "The model's own text, passed on while `arguments` equals it."},
};
constexpr LuaField kReplyFields[] = {
    {"content", "string", "What the model said."},
    {"reasoning", "string", "What it thought before."},
    {"finish_reason", "\"stop\"|\"length\"|\"tool_calls\"", "Why it ended."},
    {"tokens", "integer", "How many it wrote."},
    {"tool_calls", "baleen.Call[]", "What it asks for; empty: nothing."},
    {"parse_error?", "string", "Its text was no valid message, and is in `content` as it was."},
};
constexpr LuaField kResultFields[] = {
    {"call_id", "string", "Of the call."},
    {"outcome", "baleen.Outcome", "How it ended."},
    {"content", "string", "What the tool said."},
};
constexpr LuaField kToolFields[] = {
    {"name", "string", "What calls name."},
    {"description", "string", "What the model is told of it."},
};

constexpr LuaClass kReplyTable = {"baleen.Reply", "One message of the model.", kReplyFields};
constexpr LuaClass kResultTable = {"baleen.Result", "What came of one call.", kResultFields};
constexpr LuaClass kToolTable = {"baleen.Tool", "A tool of the session.", kToolFields};

constexpr LuaField kGenerateParameters[] = {{"request", "baleen.GenerateRequest", ""}};
constexpr LuaField kGenerateResults[] = {{"reply", "baleen.Reply", ""}};
constexpr LuaField kCallToolsParameters[] = {{"calls", "baleen.Call[]", "1 to 128"}};
constexpr LuaField kCallToolsResults[] = {{"results", "baleen.Result[]", "in the calls' order"}};
constexpr LuaField kCallParameters[] = {{"name", "string", "of the tool"},
                                        {"arguments?", "table", "named arguments"}};
constexpr LuaField kCallResults[] = {{"content", "string", ""}, {"outcome", "baleen.Outcome", ""}};
constexpr LuaField kRandomParameters[] = {{"low?", "integer", ""}, {"high?", "integer", ""}};
constexpr LuaField kRandomResults[] = {{"drawn", "number", ""}};
constexpr LuaField kValueField[] = {{"value", "any", ""}};
constexpr LuaField kTextField[] = {{"text", "string", ""}};
constexpr LuaField kArrayField[] = {{"array", "table", ""}};
constexpr LuaField kDecodeResults[] = {{"value", "any", "nil if the text is no JSON"},
                                       {"message?", "string", "why it isn't"}};

constexpr LuaSignature kSignatures[] = {
    {"baleen.call", "Runs one tool and waits for its result.", kCallParameters, kCallResults},
    {"baleen.call_tools", "Runs tools, at once where they allow it, and waits for all.",
     kCallToolsParameters, kCallToolsResults},
    {"baleen.generate", "Adds messages to the context and lets the model write the next one.",
     kGenerateParameters, kGenerateResults},
    {"baleen.random", "As math.random: from the session's seed, the same in every replay.",
     kRandomParameters, kRandomResults},
    {"baleen.json.array", "Marks a table as a JSON array, also an empty one.", kArrayField,
     kArrayField},
    {"baleen.json.decode", "Reads JSON text.", kTextField, kDecodeResults},
    {"baleen.json.encode", "Writes JSON text; members sorted.", kValueField, kTextField},
};
constexpr LuaField kValues[] = {
    {"baleen.tools", "baleen.Tool[]", "The session's tools."},
    {"baleen.json.null", "lightuserdata", "JSON's null; nil would drop the member."},
};

}  // namespace

constexpr LuaClass kGenerateRequest = {
    "baleen.GenerateRequest", "What the model is asked, and how it samples.", kGenerateFields};
constexpr LuaClass kMessageTable = {"baleen.Message", "One message for the context.",
                                    kMessageFields};
constexpr LuaClass kCallTable = {"baleen.Call", "One call of a tool.", kCallFields};

std::string_view NameOf(const LuaField& field) {
  const std::string_view name = field.name;
  return name.ends_with('?') ? name.substr(0, name.size() - 1) : name;
}

std::span<const LuaClass* const> LuaClasses() {
  static constexpr const LuaClass* kClasses[] = {&kGenerateRequest, &kMessageTable, &kCallTable,
                                                 &kReplyTable,      &kResultTable,  &kToolTable};
  return kClasses;
}
std::span<const LuaSignature> LuaSignatures() { return kSignatures; }
std::span<const LuaField> LuaValues() { return kValues; }

}  // namespace baleen

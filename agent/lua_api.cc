#include "agent/lua_api.h"

#include <array>
#include <iterator>

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

constexpr LuaField kRuleFields[] = {
    {"tool?", "string", "Names of tools, with '*' and '|'; default: any."},
    {"args?", "table<string, string>", "Patterns with '*' that named arguments must all match."},
    {"path?", "string", "Pattern for the argument `path`: \"**/.env*\"."},
    {"argv?", "(string|string[])[]",
     "Of shell text in the argument `command`: the first words of a simple command, with "
     "alternatives. Allowed is what consists of allowed ones; what can't be read is asked about."},
    {"writes?", "string", "Instead of argv: pattern for files that its redirects write."},
    {"why?", "string", "Told to whoever is asked, and to the model on a denial."},
    {"match?", "baleen.Example[]", "Calls that the rule must match, or the script doesn't load."},
    {"not_match?", "baleen.Example[]", "Calls that it must not match."},
};
constexpr LuaField kExampleFields[] = {{"tool", "string", "Its name."},
                                       {"args?", "table", "Its arguments; default: none."}};
constexpr LuaField kPolicyFields[] = {
    {"default?", "\"allow\"|\"ask\"|\"deny\"", "For calls that no rule matches."},
    {"[integer]", "baleen.Rule", "Made by allow, ask and deny; the strictest that matches counts."},
};
constexpr LuaField kCallEventFields[] = {
    {"id?", "string", "Of the call."},
    {"name", "string", "Of the tool."},
    {"arguments", "table", "What it is called with; before_tool may change it."},
    {"args_digest?", "string", "Equal for equal arguments; before_tool only."},
    {"outcome?", "baleen.Outcome", "How it ended; not in before_tool."},
    {"content?", "string", "What the tool said; tool_result may change it."},
    {"trust?", "\"untrusted\"",
     "Set by tool_result: the model reads the content in a frame, as data."},
};
constexpr LuaField kHookOptionsFields[] = {
    {"on_error?", "\"deny\"|\"ignore\"", "What a failing hook does; \"ignore\" only tells of it."},
    {"wall?", "string|number",
     "How long its own Lua may take, counted as 20,000 instructions a millisecond: \"50ms\". Then "
     "it has failed."},
};
constexpr LuaField kContextFields[] = {
    {"call_id?", "string", "Of the call; in bodies of tools."},
    {"secret", "fun(name: string): baleen.Secret", "A handle of the secret, for requests."},
    {"sh",
     "fun(self: baleen.Context, argv: string[], options?: baleen.ShOptions): baleen.ShResult?, "
     "string?",
     "Runs a command, as a call of bash whose words are these; nil and why it didn't run."},
};
constexpr LuaField kSecretFields[] = {{"name", "string", "Its value is nowhere in Lua."}};
constexpr LuaField kShOptionsFields[] = {
    {"wall?", "string|number", "How long it may run: \"5s\"; default: two minutes."},
    {"workdir?", "string", "Folder to run in; default: the workspace."},
};
constexpr LuaField kShResultFields[] = {
    {"text", "string", "What it wrote, without the last newline."},
    {"exit?", "integer", "Its exit code."},
    {"ok", "boolean", "Whether that is 0."},
    {"timed_out", "boolean", "It was ended when its time was over."},
};
constexpr LuaField kHttpFields[] = {
    {"get",
     "fun(url: string, options?: baleen.HttpOptions): baleen.HttpReply?, string?, baleen.Outcome?",
     "What the server answered, whatever its status; nil, why and the outcome if nobody did."},
    {"post",
     "fun(url: string, options?: baleen.HttpOptions): baleen.HttpReply?, string?, baleen.Outcome?",
     "The same. What a crash interrupts is UNKNOWN, as of put, patch and delete."},
    {"put",
     "fun(url: string, options?: baleen.HttpOptions): baleen.HttpReply?, string?, baleen.Outcome?",
     ""},
    {"patch",
     "fun(url: string, options?: baleen.HttpOptions): baleen.HttpReply?, string?, baleen.Outcome?",
     ""},
    {"delete",
     "fun(url: string, options?: baleen.HttpOptions): baleen.HttpReply?, string?, baleen.Outcome?",
     ""},
    {"request", "fun(request: baleen.HttpRequest): baleen.HttpReply?, string?, baleen.Outcome?",
     "The method and the URL as members."},
};
constexpr LuaField kHttpOptionsFields[] = {
    {"headers?", "table<string, string>", "At most 32; not those that frame a message."},
    {"body?", "string", "Of POST, PUT and PATCH, at most 256 KiB of UTF-8."},
    {"json?", "any", "Instead: what the body says as JSON."},
    {"auth?", "baleen.Secret", "Goes along as a bearer token, to its hosts only."},
    {"auth_header?", "string", "The header that has it as its value instead."},
    {"wall?", "string|number", "How long it may take: \"10s\"; default: 30 s."},
    {"bytes?", "integer|string", "How much of a body is read; default: 256 KiB."},
};
constexpr LuaField kHttpRequestFields[] = {{"method?", "string", "Default: GET."},
                                           {"url", "string", "http:// or https://."}};
constexpr LuaField kHttpReplyFields[] = {
    {"status", "integer", "The server's."},
    {"body", "string", "Empty where it isn't text."},
    {"content_type?", "string", ""},
    {"cut", "boolean", "The body goes on."},
    {"skipped?", "integer", "Bytes of a body that isn't text."},
    {"redirect?", "string", "Where it is at another host, which wasn't asked."},
    {"retry_after?", "integer", "Seconds that the server asks to wait."},
};
constexpr LuaField kToolSpecFields[] = {
    {"about", "string", "What it does, for the model."},
    {"args?", "table<string, baleen.Kind>", "Its arguments: str, int, bool, list, one_of, opt."},
    {"traits?", "baleen.ToolTraits", "What calling it twice would do."},
    {"limits?", "baleen.ToolLimits", "How much it may say."},
    {"run", "fun(args: table, ctx: baleen.Context): any, string?",
     "Gives the result, or nil and why not."},
};
constexpr LuaField kTraitFields[] = {
    {"read_only?", "boolean", "It changes nothing."},
    {"idempotent?", "boolean", "Once or twice is the same."},
    {"network?", "string[]",
     "Hosts that its requests may ask, among those that scripts may: \"tracker.internal\", "
     "\"*.example.org:8443\"; default: none."},
    {"parallel?", "boolean",
     "Bodies of neighbouring calls that have it run at once; the calls that they make are asked "
     "for together. Needs read_only or idempotent."},
};
constexpr LuaField kLimitFields[] = {
    {"output?", "integer|string", "Bytes: 8192, \"8KiB\"."},
    {"wall?", "string|number",
     "From its beginning, restarts included. Requests and commands get what is left of it; once it "
     "is over, no call begins."},
};
constexpr LuaField kKindFields[] = {{"match",
                                     "fun(self: baleen.Kind, pattern: string): baleen.Kind",
                                     "Of str: a Lua pattern that values must match."}};
constexpr LuaField kMemoFields[] = {
    {"bump", "fun(self: baleen.Memo, ...: any): integer", "How often it has seen this now."}};
constexpr LuaField kOnFields[] = {
    {"before_tool", "fun(pattern_or_fn: any, fn_or_options?: any, options?: baleen.HookOptions)",
     "Before a call: may change its arguments, deny it, or note something."},
    {"tool_result", "fun(pattern_or_fn: any, fn_or_options?: any, options?: baleen.HookOptions)",
     "After a call: may change what the model reads of it."},
    {"after_tool", "fun(pattern_or_fn: any, fn_or_options?: any, options?: baleen.HookOptions)",
     "Then: may note something."},
    {"before_model", "fun(fn: fun(request: table): any, options?: baleen.HookOptions)",
     "Before a generation: may change the request, deny it, or note something."},
    {"before_prompt",
     "fun(fn: fun(event: table, ctx: baleen.Context): any, options?: baleen.HookOptions)",
     "Before a turn's message is worked on: may change its text, deny it, or note something."},
    {"approval",
     "fun(fn: fun(event: table, ctx: baleen.Context): any, options?: baleen.HookOptions)",
     "Before somebody is asked by f:approve or by the script's policy: may deny it instead."},
    {"turn_end", "fun(fn: fun(event: table, ctx: baleen.Context), options?: baleen.HookOptions)",
     "When the turn's text is there."},
    {"session_start",
     "fun(fn: fun(event: table, ctx: baleen.Context): any, options?: baleen.HookOptions)",
     "At the session's first turn: may deny it, or note something for the first prompt."},
    {"after_edit", "fun(pattern_or_fn: any, fn_or_options?: any, options?: baleen.HookOptions)",
     "After a write, an edit or a file of s:apply that went well, of paths like \"*.go\": may note "
     "something."},
    {"subagent_end",
     "fun(fn: fun(event: table, ctx: baleen.Context): any, options?: baleen.HookOptions)",
     "When a fork's turn has ended: may note something for the next prompt."},
    {"before_compact",
     "fun(fn: fun(event: table, ctx: baleen.Context): any, options?: baleen.HookOptions)",
     "Before the context is compacted (reason: full or asked): may change keep, note or deny."},
};
constexpr LuaField kBudgetFields[] = {
    {"tokens?", "integer", "Prompt and sampled tokens."},
    {"wall?", "string|number", "Time at work: \"30m\", or seconds."},
    {"tool_calls?", "integer", "Calls."},
    {"usd?", "number", "Dollars, by the session's prices."},
};
constexpr LuaField kAskFields[] = {
    {"returns?", "baleen.Kind|table", "What the answer is kept to."},
    {"max?", "integer", "Of a list: at most so many items."},
    {"tools?", "string", "Those that it may use: \"read|grep\", or \"none\"."},
    {"budget?", "baleen.Budget", "What it may spend."},
    {"max_tokens?", "integer", "Of each message."},
    {"temperature?", "number", "0 to 100."},
};
constexpr LuaField kCalledFields[] = {
    {"content", "string", "What the tool said; of bash what the command wrote. tostring gives it."},
    {"outcome", "baleen.Outcome", "How it ended; ERROR where a fork could run nothing."},
    {"ok", "boolean", "The outcome is OK, and `exit` 0 or none."},
    {"exit?", "integer", "Of bash: the command's exit code."},
};
constexpr LuaField kSessionFields[] = {
    {"ask", "fun(self: baleen.Session, text: string, options?: baleen.AskOptions): any, string?",
     "The model's answer once it only talks; nil and why if it isn't what `returns` says."},
    {"call", "fun(self: baleen.Session, name: string, arguments?: table): baleen.Called",
     "Runs one tool. What hooks note of it goes into the next prompt."},
    {"note", "fun(self: baleen.Session, text: string)", "Tells the model with its next prompt."},
    {"fork", "fun(self: baleen.Session, options?: baleen.ForkOptions): baleen.Fork",
     "A session that goes on from here."},
    {"apply", "fun(self: baleen.Session, diff: string): string",
     "Changes the workspace as the diff says, all of it or nothing: what was done; an error says "
     "where it doesn't fit."},
    {"compact", "fun(self: baleen.Session, options?: table): string",
     "Puts a summary in place of what the model has seen: the summary. keep: a note that stays."},
};
constexpr LuaField kForkOptionsFields[] = {
    {"label?", "string", "Its title."},
    {"budget?", "baleen.Budget", "What it may spend."},
    {"clean?", "boolean", "Without a past."},
    {"worktree?", "boolean|\"all\"",
     "It works in a copy of the workspace; \"all\": of what ignore rules leave out, too."},
};
constexpr LuaField kForkFields[] = {
    {"id", "string", "The session's."},
    {"label", "string", "As it was given."},
    {"usage", "table", "tokens, wall_ms, tool_calls and micro_usd that it has spent."},
    {"ask", "fun(self: baleen.Fork, text: string, options?: baleen.AskOptions): any, string?",
     "As s:ask, in a turn of the fork; nil and why if that failed."},
    {"call", "fun(self: baleen.Fork, name: string, arguments?: table): baleen.Called",
     "As s:call, in a turn of the fork; what hooks note goes into this session's next prompt."},
    {"sh",
     "fun(self: baleen.Fork, argv: string[], options?: baleen.ShOptions): baleen.ShResult?, "
     "string?",
     "As ctx:sh, in a turn of the fork."},
    {"worktree?", "string", "What was copied for it, and what was left out."},
    {"diff", "fun(self: baleen.Fork): string",
     "What it has changed in its worktree, as a unified diff; empty: nothing."},
    {"close", "fun(self: baleen.Fork)",
     "Nothing more is asked of it, and its worktree goes; the session stays. Also at the end of a "
     "block: local kid <close> = s:fork {}."},
};
constexpr LuaField kFlowOptionsFields[] = {
    {"budget?", "baleen.Budget", "What it may spend."},
    {"input?", "table<string, baleen.Kind>",
     "Members that its input must have; without it any text will do. A text that is a JSON object "
     "is a table."},
};
constexpr LuaField kFlowFields[] = {
    {"secret", "fun(name: string): baleen.Secret", "As ctx.secret."},
    {"sh",
     "fun(self: baleen.Flow, argv: string[], options?: baleen.ShOptions): baleen.ShResult?, "
     "string?",
     "As ctx:sh."},
    {"now", "fun(self: baleen.Flow): integer", "Unix time in seconds, as it was the first time."},
    {"random", "fun(self: baleen.Flow, low?: integer, high?: integer): number",
     "As baleen.random."},
    {"sleep", "fun(self: baleen.Flow, duration: string|number): integer",
     "Waits, across restarts; the time then."},
    {"approve", "fun(self: baleen.Flow, request: table): boolean",
     "Waits for somebody's leave to do what `title` says; an error if it is denied."},
    {"each",
     "fun(self: baleen.Flow, items: table, options: table, fn: fun(item: any, index: integer): "
     "any): table",
     "What `fn` gives for each. at_once: of how many items forks may work at the same time, 1 to "
     "8; "
     "without options one after the other."},
    {"race",
     "fun(self: baleen.Flow, items: table, options: table, fn: fun(item: any, index: integer): "
     "any): any, integer?",
     "The first that is neither nil nor false, and its index; options as of each."},
    {"min", "fun(self: baleen.Flow, items: table, key: fun(item: any): number): any, number?",
     "The item with the least key."},
};

constexpr LuaClass kReplyTable = {"baleen.Reply", "One message of the model.", kReplyFields};
constexpr LuaClass kResultTable = {"baleen.Result", "What came of one call.", kResultFields};
constexpr LuaClass kToolTable = {"baleen.Tool", "A tool of the session.", kToolFields};

constexpr LuaClass kDeclared[] = {
    {"baleen.Example", "A call, for a rule's tests.", kExampleFields},
    {"baleen.Rule", "What is to happen to some calls.", kRuleFields},
    {"baleen.Policy", "Rules. They tighten what the session says, and can loosen nothing.",
     kPolicyFields},
    {"baleen.CallEvent", "What a hook on tools is told.", kCallEventFields},
    {"baleen.HookOptions", "", kHookOptionsFields},
    {"baleen.Secret", "A name for a value that the runtime puts into requests.", kSecretFields},
    {"baleen.Context", "What hooks and bodies of tools get besides.", kContextFields},
    {"baleen.ShOptions", "", kShOptionsFields},
    {"baleen.ShResult", "What a command came to.", kShResultFields},
    {"baleen.Http", "Requests: require \"baleen.http\".", kHttpFields},
    {"baleen.HttpOptions", "", kHttpOptionsFields},
    {"baleen.HttpRequest: baleen.HttpOptions", "", kHttpRequestFields},
    {"baleen.HttpReply", "What a server answered.", kHttpReplyFields},
    {"baleen.Kind", "What an argument or an answer is.", kKindFields},
    {"baleen.ToolTraits", "", kTraitFields},
    {"baleen.ToolLimits", "", kLimitFields},
    {"baleen.ToolSpec", "A tool that the script declares; its body may use baleen.call.",
     kToolSpecFields},
    {"baleen.Memo", "Counts what it has seen in this turn.", kMemoFields},
    {"baleen.On", "Hooks, in the order in which they were declared.", kOnFields},
    {"baleen.Budget", "Limits; what reaches one pauses and asks.", kBudgetFields},
    {"baleen.AskOptions", "", kAskFields},
    {"baleen.Called", "What came of a call, also of one that was denied.", kCalledFields},
    {"baleen.Session", "The turn's session.", kSessionFields},
    {"baleen.ForkOptions", "", kForkOptionsFields},
    {"baleen.Fork", "A session that was forked off the turn.", kForkFields},
    {"baleen.FlowOptions", "", kFlowOptionsFields},
    {"baleen.Flow", "A workflow's run.", kFlowFields},
};

constexpr LuaField kRuleParameter[] = {{"rule", "baleen.Rule", ""}};
constexpr LuaField kDenyParameter[] = {{"rule_or_reason", "baleen.Rule|string", ""}};
constexpr LuaField kAnyResult[] = {{"made", "any", ""}};
constexpr LuaField kPolicyParameter[] = {{"rules", "baleen.Policy", ""}};
constexpr LuaField kAboutParameter[] = {{"about?", "string", "what it is, for the model"}};
constexpr LuaField kKindResult[] = {{"kind", "baleen.Kind", ""}};
constexpr LuaField kListParameters[] = {{"items", "baleen.Kind|table", "of what"},
                                        {"about?", "string", ""}};
constexpr LuaField kOneOfParameters[] = {{"values", "string[]", ""}, {"about?", "string", ""}};
constexpr LuaField kOptParameters[] = {{"kind", "baleen.Kind", "of an argument that may lack"}};
constexpr LuaField kMemoParameters[] = {{"options", "table", "size: how much it remembers (64)"}};
constexpr LuaField kMemoResults[] = {{"memo", "baleen.Memo", ""}};
constexpr LuaField kToolParameters[] = {{"name", "string", ""}};
constexpr LuaField kToolResults[] = {{"declare", "fun(spec: baleen.ToolSpec)", ""}};
constexpr LuaField kFlowParameters[] = {
    {"name", "string", ""},
    {"options", "baleen.FlowOptions", ""},
    {"fn", "fun(f: baleen.Flow, input: string|table): any", "what it gives is the turn's text"}};
constexpr LuaField kFlowResults[] = {{"run", "fun(input: string|table): string", ""}};
constexpr LuaField kWhyParameter[] = {{"why", "string", ""}};
constexpr LuaField kModuleParameter[] = {{"name", "string", ""}};
constexpr LuaField kModuleResults[] = {{"module", "baleen.Http|table", ""}};
constexpr LuaField kSessionResults[] = {{"session", "baleen.Session", ""}};

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
    {"allow", "A rule: nothing is said against these calls.", kRuleParameter, kAnyResult},
    {"ask", "A rule: somebody must grant these calls.", kRuleParameter, kAnyResult},
    {"deny", "A rule that refuses calls; or, of a hook, the verdict that refuses one.",
     kDenyParameter, kAnyResult},
    {"note", "The verdict of a hook: the model is told this besides.", kTextField, kAnyResult},
    {"policy",
     "Adds rules; a script without a turn's function runs the default loop by them.",
     kPolicyParameter,
     {}},
    {"memo", "For hooks: counts what it has seen.", kMemoParameters, kMemoResults},
    {"str", "A text.", kAboutParameter, kKindResult},
    {"int", "An integer.", kAboutParameter, kKindResult},
    {"bool", "true or false.", kAboutParameter, kKindResult},
    {"list", "A list.", kListParameters, kKindResult},
    {"one_of", "One of these texts.", kOneOfParameters, kKindResult},
    {"opt", "An argument that may be left out.", kOptParameters, kKindResult},
    {"tool", "Declares a tool: tool \"name\" { about = ..., args = ..., run = ... }",
     kToolParameters, kToolResults},
    {"flow", "Declares a workflow; the turn runs it if the script returns no function.",
     kFlowParameters, kFlowResults},
    {"fail", "Ends the turn as failed.", kWhyParameter, {}},
    {"require", "What the module gives: \"baleen.http\" or \"baleen.json\". It waits for nothing.",
     kModuleParameter, kModuleResults},
    {"session.current", "The session that the turn is of.", {}, kSessionResults},
};
constexpr LuaField kValues[] = {
    {"baleen.tools", "baleen.Tool[]", "The session's tools."},
    {"baleen.json.null", "lightuserdata", "JSON's null; nil would drop the member."},
    {"on", "baleen.On", "Hooks."},
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
  static constexpr auto kClasses = [] {
    std::array<const LuaClass*, 6 + std::size(kDeclared)> all = {
        &kGenerateRequest, &kMessageTable, &kCallTable, &kReplyTable, &kResultTable, &kToolTable};
    for (size_t i = 0; i < std::size(kDeclared); ++i) all[6 + i] = &kDeclared[i];
    return all;
  }();
  return kClasses;
}
std::span<const LuaSignature> LuaSignatures() { return kSignatures; }
std::span<const LuaField> LuaValues() { return kValues; }

}  // namespace baleen

// Tasks over an invented workspace: the built-in tools, whose results are really theirs, and
// invented tools that write, edit and run.
#include <algorithm>
#include <utility>

#include "model/text/json_value.h"
#include "model/training/corpus/memory_files.h"
#include "model/training/corpus/tasks.h"
#include "tools_sdk/builtin/builtin.h"

namespace baleen::training {
namespace {

constexpr std::string_view kLeads[] = {"",      "",           "Please tell me: ", "Hey, ",
                                       "Now: ", "I wonder: ", "Tell me, ",        "So, "};
constexpr std::string_view kReadAsks[] = {"what is the {k} in {p}",
                                          "which {k} does {p} state",
                                          "look into {p} for the {k}",
                                          "read {p} and tell me the {k}",
                                          "what {k} is in {p}",
                                          "open {p}: what is the {k}",
                                          "the {k} in {p}",
                                          "according to {p}, what is the {k}"};
constexpr std::string_view kFindAsks[] = {
    "what is the {k} in the file {s} in {d}", "in {d} is a file named {s}; what is its {k}",
    "look into {d}: which {k} has {s}",       "find {s} in {d} and tell me the {k}",
    "list {d}, read {s} and tell me the {k}", "which {k} does {s} in the folder {d} state"};
constexpr std::string_view kFindAnywhere[] = {
    "what is the {k} in the file {s}", "find the file {s}; what is its {k}",
    "somewhere is a file named {s}; which {k} does it state", "look for {s} and tell me its {k}",
    "there is a file {s}; I need its {k}"};
constexpr std::string_view kGrepAsks[] = {
    "which file mentions {w}", "where is {w}",   "find {w} in the files",
    "in which line is {w}",    "search for {w}", "where do the files speak of {w}",
    "which line has {w}"};
constexpr std::string_view kGrepReadAsks[] = {
    "what is the {k} in the file that mentions {w}", "find the file with {w} and tell me its {k}",
    "search for {w}, read that file and tell me the {k}",
    "which {k} states the file that speaks of {w}", "one file has {w} in it; what is its {k}"};
constexpr std::string_view kListAsks[] = {"what is in {d}",     "which files are in {d}",
                                          "list {d}",           "show me the folder {d}",
                                          "what does {d} hold", "name the files of {d}"};
constexpr std::string_view kWriteAsks[] = {"write \"{x}\" to {p}",
                                           "put \"{x}\" into {p}",
                                           "create {p} with the text \"{x}\"",
                                           "save \"{x}\" as {p}",
                                           "make a file {p} that says \"{x}\"",
                                           "store \"{x}\" in {p}"};
constexpr std::string_view kEditAsks[] = {
    "in {p}, change {a} to {b}",    "replace {a} by {b} in {p}", "{p} has {a}; make it {b}",
    "edit {p}: {b} instead of {a}", "turn {a} into {b} in {p}",  "in {p} put {b} where {a} is"};
constexpr std::string_view kSetAsks[] = {
    "set the {k} in {p} to {b}",       "in {p}, the {k} should be {b}",
    "change the {k} of {p} to {b}",    "{b} shall be the {k} in {p}",
    "read {p} and set its {k} to {b}", "make {b} the {k} in {p}"};
constexpr std::string_view kRunAsks[] = {
    "run {c} and tell me the {k}", "what {k} does {c} print", "execute {c}; what is the {k}",
    "call {c} and report the {k}", "the {k} that {c} gives",  "use {c} to get the {k}"};
constexpr std::string_view kMarks[] = {"?", ".", "", "!", ", please.", " now."};

constexpr std::string_view kWriteVerbs[] = {"write",  "save",   "put", "store",
                                            "create", "output", "make"};
constexpr std::string_view kEditVerbs[] = {"edit",       "replace", "change", "patch",
                                           "substitute", "modify",  "swap"};
constexpr std::string_view kRunVerbs[] = {"run",  "shell", "exec",   "execute",
                                          "bash", "sh",    "command"};
constexpr std::string_view kFileEnds[] = {"",      "_file",    "File", "_text",
                                          "-file", "_in_file", "Text", ".file"};
constexpr std::string_view kRunEnds[] = {"",      "_command", "Command",  "_cmd",
                                         "_line", "-command", ".command", "_it"};
constexpr std::string_view kFolders[] = {"src", "docs", "config", "notes",
                                         "lib", "logs", "tests",  "etc"};
constexpr std::string_view kSettingEnds[] = {".conf", ".ini", ".txt", ".cfg",
                                             ".env",  ".md",  ".yaml"};

/// How a varied file states a setting.
constexpr std::string_view kLineForms[] = {
    "{k}\t{v}",        "{k} := {v}",    "export {k}={v}", "\"{k}\": \"{v}\",",
    "- {k}: {v}",      "| {k} | {v} |", "<{k}>{v}</{k}>", "{k}   {v}",
    "set {k} {v}",     "{k} -> {v}",    "{k}='{v}'",      "let {k} = \"{v}\";",
    "The {k} is {v}.", "[{k}] {v}",     "{k} {v}",        "* {k} - {v}",
    "#define {k} {v}", "{k};{v}",       "  {k}: {v}",     "Its {k}: {v}",
    "{k} {v};",        "{k}: \"{v}\"",  "{k} = \"{v}\"",  "{k}:{v}"};
constexpr std::string_view kOtherLines[] = {"",
                                            "---",
                                            "[{w}]",
                                            "# {w}",
                                            "// {x} {w}",
                                            "{w} {x}",
                                            "{X}: {w}",
                                            "{x}=/{w}",
                                            "-l{w} -I/{x}",
                                            "{X} {w} {x}.",
                                            "{w}",
                                            "    {x}",
                                            "* {w} {x}",
                                            "{x} >= 1.2",
                                            "include {w}",
                                            "{w}: {x}",
                                            "# {x}: {w}",
                                            "; {w}",
                                            "{x}: {X} {w} {x}",
                                            "{x}:x:100:",
                                            "end {w}",
                                            "{x}({w})",
                                            "<{w} {x}=\"{w}\">",
                                            "The {w} of {X} is {x}."};

struct Setting {
  std::string key;
  std::string value;
};

struct InventedFile {
  std::string path;
  std::vector<Setting> settings;
  std::string word;  ///< Occurs in this file alone.
  std::string form;  ///< Of a line, with {k} and {v}.
  bool capitals = false;

  std::string Line(const Setting& setting) const {
    return Fill(form,
                {{"k", capitals ? Capitalised(setting.key) : setting.key}, {"v", setting.value}});
  }
};

std::vector<std::unique_ptr<Tool>>& Builtins() {
  static std::vector<std::unique_ptr<Tool>> tools = MakeBuiltinTools();
  return tools;
}

/// Folders and files, and the conversation about them.
class WorkspaceScene {
 public:
  WorkspaceScene(Draw& draw, const char* task) : draw_(draw) {
    out_.task = task;
    out_.system = std::string(draw.One(kSystemPrompts));
    for (const auto& tool : Builtins()) out_.tools.push_back(tool->spec());
    const int64_t folders = draw.Between(1, 2);
    for (int64_t i = 0; i < folders; ++i) {
      folders_.push_back(draw.Chance(0.5) ? std::string(draw.One(kFolders)) : draw.Word());
    }
    const int64_t files = draw.Between(2, 5);
    for (int64_t i = 0; i < files; ++i) AddFile();
  }

  const InventedFile& AnyFile() { return draw_.One(files_); }
  const InventedFile& FileInFolder() {
    for (int tries = 0; tries < 20; ++tries) {
      const InventedFile& file = AnyFile();
      if (file.path.find('/') != std::string::npos) return file;
    }
    return files_.front();
  }
  const std::vector<InventedFile>& files() const { return files_; }
  const MemoryFiles& memory() const { return memory_; }
  Draw& draw() { return draw_; }

  void AskUser(const std::vector<Draw::Phrases>& lists,
               std::initializer_list<std::pair<std::string_view, std::string_view>> values) {
    Message message;
    message.role = Role::kUser;
    message.content = Capitalised(Fill(draw_.Phrase(lists), values));
    before_ = std::move(message);
  }

  /// The assistant calls a tool; a built-in one answers by itself.
  void Call(std::string_view name, std::string arguments, std::string host_result = "") {
    ToolCall call;
    call.name = std::string(name);
    call.arguments = std::move(arguments);
    Message reply;
    reply.role = Role::kAssistant;
    reply.tool_calls = {call};
    out_.exchanges.push_back({{std::move(before_)}, std::move(reply), Skill::kCall, ""});
    Message result;
    result.role = Role::kTool;
    result.content = std::move(host_result);
    for (const auto& tool : Builtins()) {
      if (tool->spec().name == name) result.content = BuiltinResult(*tool, call);
    }
    before_ = std::move(result);
  }

  void Say(std::string text, std::string value) {
    Message reply;
    reply.role = Role::kAssistant;
    reply.content = std::move(text);
    const Skill skill = value.empty() ? Skill::kNone : Skill::kAnswer;
    out_.exchanges.push_back({{std::move(before_)}, std::move(reply), skill, std::move(value)});
  }

  /// Adds a tool of the host's with text parameters.
  std::string AddHostTool(Draw::Phrases verbs, Draw::Phrases ends, std::string_view description,
                          const std::vector<std::string>& parameters) {
    ToolSpec spec;
    do {
      const std::string_view end = draw_.One(ends);
      spec.name = std::string(draw_.One(verbs)) + std::string(end);
    } while (!draw_.TakeName(spec.name) && ++names_tried_ < 400);
    spec.description = std::string(description);
    std::string properties;
    std::string required;
    for (const std::string& parameter : parameters) {
      properties +=
          (properties.empty() ? "" : ",") + QuoteJson(parameter) + ":{\"type\":\"string\"}";
      required += (required.empty() ? "" : ",") + QuoteJson(parameter);
    }
    spec.parameters =
        "{\"type\":\"object\",\"properties\":{" + properties + "},\"required\":[" + required + "]}";
    out_.tools.push_back(spec);
    return spec.name;
  }

  Conversation Take() {
    out_.used = draw_.used();
    return std::move(out_);
  }

 private:
  void AddFile() {
    InventedFile file;
    const std::string folder = draw_.Chance(0.75) ? draw_.One(folders_) : "";
    file.path = draw_.Path(folder, draw_.One(kSettingEnds));
    file.form =
        "{k}" + std::string(draw_.One<std::string_view>({" = ", ": ", "=", " is "})) + "{v}";
    const bool varied = draw_.Varied();
    if (varied && draw_.Chance(0.8)) file.form = std::string(draw_.One(kLineForms));
    file.capitals = varied && draw_.Chance(0.3);
    for (int64_t i = varied ? draw_.Between(2, 7) : draw_.Between(2, 4); i > 0; --i) {
      const Attribute& attribute = draw_.One(kAttributes);
      Setting setting{std::string(attribute.name), draw_.Value(attribute.kind)};
      if (draw_.Chance(0.3)) setting.key = draw_.Word();
      const bool known =
          std::any_of(file.settings.begin(), file.settings.end(),
                      [&](const Setting& other) { return other.key == setting.key; });
      if (!known) file.settings.push_back(std::move(setting));
    }
    file.word = draw_.Word(2);
    std::string content;
    const auto at =
        static_cast<size_t>(draw_.Below(static_cast<int64_t>(file.settings.size()) + 1));
    for (size_t i = 0; i <= file.settings.size(); ++i) {
      if (i == at)
        content += draw_.One<std::string>({"# about ", "// see ", "* ", "# "}) +
                   std::string(file.word) + "\n";
      while (varied && draw_.Chance(0.4)) content += OtherLine() + "\n";
      if (i < file.settings.size()) content += file.Line(file.settings[i]) + "\n";
    }
    memory_.Put(file.path, content);
    files_.push_back(std::move(file));
  }

  /// Says nothing that anyone asks for.
  std::string OtherLine() {
    const std::string word = draw_.Word();
    const std::string other = draw_.Word();
    const std::string name = draw_.Name();
    return Fill(draw_.One(kOtherLines), {{"w", word}, {"x", other}, {"X", name}});
  }

  std::string BuiltinResult(Tool& tool, const ToolCall& call) const {
    CallContext context;
    context.files = &memory_;
    const ToolResult result = tool.Call(call, context);
    // As the default agent puts it to the model.
    if (result.outcome == ToolOutcome::kOk) return result.content;
    return std::string(ToolOutcomeName(result.outcome)) + ": " + result.content;
  }

  Draw& draw_;
  Conversation out_;
  MemoryFiles memory_;
  std::vector<std::string> folders_;
  std::vector<InventedFile> files_;
  Message before_;
  int names_tried_ = 0;
};

std::string Arguments(std::initializer_list<std::pair<std::string_view, std::string_view>> texts) {
  std::string json = "{";
  for (const auto& [name, value] : texts) {
    json += (json.size() > 1 ? ", " : "") + QuoteJson(name) + ": " + QuoteJson(value);
  }
  return json + "}";
}

std::string_view NameOf(std::string_view path) { return path.substr(path.rfind('/') + 1); }
std::string_view FolderOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

void SayKey(const Setting& setting, WorkspaceScene* scene) {
  scene->Say("The " + setting.key + " is " + setting.value + ".", setting.value);
}

void ReadGoal(WorkspaceScene* scene) {
  Draw& draw = scene->draw();
  const InventedFile& file = scene->AnyFile();
  const Setting& setting = draw.One(file.settings);
  std::string asked = file.path;
  // A name that is nearly right: the tool names the right one.
  const bool wrong = draw.Chance(0.15);
  if (wrong)
    asked = asked.substr(0, asked.rfind('.')) + draw.One<std::string>({".text", ".doc", ".xml"});
  scene->AskUser({kLeads, kReadAsks, kMarks}, {{"k", setting.key}, {"p", asked}});
  scene->Call("read", Arguments({{"path", asked}}));
  if (wrong) scene->Call("read", Arguments({{"path", file.path}}));
  SayKey(setting, scene);
}

void FindGoal(WorkspaceScene* scene) {
  Draw& draw = scene->draw();
  const InventedFile& file = scene->FileInFolder();
  const std::string_view folder = FolderOf(file.path);
  if (draw.Chance(0.15) && !folder.empty()) {
    scene->AskUser({kLeads, kListAsks, kMarks}, {{"d", folder}});
    scene->Call("list", Arguments({{"path", folder}}));
    std::string names;
    const auto entries = scene->memory().List(folder, 100);
    for (const FileEntry& entry : *entries)
      names += (names.empty() ? "" : ", ") + std::string(NameOf(entry.path));
    return scene->Say("It holds " + names + ".", names);
  }
  const Setting& setting = draw.One(file.settings);
  const std::string_view name = NameOf(file.path);
  const std::string stem(name.substr(0, name.rfind('.')));
  if (folder.empty() || draw.Chance(0.25)) {
    scene->AskUser({kLeads, kFindAnywhere, kMarks}, {{"k", setting.key}, {"s", stem}});
    scene->Call("list", "{\"depth\": 2}");
  } else {
    scene->AskUser({kLeads, kFindAsks, kMarks}, {{"k", setting.key}, {"s", stem}, {"d", folder}});
    scene->Call("list", Arguments({{"path", folder}}));
  }
  scene->Call("read", Arguments({{"path", file.path}}));
  SayKey(setting, scene);
}

void GrepGoal(WorkspaceScene* scene) {
  Draw& draw = scene->draw();
  const InventedFile& file = scene->AnyFile();
  if (draw.Chance(0.5)) {
    const Setting& setting = draw.One(file.settings);
    scene->AskUser({kLeads, kGrepReadAsks, kMarks}, {{"k", setting.key}, {"w", file.word}});
    scene->Call("grep", Arguments({{"pattern", file.word}}));
    scene->Call("read", Arguments({{"path", file.path}}));
    return SayKey(setting, scene);
  }
  const bool absent = draw.Chance(0.15);
  const std::string word = absent ? draw.Word(3) : file.word;
  scene->AskUser({kLeads, kGrepAsks, kMarks}, {{"w", word}});
  scene->Call("grep", Arguments({{"pattern", word}}));
  if (absent) return scene->Say("No file mentions " + word + ".", word);
  const std::string& content = scene->memory().files().find(file.path)->second;
  const auto line = std::count(content.begin(),
                               content.begin() + static_cast<ptrdiff_t>(content.find(word)), '\n') +
                    1;
  const std::string place = file.path + ", line " + std::to_string(line);
  scene->Say("It is in " + place + ".", place);
}

void WriteGoal(WorkspaceScene* scene) {
  Draw& draw = scene->draw();
  const std::string path_name = draw.One<std::string>({"path", "file", "name", "target"});
  const std::string text_name = draw.One<std::string>({"content", "text", "body", "words"});
  const std::string tool =
      scene->AddHostTool(kWriteVerbs, kFileEnds,
                         draw.One<std::string_view>({"Writes a file", "Puts text into a file",
                                                     "Creates a file with a text"}),
                         {path_name, text_name});
  const std::string text = draw.Value(ValueKind::kWords);
  const std::string_view extension = draw.One<std::string_view>({".txt", ".md"});
  const std::string path = draw.Path(FolderOf(scene->AnyFile().path), extension);
  scene->AskUser({kLeads, kWriteAsks, kMarks}, {{"x", text}, {"p", path}});
  scene->Call(tool, Arguments({{path_name, path}, {text_name, text}}),
              "wrote " + std::to_string(text.size()) + " bytes");
  scene->Say("Done.", "");
}

void EditGoal(WorkspaceScene* scene) {
  Draw& draw = scene->draw();
  const std::string path_name = draw.One<std::string>({"path", "file"});
  const std::string old_name = draw.One<std::string>({"old", "from", "find", "before"});
  const std::string new_name = draw.One<std::string>({"new", "to", "replace", "after"});
  const std::string tool =
      scene->AddHostTool(kEditVerbs, kFileEnds,
                         draw.One<std::string_view>({"Replaces a text in a file", "Changes a file",
                                                     "Puts a new text where an old one is"}),
                         {path_name, old_name, new_name});
  const InventedFile& file = scene->AnyFile();
  const Setting& setting = draw.One(file.settings);
  const std::string value = draw.Word();
  if (draw.Chance(0.5)) {
    scene->AskUser({kLeads, kEditAsks, kMarks},
                   {{"p", file.path}, {"a", setting.value}, {"b", value}});
    scene->Call(tool,
                Arguments({{path_name, file.path}, {old_name, setting.value}, {new_name, value}}),
                "1 replacement");
  } else {
    scene->AskUser({kLeads, kSetAsks, kMarks},
                   {{"p", file.path}, {"k", setting.key}, {"b", value}});
    scene->Call("read", Arguments({{"path", file.path}}));
    scene->Call(tool,
                Arguments({{path_name, file.path},
                           {old_name, file.Line(setting)},
                           {new_name, file.Line({setting.key, value})}}),
                "1 replacement");
  }
  scene->Say("Done.", "");
}

void CommandGoal(WorkspaceScene* scene) {
  Draw& draw = scene->draw();
  const std::string command_name = draw.One<std::string>({"command", "cmd", "line", "input"});
  const std::string tool =
      scene->AddHostTool(kRunVerbs, kRunEnds,
                         draw.One<std::string_view>({"Runs a command", "Executes a shell command",
                                                     "Starts a program and gives its output"}),
                         {command_name});
  const std::string word = draw.Word();
  const std::string arguments = draw.One<std::string>({"", " -v", " --all", " " + word});
  const std::string command = draw.Word() + arguments;
  if (draw.Chance(0.2)) {
    const std::string error = "command not found: " + command.substr(0, command.find(' '));
    scene->AskUser({kLeads, kRunAsks, kMarks}, {{"c", command}, {"k", "status"}});
    scene->Call(tool, Arguments({{command_name, command}}), "ERROR: " + error);
    return scene->Say("The tool failed: " + error + ".", error);
  }
  const InventedFile& made_up = scene->AnyFile();
  const Setting& setting = draw.One(made_up.settings);
  std::string output;
  for (const Setting& line : made_up.settings)
    output += (output.empty() ? "" : "\n") + line.key + ": " + line.value;
  scene->AskUser({kLeads, kRunAsks, kMarks}, {{"c", command}, {"k", setting.key}});
  scene->Call(tool, Arguments({{command_name, command}}), output);
  SayKey(setting, scene);
}

}  // namespace

Conversation WorkspaceTask(Draw& draw, const TaskSetting& setting, WorkspaceGoal goal,
                           std::vector<std::pair<std::string, std::string>>* folder_files) {
  static_cast<void>(setting);
  WorkspaceScene scene(draw, "workspace");
  switch (goal) {
    case WorkspaceGoal::kRead: ReadGoal(&scene); break;
    case WorkspaceGoal::kFind: FindGoal(&scene); break;
    case WorkspaceGoal::kGrep: GrepGoal(&scene); break;
    case WorkspaceGoal::kWrite: WriteGoal(&scene); break;
    case WorkspaceGoal::kEdit: EditGoal(&scene); break;
    case WorkspaceGoal::kCommand: CommandGoal(&scene); break;
  }
  if (folder_files != nullptr) {
    for (const auto& [path, content] : scene.memory().files())
      folder_files->emplace_back(path, content);
  }
  return scene.Take();
}

}  // namespace baleen::training

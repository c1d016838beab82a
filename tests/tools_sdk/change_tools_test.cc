// write, edit and glob over a real directory; what ignore files leave out.
#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/workspace/workspace.h"
#include "runtime/workspace/workspace_editor.h"
#include "tests/testing/temp_directory.h"
#include "tools_sdk/builtin/builtin.h"
#include "tools_sdk/builtin/edit.h"
#include "tools_sdk/builtin/glob.h"
#include "tools_sdk/builtin/read.h"
#include "tools_sdk/builtin/todo.h"
#include "tools_sdk/builtin/write.h"
#include "tools_sdk/schema.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

struct Fixture {
  Fixture() {
    files = std::move(*Workspace::Open(temp.path()));
    editor = std::make_unique<WorkspaceEditor>(files);
    context.files = files.get();
    context.changes = editor.get();
  }
  std::string Run(std::unique_ptr<Tool> tool, const Json& arguments) {
    const ToolResult result = tool->Call({"id", tool->spec().name, arguments.dump()}, context);
    failed = result.outcome == ToolOutcome::kError;
    CHECK(static_cast<int64_t>(result.content.size()) <= tool->spec().output_bytes_max);
    CHECK(Utf8ValidPrefix(result.content) == result.content.size());
    return result.content;
  }
  std::string Edit(const Json& old_text, const Json& new_text, bool all = false) {
    return Run(NewEditTool(), {{"path", "a.txt"},
                               {"old_string", old_text},
                               {"new_string", new_text},
                               {"replace_all", all}});
  }
  std::string Text() const {
    std::ifstream file(temp.File("a.txt"), std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  TempDirectory temp;
  std::shared_ptr<const Workspace> files;
  std::unique_ptr<WorkspaceEditor> editor;
  CallContext context;
  bool failed = false;
};

bool Has(const std::string& text, std::string_view part) {
  INFO(text);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

TEST_CASE("OptionalToolsHaveSchemasAndChangesAskForLeave") {
  for (const auto& tool : MakeOptionalTools()) {
    INFO(tool->spec().name);
    CHECK(Schema::Parse(tool->spec().parameters).ok());
    const std::string& name = tool->spec().name;
    const bool changes = name == "write" || name == "edit" || name == "remember";
    CHECK((tool->spec().effect == EffectClass::kPure) == !changes);
  }
}

TEST_CASE("WriteWantsToHaveReadWhatItReplaces") {
  Fixture f;
  CHECK(f.Run(NewWriteTool(), {{"path", "a.txt"}, {"content", "one\ntwo"}}) ==
        "created 'a.txt': 2 lines, 7 bytes");
  CHECK(f.Run(NewWriteTool(), {{"path", "a.txt"}, {"content", "three\n"}}) ==
        "replaced 'a.txt': 1 lines, 6 bytes");  // what it wrote itself it knows
  f.temp.Write("a.txt", "somebody's");
  CHECK(Has(f.Run(NewWriteTool(), {{"path", "a.txt"}, {"content", "x"}}), "has changed since"));
  CHECK(f.failed);
  CHECK(f.Text() == "somebody's");
  f.Run(NewReadTool(), {{"path", "a.txt"}});
  CHECK(Has(f.Run(NewWriteTool(), {{"path", "a.txt"}, {"content", "x"}}), "replaced"));
  f.temp.Write("b.txt", "unseen");
  CHECK(Has(f.Run(NewWriteTool(), {{"path", "b.txt"}, {"content", "x"}}), "not read it"));
  CHECK(Has(f.Run(NewWriteTool(), {{"path", "b.txt"}, {"content", "unseen"}}), "already"));
  CHECK(!f.failed);
  CHECK(Has(f.Run(NewWriteTool(), {{"path", "../b.txt"}, {"content", "x"}}), "'..'"));
  f.context.changes = nullptr;
  CHECK(Has(f.Run(NewWriteTool(), {{"path", "c"}, {"content", "x"}}), "no workspace"));
}

TEST_CASE("EditReplacesOnePlaceAndShowsIt") {
  Fixture f;
  f.temp.Write("a.txt", "a\nb\nc\nd\ne\nf\ng\n");
  CHECK(
      f.Edit("d\n", "D1\nD2\n") ==
      "edited 'a.txt': 1 place\n  1: a\n  2: b\n  3: c\n+ 4: D1\n+ 5: D2\n  6: e\n  7: f\n  8: g");
  CHECK(f.Text() == "a\nb\nc\nD1\nD2\ne\nf\ng\n");
  CHECK(Has(f.Edit("g\n", ""), "1 place"));
  CHECK(f.Text() == "a\nb\nc\nD1\nD2\ne\nf\n");
  CHECK(Has(f.Edit("D", "E", true), "2 places"));
  CHECK(f.Text() == "a\nb\nc\nE1\nE2\ne\nf\n");
}

TEST_CASE("EditRefusesWithReasons") {
  Fixture f;
  f.temp.Write("a.txt", "x = 1\ny = 1\nx = 1\naaa\n");
  CHECK(Has(f.Edit("x = 1", "x = 2"), "2 places of 'a.txt', at lines 1, 3."));
  CHECK(Has(f.Edit("aa", "b"), "at lines 4, 4."));  // which of two that overlap?
  CHECK(Has(f.Edit("y = 1", "y = 1"), "the same"));
  CHECK(Has(f.Edit("y = 1x", "y"), "nearest lines"));
  CHECK(Has(f.Edit("nothing of the kind ~~~~", "y"), "No line of the file looks like it"));
  f.Run(NewReadTool(), {{"path", "a.txt"}});
  f.temp.Write("a.txt", "y = 1\n");
  CHECK(Has(f.Edit("y = 1", "y = 2"), "has changed since you read it"));
  CHECK(f.failed);
  CHECK(f.Text() == "y = 1\n");
  f.temp.Write("a.txt", std::string_view("y\0z", 3));
  f.Run(NewReadTool(), {{"path", "a.txt"}});
  CHECK(Has(f.Edit("y", "x"), "binary"));
}

TEST_CASE("EditNamesBlanksTabsAndCase") {
  Fixture f;
  f.temp.Write("a.txt", "if (a) {\n\treturn  Foo;  \n}\n");
  CHECK(
      Has(f.Edit("if (a) {\n    return  Foo;  \n}", "x"), "1 tabs where old_string has 4 spaces"));
  CHECK(Has(f.Edit("\treturn  Foo;\n}", "x"), "a line of the file has blanks at its end"));
  CHECK(Has(f.Edit("\treturn  foo;  ", "x"), "upper and lower case differ"));
  CHECK(Has(f.Edit("\treturn Foo;  ", "x"), "the number of blanks inside a line differs"));
  CHECK(Has(f.Edit("if\t(a) {\n\treturn  Foo;  ", "x"), "tabs and spaces inside a line differ"));
  CHECK(Has(f.Edit("if (a) {\r\n\treturn  Foo;  ", "x"), "old_string's lines end with CRLF"));
}

TEST_CASE("EditKeepsTheFilesLineEnds") {
  Fixture f;
  f.temp.Write("a.txt", "one\r\ntwo\r\nthree\r\n");
  CHECK(Has(f.Edit("one\ntwo", "1\n2"), "1 place"));
  CHECK(f.Text() == "1\r\n2\r\nthree\r\n");
  CHECK(Has(f.Edit("three", "3\n4"), "1 place"));
  CHECK(f.Text() == "1\r\n2\r\n3\r\n4\r\n");
  f.temp.Write("b.txt", "");
  f.temp.Write("a.txt", "one\r\ntwo\nthree\n");  // mixed
  f.Run(NewReadTool(), {{"path", "a.txt"}});
  CHECK(Has(f.Edit("one\ntwo\nthree", "x"), "CRLF"));
  CHECK(f.failed);
}

TEST_CASE("GlobShowsTheNewestFirst") {
  Fixture f;
  for (int i = 0; i < 120; ++i) {
    const std::string name = "src/f" + std::to_string(i) + ".cc";
    f.temp.Write(name, "");
    const timespec times[2] = {{1000 + i, 0}, {1000 + i, 0}};
    REQUIRE(utimensat(AT_FDCWD, f.temp.File(name).c_str(), times, 0) == 0);
  }
  const std::string found = f.Run(NewGlobTool(), {{"pattern", "*.cc"}});
  CHECK(found.starts_with("src/f119.cc\nsrc/f118.cc\n"));
  CHECK(found.ends_with("src/f20.cc\n[20 older files fit too; narrow the pattern]"));
  CHECK(f.Run(NewGlobTool(), {{"pattern", "f7.cc"}, {"path", "./src/"}}) == "src/f7.cc");
  CHECK(f.Run(NewGlobTool(), {{"pattern", "src/f7.cc"}, {"path", "src"}}) == "[no file fits]");
  CHECK(Has(f.Run(NewGlobTool(), {{"pattern", "*"}, {"path", "../"}}), "outside the workspace"));
}

TEST_CASE_METHOD(Fixture, "APlanIsShownAsItStandsAndOneThingIsDoneAtATime") {
  const auto plan = [&](const std::vector<std::pair<std::string, std::string>>& items) {
    Json arguments{{"items", Json::array()}};
    for (const auto& [text, state] : items) {
      arguments["items"].push_back({{"text", text}, {"state", state}});
    }
    return Run(NewTodoTool(), arguments);
  };
  CHECK(plan({{"look", "done"}, {"change\nit", "doing"}, {"test", "open"}}) ==
        "[x] look\n[>] change it\n[ ] test\n[1 of 3 done]");
  CHECK_FALSE(failed);
  CHECK(plan({}) == "[0 of 0 done]");
  CHECK(Has(plan({{"a", "doing"}, {"b", "doing"}}), "one at a time"));
  CHECK(failed);
  plan({{"a", "finished"}});
  CHECK(failed);
  plan({{std::string(301, 'a'), "open"}});
  CHECK(failed);
}

}  // namespace
}  // namespace baleen

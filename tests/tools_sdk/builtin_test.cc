// The shipped tools over a real directory.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>

#include "runtime/workspace/workspace.h"
#include "tests/testing/temp_directory.h"
#include "tools_sdk/builtin/grep.h"
#include "tools_sdk/builtin/list.h"
#include "tools_sdk/builtin/read.h"
#include "tools_sdk/schema.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

struct Fixture {
  Fixture() {
    Result<std::unique_ptr<Workspace>> opened = Workspace::Open(temp.path());
    REQUIRE(opened.ok());
    files = std::move(opened).value();
    context.files = files.get();
  }
  std::string Run(std::unique_ptr<Tool> tool, const std::string& arguments) {
    result = tool->Call({"id", tool->spec().name, arguments}, context);
    CHECK(result.call_id == "id");
    CHECK(static_cast<int64_t>(result.content.size()) <= tool->spec().output_bytes_max);
    CHECK(Utf8ValidPrefix(result.content) == result.content.size());
    return result.content;
  }
  bool Failed() const { return result.outcome == ToolOutcome::kError; }

  TempDirectory temp;
  std::unique_ptr<Workspace> files;
  CallContext context;
  ToolResult result;
};

TEST_CASE("BuiltinSchemasAreSupported") {
  for (const auto& tool : {NewReadTool(), NewListTool(), NewGrepTool()}) {
    const Result<Schema> schema = Schema::Parse(tool->spec().parameters);
    INFO(tool->spec().name << ": " << schema.status().message());
    CHECK(schema.ok());
    CHECK(tool->spec().effect == EffectClass::kPure);
  }
}

TEST_CASE("ReadNumbersLinesAndSaysHowToGoOn") {
  Fixture f;
  f.temp.Write("a.txt", "one\r\ntwo\nthree");
  CHECK(f.Run(NewReadTool(), R"({"path":"a.txt"})") == "1: one\n2: two\n3: three");
  CHECK(f.Run(NewReadTool(), R"({"path":"a.txt","offset":2,"limit":1})") ==
        "2: two\n[more lines follow; read on with offset=3]");
  CHECK(f.Run(NewReadTool(), R"({"path":"a.txt","limit":2})") ==
        "1: one\n2: two\n[more lines follow; read on with offset=3]");
  CHECK(f.Run(NewReadTool(), R"({"path":"a.txt","offset":3})") == "3: three");
  CHECK(f.Run(NewReadTool(), R"({"path":"a.txt","offset":9})") ==
        "[the file has 3 lines; offset 9 is past its end]");
  f.temp.Write("empty", "");
  CHECK(f.Run(NewReadTool(), R"({"path":"empty"})") ==
        "[the file has 0 lines; offset 1 is past its end]");
}

TEST_CASE("ReadCrossesChunksAndCutsLongLines") {
  Fixture f;
  std::string text;
  for (int i = 1; i <= 300'000; ++i) text += "line " + std::to_string(i) + "\n";
  text += std::string(5'000'000, 'x') + "\nlast\n";
  f.temp.Write("big", text);
  CHECK(f.Run(NewReadTool(), R"({"path":"big","offset":299999,"limit":2})") ==
        "299999: line 299999\n300000: line 300000\n"
        "[more lines follow; read on with offset=300001]");
  const std::string cut = f.Run(NewReadTool(), R"({"path":"big","offset":300001})");
  CHECK(cut ==
        "300001: " + std::string(2000, 'x') + " [4998000 more bytes in this line]\n300002: last");
}

TEST_CASE("ReadStopsAtItsByteLimit") {
  Fixture f;
  std::string text;
  for (int i = 0; i < 400; ++i) text += std::string(1000, 'y') + "\n";
  f.temp.Write("wide", text);
  const std::string first = f.Run(NewReadTool(), R"({"path":"wide"})");
  const size_t at = first.rfind("offset=");
  REQUIRE(at != std::string::npos);
  const std::string next =
      f.Run(NewReadTool(),
            R"({"path":"wide","offset":)" + std::to_string(std::stoi(first.substr(at + 7))) + "}");
  CHECK(next.rfind(first.substr(at + 7, first.size() - at - 8) + ": y", 0) == 0);
}

TEST_CASE("ReadRefusesBinaryAndSuggestsNames") {
  Fixture f;
  f.temp.Write("x.bin", std::string_view("\x7f"
                                         "ELF\0\0",
                                         6));
  CHECK(f.Run(NewReadTool(), R"({"path":"x.bin"})").find("binary") != std::string::npos);
  CHECK(f.Failed());
  f.temp.Write("src/Main.cc", "");
  CHECK(f.Run(NewReadTool(), R"({"path":"src/main.cpp"})").find("Did you mean: src/Main.cc?") !=
        std::string::npos);
  CHECK(f.Failed());
  CHECK(f.Run(NewReadTool(), R"({"path":"../../etc/passwd"})").find("outside the workspace") !=
        std::string::npos);
  CHECK(f.Run(NewReadTool(), R"({"path":"src"})").find("is a directory") != std::string::npos);
  CHECK(f.Run(NewReadTool(), R"({"file":"src"})").find("'path' is missing") != std::string::npos);
  f.temp.Write("latin", "caf\xe9\n");
  CHECK(f.Run(NewReadTool(), R"({"path":"latin"})") == "1: caf\xEF\xBF\xBD");
  f.context.files = nullptr;
  CHECK(f.Run(NewReadTool(), R"({"path":"latin"})") == "this session has no workspace");
}

TEST_CASE("ListShowsLevelsSizesAndLinks") {
  Fixture f;
  CHECK(f.Run(NewListTool(), "{}") == "[the directory is empty]");
  f.temp.Write("b/c/d.txt", "1234");
  f.temp.Write("a.txt", "12");
  f.temp.Write("new\nline", "");
  std::filesystem::create_symlink("a.txt", f.temp.File("z"));
  CHECK(f.Run(NewListTool(), "{}") == "a.txt  2\nb/\nnew?line  0\nz@");
  CHECK(f.Run(NewListTool(), R"({"depth":3})") ==
        "a.txt  2\nb/\n  c/\n    d.txt  4\nnew?line  0\nz@");
  CHECK(f.Run(NewListTool(), R"({"path":"b/c"})") == "d.txt  4");
  CHECK(f.Run(NewListTool(), R"({"path":"x"})").find("No such file") != std::string::npos);
  CHECK(f.Failed());
}

TEST_CASE("ListSaysWhenItWasCut") {
  Fixture f;
  for (int i = 0; i < 2100; ++i) f.temp.Write("f" + std::to_string(i), "");
  CHECK(f.Run(NewListTool(), "{}").find("[there is more than fits") != std::string::npos);
}

TEST_CASE("GrepGroupsByFileAndHonoursItsOptions") {
  Fixture f;
  f.temp.Write("a.cc", "int x;\nfoo(x); foo(y);\nFOO\n");
  f.temp.Write("sub/b.h", "no\nfoo.*bar");
  f.temp.Write(".git/config", "foo");
  f.temp.Write("bin", std::string_view("foo\0", 4));
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"foo"})") ==
        "a.cc\n  2: foo(x); foo(y);\nsub/b.h\n  2: foo.*bar");
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"foo","ignore_case":true,"include":"*.c?"})") ==
        "a.cc\n  2: foo(x); foo(y);\n  3: FOO");
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"o\\(.\\).*y"})") == "a.cc\n  2: foo(x); foo(y);");
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"o.*b","literal":true})") == "sub/b.h\n  2: foo.*bar");
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"foo","path":"a.cc"})") == "a.cc\n  2: foo(x); foo(y);");
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"zebra"})") == "[no match in 3 files]");
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"foo","max_results":1})")
            .find("[stopped: more than 1 matching lines") != std::string::npos);
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"foo","path":"none"})").find("No such file") !=
        std::string::npos);
  CHECK(f.Failed());
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"a\nb"})").find("one line") != std::string::npos);
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"foo("})").find("missing ): foo(. Escape") !=
        std::string::npos);
  CHECK(f.Failed());
}

TEST_CASE("GrepShowsLinesUpToItsLimits") {
  Fixture f;
  std::string text;
  for (int i = 0; i < 300; ++i) text += "hit\r\n";
  f.temp.Write("hits", text);
  const std::string many = f.Run(NewGrepTool(), R"({"pattern":"^hit$"})");
  CHECK(std::count(many.begin(), many.end(), '\n') == 251);
  CHECK(many.find("  250: hit\n[stopped: more than 250 matching lines; narrow the search]") !=
        std::string::npos);
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"hit","max_results":3})")
            .find("narrow the search or raise max_results]") != std::string::npos);
  f.temp.Write("long", "b" + std::string(2500, 'a'));
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"ba+$"})") ==
        "long\n  1: b" + std::string(1999, 'a') + " [501 more bytes in this line]");
  // Larger than what is searched at once: numbers go on, and every match is found once.
  std::string wide;
  for (int i = 0; i < 40'000; ++i) wide += "line " + std::to_string(i) + "\n";
  f.temp.Write("wide", wide);
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"^(line )(.{1,40}){0,9}9999$"})") ==
        "wide\n  10000: line 9999\n  20000: line 19999\n  30000: line 29999\n  40000: line 39999");
  f.temp.Write("wide", std::string(3'000'000, 'w') + "\nw\n");
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"^(.{1,100}){1,9}$","path":"wide"})")
            .find("wide\n  2: w\n[1 lines of more than ") == 0);
}

TEST_CASE("CancelledToolsStop") {
  Fixture f;
  f.temp.Write("a", "foo");
  const std::atomic<bool> cancelled = true;
  f.context.cancelled = &cancelled;
  CHECK(f.Run(NewGrepTool(), R"({"pattern":"foo"})") == "grep was cancelled");
  CHECK(f.Run(NewReadTool(), R"({"path":"a"})") == "read was cancelled");
  CHECK(f.Run(NewListTool(), "{}") == "list was cancelled");
}

}  // namespace
}  // namespace baleen

// Patterns of file names, and what ignore files leave out of a search.
#include <catch2/catch.hpp>

#include "runtime/workspace/workspace.h"
#include "tests/testing/temp_directory.h"
#include "tools_sdk/builtin/glob_pattern.h"
#include "tools_sdk/builtin/grep.h"

namespace baleen {
namespace {

TEST_CASE("GlobKnowsRipgrepsPatterns") {
  const auto fits = [](std::string_view glob, std::string_view path) {
    const auto pattern = GlobPattern::ParseForNames(glob);
    INFO(glob << ": " << pattern.status().message());
    REQUIRE(pattern.ok());
    return pattern->Matches(path);
  };
  CHECK(fits("*.cc", "a.cc"));
  CHECK(fits("*.cc", "x/y/a.cc"));
  CHECK(!fits("/*.cc", "x/a.cc"));
  CHECK(fits("x/*.cc", "x/a.cc"));
  CHECK(!fits("x/*.cc", "x/y/a.cc"));
  CHECK(fits("x/**/*.cc", "x/a.cc"));
  CHECK(fits("x/**/*.cc", "x/y/z/a.cc"));
  CHECK(fits("x/**", "x/y/z"));
  CHECK(!fits("x/**", "x"));
  CHECK(fits("**", "x/y"));
  CHECK(fits("a?.[ch]", "ab.h"));
  CHECK(!fits("a[!b]", "ab"));
  CHECK(!fits("a[!b]c", "a/c"));
  CHECK(fits("[]a]", "]"));
  CHECK(fits("*.{cc,h}", "x.h"));
  CHECK(fits("a\\*", "a*"));
  CHECK(!fits("a\\*", "ab"));
  CHECK(fits("a+(b).c", "a+(b).c"));
  CHECK(!GlobPattern::ParseForNames("[a").ok());
  CHECK(!GlobPattern::ParseForNames("{a").ok());
  CHECK(!GlobPattern::ParseForNames("a\\").ok());
  CHECK(!GlobPattern::ParseForNames("[b-a]").ok());
  CHECK(!GlobPattern::ParseForNames(std::string(2000, '*')).ok());
}

TEST_CASE("SearchesLeaveOutWhatIgnoreFilesName") {
  const TempDirectory temp;
  const std::unique_ptr<Workspace> files = std::move(*Workspace::Open(temp.path()));
  CallContext context;
  context.files = files.get();
  const auto grep = [&](const std::string& arguments) {
    return NewGrepTool()->Call({"id", "grep", arguments}, context).content;
  };
  temp.Write(".gitignore", "*.log\n/build/\n!keep.log\n# no rule\n\\#odd\n");
  temp.Write("a.log", "foo");
  temp.Write("keep.log", "foo");
  temp.Write("build/x", "foo");
  temp.Write("src/build/x", "foo");
  temp.Write("src/.gitignore", "inner.txt\n");
  temp.Write("src/inner.txt", "foo");
  temp.Write("src/.ignore", "!inner.txt\n");
  temp.Write("#odd", "foo");
  temp.Write(".hidden", "foo");
  const std::string left_out =
      "\n[ignore files leave out 3 files or directories; a path to one searches it]";
  CHECK(grep(R"({"pattern":"foo"})") ==
        ".hidden\n  1: foo\nkeep.log\n  1: foo\nsrc/build/x\n  1: foo\nsrc/inner.txt\n  1: foo" +
            left_out);
  CHECK(grep(R"({"pattern":"foo","path":"build"})") == "build/x\n  1: foo");
  CHECK(grep(R"({"pattern":"foo","path":"a.log"})") == "a.log\n  1: foo");
  CHECK(grep(R"({"pattern":"foo","include":"*.{log,txt}"})") ==
        "keep.log\n  1: foo\nsrc/inner.txt\n  1: foo" + left_out);
  CHECK(grep(R"({"pattern":"zebra"})").find("ignore files leave out 3 files") != std::string::npos);
}

}  // namespace
}  // namespace baleen

// An invented workspace gives the very results that the same files on disk give.
#include "model/training/corpus/memory_files.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "runtime/workspace/workspace.h"
#include "tests/testing/temp_directory.h"
#include "tools_sdk/builtin/builtin.h"

namespace baleen::training {
namespace {

TEST_CASE("Built-in tools answer alike in memory and on disk", "[corpus]") {
  const std::pair<const char*, const char*> files[] = {{"a.txt", "one\ntwo needle\n"},
                                                       {"a/x.txt", "needle\n"},
                                                       {"a-b/y.md", "nothing\n"},
                                                       {"a/deep/z.conf", "port = 80\n"},
                                                       {"b.md", ""},
                                                       {"config/zor.ini", "k: v\nneedle\n"}};
  TempDirectory folder;
  MemoryFiles memory;
  for (const auto& [path, content] : files) {
    memory.Put(path, content);
    std::filesystem::create_directories(std::filesystem::path(folder.File(path)).parent_path());
    std::ofstream(folder.File(path), std::ios::binary) << content;
  }
  const auto workspace = Workspace::Open(folder.path());
  REQUIRE(workspace.ok());
  const std::pair<const char*, const char*> calls[] = {
      {"list", "{}"},
      {"list", R"({"depth": 3})"},
      {"list", R"({"path": "a"})"},
      {"list", R"({"path": "./a/"})"},
      {"list", R"({"path": "none"})"},
      {"list", R"({"path": "a.txt"})"},
      {"list", R"({"path": ".."})"},
      {"read", R"({"path": "a/deep/z.conf"})"},
      {"read", R"({"path": "./a.txt"})"},
      {"read", R"({"path": "b.md"})"},
      {"read", R"({"path": "a"})"},
      {"read", R"({"path": "a/x.doc"})"},
      {"read", R"({"path": "a/quite/other.txt"})"},
      {"read", R"({"path": "/etc/passwd"})"},
      {"grep", R"({"pattern": "needle"})"},
      {"grep", R"({"pattern": "needle", "path": "a"})"},
      {"grep", R"({"pattern": "absent"})"},
      {"grep", R"({"pattern": "needle", "include": "*.txt"})"}};
  for (const auto& [name, arguments] : calls) {
    for (const auto& tool : MakeBuiltinTools()) {
      if (tool->spec().name != name) continue;
      CallContext in_memory, on_disk;
      in_memory.files = &memory;
      on_disk.files = workspace->get();
      ToolCall call;
      call.name = name;
      call.arguments = arguments;
      const ToolResult made_up = tool->Call(call, in_memory);
      const ToolResult real = tool->Call(call, on_disk);
      INFO(name << arguments);
      CHECK(made_up.outcome == real.outcome);
      CHECK(made_up.content == real.content);
    }
  }
}

}  // namespace
}  // namespace baleen::training

// The tree obeys our rules of structure and naming, and each rule can fail.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/testing/test_paths.h"
#include "tests/tidy/rules.h"

namespace baleen::tidy {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> SourceFiles() {
  std::vector<std::string> files;
  const fs::path root = kSourceDir;
  for (const char* top :
       {"kernels", "model", "agent", "tools_sdk", "runtime", "examples", "tests", "proto"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const std::string extension = entry.path().extension().string();
      if (entry.is_regular_file() && (extension == ".h" || extension == ".cc")) {
        files.push_back(fs::relative(entry.path(), root).string());
      }
    }
  }
  return files;
}

std::string ReadSource(const std::string& path) {
  std::ifstream file(fs::path(kSourceDir) / path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST_CASE("TheTreeObeysItsRules") {
  const auto files = SourceFiles();
  REQUIRE(files.size() > 50);
  for (const std::string& path : files) {
    for (const std::string& finding : CheckFile(path, ReadSource(path))) {
      UNSCOPED_INFO(path << ":" << finding);
      CHECK(finding.empty());
    }
  }
}

TEST_CASE("NoTwoTypesHaveOneName") {
  std::map<std::string, std::string> places;  // by name
  for (const std::string& path : SourceFiles()) {
    for (const std::string& type : DefinedTypes(ReadSource(path))) {
      const auto [known, is_new] = places.emplace(type, path);
      CAPTURE(type, path, known->second);
      // Of two tests, each is a program of its own.
      CHECK((is_new || (path.starts_with("tests/") && known->second.starts_with("tests/"))));
    }
  }
  CHECK(places.size() > 500);
}

TEST_CASE("DefinedTypesAreThoseThatOtherFilesSee") {
  CHECK(DefinedTypes("namespace baleen {\nclass A final : public B {\n  struct In {\n};\n"
                     "struct Later;\nenum class E { kOne };\n}  // namespace baleen\n") ==
        std::vector<std::string>{"baleen::A"});
  CHECK(DefinedTypes("namespace baleen::cli {\nnamespace {\nstruct A {\n};\n}  // namespace\n"
                     "struct B {\n") == std::vector<std::string>{"baleen::cli::B"});
}

TEST_CASE("PublicHeadersExist") {
  for (const std::string& header : PublicHeaders()) {
    CHECK(fs::exists(fs::path(kSourceDir) / header));
  }
}

TEST_CASE("LayerViolationIsFound") {
  CHECK(CheckIncludes("agent/x.cc", "#include \"model/model.h\"\n").size() == 1);
  CHECK(CheckIncludes("kernels/x.cc", "#include \"tools_sdk/status.h\"\n").size() == 1);
  CHECK(CheckIncludes("model/x.cc", "#include \"agent/agent.h\"\n").size() == 1);
  CHECK(CheckIncludes("runtime/store/x.cc", "#include \"runtime/runtime.h\"\n").size() == 1);
  CHECK(CheckIncludes("runtime/x.cc", "#include \"model/model.h\"\n").empty());
}

TEST_CASE("ForeignHeaderOutsideItsPlaceIsFound") {
  CHECK(CheckForeignHeaders("runtime/x.cc", "#include <rocksdb/db.h>\n").size() == 1);
  CHECK(CheckForeignHeaders("runtime/sessions/x.cc", "#include <sqlite3.h>\n").size() == 1);
  CHECK(CheckForeignHeaders("runtime/cli/x.cc", "#include <grpcpp/grpcpp.h>\n").size() == 1);
  CHECK(CheckForeignHeaders("runtime/x.cc", "#include <lua.h>\n").size() == 1);
  CHECK(CheckForeignHeaders("runtime/x.cc", "#include <curl/curl.h>\n").size() == 1);
  CHECK(CheckForeignHeaders("runtime/x.cc", "#include \"baleen/v1/turns.pb.h\"\n").size() >= 1);
  CHECK(CheckForeignHeaders("runtime/x.cc", "#include <toml++/toml.h>\n").size() == 1);
  CHECK(CheckForeignHeaders("runtime/store/x.cc", "#include <rocksdb/db.h>\n").empty());
}

TEST_CASE("ForeignTypeInPublicHeaderIsFound") {
  CHECK(CheckPublicHeader("runtime/runtime.h", "rocksdb::DB* db;\n").size() == 1);
  CHECK(CheckPublicHeader("tools_sdk/tool.h", "nlohmann::json arguments;\n").size() == 1);
  CHECK(CheckPublicHeader("runtime/runtime.h", "#include \"model/model.h\"\n").size() == 1);
  CHECK(CheckPublicHeader("runtime/runtime.h", "#include \"tools_sdk/status.h\"\n").empty());
  CHECK(CheckPublicHeader("runtime/clock.h", "rocksdb::DB* db;\n").empty());
}

TEST_CASE("BannedNameIsFound") {
  CHECK(CheckNames("runtime/session_manager.cc", "").size() == 1);
  CHECK(CheckNames("runtime/utils.h", "").size() == 1);
  CHECK(CheckNames("runtime/x.h", "class SessionManager {\n").size() == 1);
  CHECK(CheckNames("runtime/x.h", "struct ModelInfo {\n").size() == 1);
  CHECK(CheckNames("runtime/x.h", "void process_tokens(int a);\n").size() == 1);
  CHECK(CheckNames("runtime/x.h", "class Session {\n").empty());
}

TEST_CASE("BannedPhraseIsFound") {
  CHECK(CheckPhrases("runtime/x.cc", "  } catch (...) {\n").size() == 1);
  CHECK(CheckPhrases("runtime/x.cc", "  (void)status;\n").size() == 1);
  CHECK(CheckPhrases("model/x.cc", "  std::cout << 1;\n").size() == 1);
  CHECK(CheckPhrases("model/x.cc", "  std::exit(1);\n").size() == 1);
  CHECK(CheckPhrases("model/x.cc", "  getenv(\"X\");\n").size() == 1);
  CHECK(CheckPhrases("runtime/cli/x.cc", "  std::cout << 1;\n").empty());
  CHECK(CheckPhrases("model/x.cc", "  // std::cout is for hosts\n").empty());
}

TEST_CASE("OversizedFileIsFound") {
  CHECK(CheckSize("runtime/x.cc", std::string(1300, '\n')).size() == 1);
  CHECK(CheckSize("runtime/x.cc", std::string(1200, '\n')).empty());
}

}  // namespace
}  // namespace baleen::tidy

#include "tests/tidy/rules.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include <re2/re2.h>

namespace baleen::tidy {
namespace {

using Findings = std::vector<std::string>;

void ForEachLine(std::string_view text, const std::function<void(int, const std::string&)>& visit) {
  int number = 1;
  size_t begin = 0;
  while (begin < text.size()) {
    size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) end = text.size();
    visit(number++, std::string(text.substr(begin, end - begin)));
    begin = end + 1;
  }
}

std::string At(int line, const std::string& what) { return std::to_string(line) + ": " + what; }

std::string TopFolder(std::string_view path) { return std::string(path.substr(0, path.find('/'))); }

/// The code of a line: without a trailing comment and without string literals.
std::string CodeOf(const std::string& line) {
  static const RE2 kLiteral(R"("([^"\\]|\\.)*")");
  std::string code = line;
  RE2::GlobalReplace(&code, kLiteral, "\"\"");
  if (const size_t comment = code.find("//"); comment != std::string::npos) code.resize(comment);
  return code;
}

/// Which folders each folder may include.
const std::map<std::string, std::set<std::string>>& Layers() {
  static const std::map<std::string, std::set<std::string>> kLayers = {
      {"kernels", {"kernels"}},
      {"tools_sdk", {"tools_sdk"}},
      {"model", {"model", "kernels", "tools_sdk"}},
      {"agent", {"agent", "tools_sdk"}},
      {"runtime", {"runtime", "agent", "model", "kernels", "tools_sdk"}},
      {"examples", {"runtime", "tools_sdk", "model", "kernels"}},
  };
  return kLayers;
}

struct ForeignRule {
  const char* pattern;  ///< Of the include line's target.
  const char* home;     ///< The one folder that may have it.
};

const std::vector<ForeignRule>& ForeignRules() {
  static const std::vector<ForeignRule> kRules = {
      {"^rocksdb/", "runtime/store/"},  {"^sqlite3", "runtime/store/"},
      {"^grpc", "runtime/grpc/"},       {"^google/", "runtime/grpc/"},
      {"^baleen/v1/", "runtime/grpc/"}, {R"(\.pb\.h$)", "runtime/grpc/"},
      {"^absl/", "runtime/grpc/"},      {"^(lua5\\.4/)?(lua|lauxlib|lualib)\\.h", "agent/"},
      {"^curl/", "runtime/http/"},      {"^CLI/", "runtime/cli/"},
      {"^spdlog/", "runtime/cli/"},     {R"(^toml\+\+/)", "runtime/cli/"},
      {"^prometheus/", "runtime/cli/"},
  };
  return kRules;
}

bool IsLibrary(std::string_view path) {
  return Layers().count(TopFolder(path)) != 0 && !path.starts_with("examples/") &&
         !path.starts_with("runtime/cli/");
}

}  // namespace

const std::vector<std::string>& PublicHeaders() {
  static const std::vector<std::string> kHeaders = {"tools_sdk/status.h",
                                                    "tools_sdk/message.h",
                                                    "tools_sdk/tool.h",
                                                    "runtime/approval.h",
                                                    "runtime/budget.h",
                                                    "runtime/engine_options.h",
                                                    "runtime/http_tool_options.h",
                                                    "runtime/mcp_options.h",
                                                    "runtime/secret_options.h",
                                                    "runtime/observer.h",
                                                    "runtime/script.h",
                                                    "runtime/session.h",
                                                    "runtime/runtime.h"};
  return kHeaders;
}

Findings CheckIncludes(std::string_view path, std::string_view text) {
  Findings findings;
  const auto layer = Layers().find(TopFolder(path));
  if (layer == Layers().end()) return findings;
  static const RE2 kInclude(R"(^\s*#include\s+"([^"]+)\")");
  ForEachLine(text, [&](int number, const std::string& line) {
    std::string target;
    if (!RE2::PartialMatch(line, kInclude, &target)) return;
    const std::string folder = TopFolder(target);
    if (Layers().count(folder) != 0 && layer->second.count(folder) == 0) {
      findings.push_back(At(number, "layer: " + layer->first + "/ may not include " + target));
    }
    // Inside runtime/, the stores know nobody above them.
    if (path.starts_with("runtime/store/") && target.starts_with("runtime/") &&
        !target.starts_with("runtime/store/") && target != "runtime/worker.h") {
      findings.push_back(At(number, "layer: runtime/store/ may not include " + target));
    }
  });
  return findings;
}

Findings CheckForeignHeaders(std::string_view path, std::string_view text) {
  Findings findings;
  if (Layers().count(TopFolder(path)) == 0) return findings;
  static const RE2 kInclude(R"(^\s*#include\s+[<"]([^>"]+)[>"])");
  ForEachLine(text, [&](int number, const std::string& line) {
    std::string target;
    if (!RE2::PartialMatch(line, kInclude, &target)) return;
    for (const ForeignRule& rule : ForeignRules()) {
      if (RE2::PartialMatch(target, RE2(rule.pattern)) && !path.starts_with(rule.home)) {
        findings.push_back(At(number, "foreign: " + target + " belongs in " + rule.home + " only"));
      }
    }
  });
  return findings;
}

Findings CheckPublicHeader(std::string_view path, std::string_view text) {
  Findings findings;
  const auto& headers = PublicHeaders();
  if (std::find(headers.begin(), headers.end(), path) == headers.end()) return findings;
  static const RE2 kForeign(
      R"(\b(absl|google|grpc|rocksdb|nlohmann|spdlog|CLI)::|\bsqlite3\b|\blua_State\b)");
  static const RE2 kInclude(R"(^\s*#include\s+"([^"]+)\")");
  ForEachLine(text, [&](int number, const std::string& line) {
    if (RE2::PartialMatch(CodeOf(line), kForeign)) {
      findings.push_back(At(number, "public header: names a foreign type"));
    }
    std::string target;
    if (RE2::PartialMatch(line, kInclude, &target) &&
        std::find(headers.begin(), headers.end(), target) == headers.end()) {
      findings.push_back(At(number, "public header: includes the internal " + target));
    }
  });
  return findings;
}

Findings CheckNames(std::string_view path, std::string_view text) {
  Findings findings;
  static const RE2 kFile(
      R"((^|[/_])(managers?|helpers?|utils?|common|misc|handlers?|processors?|info|data)(_|\.|/))");
  // tests/data holds data: that is what it is.
  if (!path.starts_with("tests/data/") && RE2::PartialMatch(std::string(path), kFile) &&
      path.find("data_directory") == std::string_view::npos) {
    findings.push_back("0: name: the file's name contains a banned word");
  }
  static const RE2 kType(
      R"(\b(class|struct|enum class)\s+\w*(Manager|Helper|Util|Utils|Common|Misc|Handler|Processor|Info|[a-z]Data)\b)");
  static const RE2 kFunction(R"(\b(do_|process_|Do[A-Z]\w*Helper)\w*\s*\()");
  ForEachLine(text, [&](int number, const std::string& line) {
    const std::string code = CodeOf(line);
    if (RE2::PartialMatch(code, kType) || RE2::PartialMatch(code, kFunction)) {
      findings.push_back(At(number, "name: banned word in '" + code + "'"));
    }
  });
  return findings;
}

Findings CheckPhrases(std::string_view path, std::string_view text) {
  Findings findings;
  if (path.starts_with("tests/tidy/")) return findings;  // it spells the phrases out
  struct Phrase {
    std::shared_ptr<const RE2> pattern;  // owners: the table
    const char* why;
    std::function<bool(std::string_view)> applies;
    bool in_comments;
  };
  const auto everywhere = [](std::string_view) { return true; };
  static const std::vector<Phrase> kPhrases = {
      {std::make_shared<RE2>(R"(\b(TODO|FIXME|XXX)\b)"), "open marker", everywhere, true},
      {std::make_shared<RE2>(R"(catch \(\.\.\.\))"), "catches everything",
       [](std::string_view p) {
         // Borders: the C API, and the C ABI of plugins.
         return !p.starts_with("runtime/c/") && p != "tools_sdk/include/baleen/plugin_tool.h";
       },
       false},
      {std::make_shared<RE2>(R"(\(void\)\s*\w)"), "ignores by cast; use IgnoreError(\"why\")",
       everywhere, false},
      {std::make_shared<RE2>(R"(^\s*using namespace )"), "using namespace", everywhere, false},
      {std::make_shared<RE2>(R"(\bgetenv\()"), "environment variables are read in runtime/cli only",
       [](std::string_view p) { return IsLibrary(p); }, false},
      {std::make_shared<RE2>(R"(\b(std::cout|std::cerr|printf\(|std::puts))"),
       "libraries print nothing",
       [](std::string_view p) { return IsLibrary(p) && p != "kernels/check.h"; }, false},
      {std::make_shared<RE2>(R"(\b(std::abort|std::exit|_exit|abort|exit)\()"),
       "libraries never exit",
       [](std::string_view p) { return IsLibrary(p) && p != "kernels/check.h"; }, false},
      {std::make_shared<RE2>(R"(\b(std::)?(signal|sigaction)\()"),
       "libraries install no signal actions",
       [](std::string_view p) {
         return IsLibrary(p) &&
                p != "runtime/sandbox/launcher.cc";  // in the child, back to default
       },
       false},
      {std::make_shared<RE2>(R"(std::thread |std::jthread|\.detach\(\))"),
       "threads are made in the engine, its row stream, the worker, the runtime, the pool, HTTP, "
       "commands, their proxy and gRPC only",
       [](std::string_view p) {
         return IsLibrary(p) && !p.starts_with("runtime/engine/engine.") &&
                !p.starts_with("runtime/engine/unit_loader.") && p != "runtime/worker.h" &&
                !p.starts_with("runtime/sessions/local_runtime.") &&
                !p.starts_with("kernels/cpu/") && !p.starts_with("runtime/grpc/") &&
                !p.starts_with("runtime/sandbox/command_job.") &&
                !p.starts_with("runtime/sandbox/network_proxy.") && !p.starts_with("runtime/http/");
       },
       false},
  };
  ForEachLine(text, [&](int number, const std::string& line) {
    const std::string code = CodeOf(line);
    for (const Phrase& phrase : kPhrases) {
      if (phrase.applies(path) &&
          RE2::PartialMatch(phrase.in_comments ? line : code, *phrase.pattern)) {
        findings.push_back(At(number, std::string("phrase: ") + phrase.why));
      }
    }
  });
  return findings;
}

Findings CheckSize(std::string_view path, std::string_view text) {
  constexpr int kLinesMax = 1200;
  if (path.starts_with("tests/data/")) return {};
  const auto lines = static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  if (lines <= kLinesMax) return {};
  return {"0: size: " + std::to_string(lines) + " lines; split it (at most " +
          std::to_string(kLinesMax) + ")"};
}

std::vector<std::string> DefinedTypes(std::string_view text) {
  static const RE2 kNamespace(R"(namespace ?([\w:]*) ?\{)");
  static const RE2 kType(
      R"((?:struct|class|union|enum class|enum) (?:\[\[\w+\]\] )?(\w+)(?: .*[^;])?)");
  std::vector<std::string> types, namespaces;
  ForEachLine(text, [&](int, const std::string& line) {
    std::string name;
    if (RE2::FullMatch(line, kNamespace, &name)) {
      namespaces.push_back(name);
    } else if (line.starts_with("}  // namespace") && !namespaces.empty()) {
      namespaces.pop_back();
    } else if (RE2::FullMatch(CodeOf(line), kType, &name) && !namespaces.empty() &&
               std::find(namespaces.begin(), namespaces.end(), "") == namespaces.end()) {
      std::string whole;
      for (const std::string& outer : namespaces) whole += outer + "::";
      types.push_back(whole + name);
    }
  });
  return types;
}

Findings CheckFile(std::string_view path, std::string_view text) {
  Findings all;
  for (const auto& check : {CheckIncludes, CheckForeignHeaders, CheckPublicHeader, CheckNames,
                            CheckPhrases, CheckSize}) {
    for (std::string& finding : check(path, text)) all.push_back(std::move(finding));
  }
  return all;
}

}  // namespace baleen::tidy

// What rules about commands make of shell text, with the ways around them that are known.
#include "tools_sdk/shell/command_rules.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "tests/testing/temp_directory.h"
#include "tools_sdk/shell/shell_text.h"

namespace baleen {
namespace {

/// git status, diff and log are allowed, and ls, echo and cat; rm and git push are denied; make is
/// asked about; files of out/ may be written, those of keys/ never.
const std::vector<CommandRule>& Rules() {
  static const std::vector<CommandRule> kRules = {
      {CommandLevel::kAllow, {{"git"}, {"status", "diff", "log"}}, ""},
      {CommandLevel::kAllow, {{"ls", "echo", "cat"}}, ""},
      {CommandLevel::kDeny, {{"rm"}}, ""},
      {CommandLevel::kDeny, {{"git"}, {"push"}}, ""},
      {CommandLevel::kAsk, {{"make"}}, ""},
      {CommandLevel::kAllow, {}, "out/*"},
      {CommandLevel::kDeny, {}, "keys/*"}};
  return kRules;
}

/// "-": nothing is said.
std::string Judged(std::string_view text) {
  switch (JudgeCommand(text, Rules(), false).level) {
    case CommandLevel::kAllow: return "allow";
    case CommandLevel::kAsk: return "ask";
    case CommandLevel::kDeny: return "deny";
    case CommandLevel::kNone: break;
  }
  return "-";
}

struct Expected {
  std::string_view text;
  const char* verdict;
};

TEST_CASE("EveryPartOfACommandIsJudged") {
  const Expected cases[] = {
      // One command.
      {"git status", "allow"},
      {"git  status\t-s", "allow"},
      {" git log -p -- a.c ", "allow"},
      {"git", "-"},
      {"git commit", "-"},
      {"Git status", "-"},
      {"git -c core.pager=x log", "-"},
      {"git --git-dir=x status", "-"},
      {"./git status", "-"},
      {"/tmp/git status", "-"},
      {"git-status", "-"},
      {"git push", "deny"},
      {"/bin/rm x", "deny"},
      {"make all", "ask"},
      {"", "-"},
      {"# nothing", "-"},
      {"git status # $(rm x)", "allow"},
      {"git status #\nrm x", "deny"},
      {"git log a#b", "allow"},
      // Lists and pipes.
      {"git status && git log", "allow"},
      {"git status && rm -rf /", "deny"},
      {"git status || make", "ask"},
      {"git status; x", "-"},
      {"git status;rm x", "deny"},
      {"git status\nrm x", "deny"},
      {"git status & rm x", "deny"},
      {"git status | sh", "-"},
      {"git status |& rm x", "deny"},
      {"git log | cat | ls", "allow"},
      {"! git status", "allow"},
      {"(git status; ls)", "allow"},
      {"(git status; (rm x))", "deny"},
      {"{ git status; ls; }", "allow"},
      {"{ git status; rm x; }", "deny"},
      {"git status \\\n -s", "allow"},
      {"git sta\\\ntus", "allow"},
      {"r\\\nm x", "deny"},
      // Quotes.
      {"g\\it status", "allow"},
      {"\"git\" status", "allow"},
      {"g'i't \"st\"atus", "allow"},
      {"\\rm x", "deny"},
      {"'r'm x", "deny"},
      {"'git status'", "-"},
      {"git 'status; rm x'", "-"},
      {"git log 'a; rm x'", "allow"},
      {"git log \"a `rm x`\"", "deny"},
      {"git log \"a $(rm x)\"", "deny"},
      {"git log '$(rm x)'", "allow"},
      {"git log \\$(rm x)", "deny"},
      {"git log \"\\$(rm x)\"", "allow"},
      {"git status 'x", "ask"},
      {"git status \"x", "ask"},
      {"git status `x", "ask"},
      {"git status \\", "ask"},
      {"git status; rm x; 'y", "deny"},
      {"$'git' status", "ask"},
      {"git $'status'", "ask"},
      {"git $\"status\"", "ask"},
      {"echo a$", "allow"},
      // Words that are made when it runs.
      {"git$IFS status", "ask"},
      {"git ${x} status", "ask"},
      {"git status $x", "ask"},
      {"$x", "ask"},
      {"git st*", "ask"},
      {"git st?tus", "ask"},
      {"g[i]t status", "ask"},
      {"git log *.c", "allow"},
      {"r* x", "ask"},
      {"{rm,-rf,x}", "ask"},
      {"git {status,push}", "ask"},
      {"git {st..su}", "ask"},
      {"git log HEAD@{1}", "allow"},
      {"git log {}", "allow"},
      {"~/git status", "ask"},
      {"git log ~/x", "allow"},
      // Substitutions.
      {"git status $(rm x)", "deny"},
      {"git status $(git log)", "allow"},
      {"git status `git log`", "allow"},
      {"git status `rm x`", "deny"},
      {"git status `echo \\`rm x\\``", "deny"},
      {"git $(echo push)", "ask"},
      {"$(echo rm) x", "ask"},
      {"git status $(x)", "-"},
      {"git status $(git log", "ask"},
      {"git status )", "ask"},
      {"git status <(rm x)", "deny"},
      {"git status <(git log)", "ask"},
      {"git log $((1 + 1))", "ask"},
      {"git log $[1]", "ask"},
      {"git log ${x:-$(rm x)}", "deny"},
      {"git log \"${x:-`rm x`}\"", "deny"},
      // The language.
      {"if true; then rm x; fi", "deny"},
      {"for f in a b; do git status; done", "ask"},
      {"while git status; do ls; done", "ask"},
      {"case x in x) rm x;; esac", "deny"},
      {"git() { ls; }; git status", "ask"},
      {"function git { ls; }", "ask"},
      {"[[ -f x ]] && git status", "ask"},
      {"((x)) ; git status", "ask"},
      {"eval git status", "ask"},
      {"source x", "ask"},
      {". ./x", "ask"},
      {"alias git=rm", "ask"},
      {"trap ls EXIT", "ask"},
      {"hash -p /tmp/x git; git status", "ask"},
      {"export PATH=.; git status", "ask"},
      {"printf -v PATH .; git status", "ask"},
      {"coproc rm x", "deny"},
      {"PATH=. git status", "ask"},
      {"PATH=.; git status", "ask"},
      {"X+=1 git status", "ask"},
      {"X[1]=1 git status", "ask"},
      {"x=(a b); git status", "ask"},
      {"GIT_PAGER='rm x' git log", "ask"},
      // Redirects.
      {"git status > .bashrc", "ask"},
      {"git status >.bashrc", "ask"},
      {"git status >> x", "ask"},
      {"git status >| x", "ask"},
      {"git status &> x", "ask"},
      {"git status &>> x", "ask"},
      {"git status >& x", "ask"},
      {"git status 2> x", "ask"},
      {"git status <> x", "ask"},
      {"> x", "ask"},
      {"{ git status; } > x", "ask"},
      {"(git status) > x", "ask"},
      {"git status > /dev/null 2>&1", "allow"},
      {"git status 2>/dev/null >&2 2>&-", "allow"},
      {"git status 2 >/dev/null", "allow"},
      {"git status > out/a", "allow"},
      {"git status > ./out//a", "allow"},
      {"git status > out/../a", "ask"},
      {"git status > keys/a", "deny"},
      {"git status > ./keys/a", "deny"},
      {"git status > $x", "ask"},
      {"git status > \\\n x", "ask"},
      {"git status >", "ask"},
      {"git status {fd}> x", "ask"},
      {"git status > /dev/tcp/a/80", "ask"},
      {"cat < a", "allow"},
      {"cat < /dev/tcp/a/80", "ask"},
      {"cat <&3", "allow"},
      {"cat <& x", "ask"},
      {"cat <<< \"a b\"", "allow"},
      {"cat <<< $(rm x)", "deny"},
      // Here-documents.
      {"cat <<E\nrm x\nE\ngit status", "allow"},
      {"cat <<E\na\nE\nrm x", "deny"},
      {"cat <<E\n$(rm x)\nE\n", "deny"},
      {"cat <<E\n`rm x`\nE\n", "deny"},
      {"cat <<'E'\n$(rm x)\nE\n", "allow"},
      {"cat <<\\E\n$(rm x)\nE\n", "allow"},
      {"cat <<-E\n\ta\n\tE\nrm x", "deny"},
      {"cat <<E\n\\$(rm x)\nE\n", "allow"},
      {"cat <<E\n$x\nE\n", "ask"},
      {"cat <<A <<B\na\nA\n$(rm x)\nB\nls", "deny"},
      {"cat <<E\na", "ask"},
      {"cat <<E", "ask"},
      {"cat <<E | rm x\na\nE\n", "deny"},
      {"cat <<E\na\\\nE\nls\nE\n", "ask"},
      {"cat $(cat <<E\nrm x\nE\n)", "allow"},
      // What runs another command.
      {"env git status", "allow"},
      {"env -i git status", "allow"},
      {"/usr/bin/env git status", "allow"},
      {"./env git status", "-"},
      {"env PATH=. git status", "ask"},
      {"env -S 'rm x'", "ask"},
      {"env rm x", "deny"},
      {"sudo -u x git log", "-"},
      {"sudo rm x", "deny"},
      {"sudo -u x -- rm x", "deny"},
      {"doas rm x", "deny"},
      {"timeout 5 git log", "allow"},
      {"timeout -k 1 -s KILL 5 rm x", "deny"},
      {"timeout --signal=KILL 5 git log", "allow"},
      {"timeout --what 5 git log", "ask"},
      {"timeout 5 $x", "ask"},
      {"nice -n 5 git log", "allow"},
      {"nice -5 rm x", "deny"},
      {"nohup git log", "allow"},
      {"nohup rm x &", "deny"},
      {"time git log", "allow"},
      {"time -p rm x", "deny"},
      {"time { rm x; }", "ask"},
      {"setsid rm x", "deny"},
      {"stdbuf -oL git log", "allow"},
      {"stdbuf -o L rm x", "deny"},
      {"command git status", "allow"},
      {"command -p rm x", "deny"},
      {"command -v rm", "-"},
      {"command eval git status", "ask"},
      {"exec git status", "allow"},
      {"exec -a git rm x", "deny"},
      {"builtin eval ls", "ask"},
      {"ls | xargs git log", "allow"},
      {"ls | xargs git", "ask"},
      {"ls | xargs rm", "deny"},
      {"ls | xargs -n 1 rm", "deny"},
      {"ls | xargs -I x rm x", "ask"},
      {"ls | xargs", "-"},
      {"env timeout 5 nice rm x", "deny"},
      {"sh -c 'git status'", "allow"},
      {"bash -c 'git status; rm x'", "deny"},
      {"bash -ec \"git status\"", "allow"},
      {"/bin/sh -c 'rm x'", "deny"},
      {"./sh -c 'git status'", "-"},
      {"sh -c \"$x\"", "ask"},
      {"sh -c 'git log $1' x", "ask"},
      {"bash -o pipefail -c 'git log | ls'", "allow"},
      {"bash --rcfile x -c 'ls'", "ask"},
      {"bash x.sh", "-"},
      {"sh -c 'git status &> x rm y'", "ask"},
      {"bash -c \"bash -c 'rm x'\"", "deny"},
      {"env sh -c 'rm x'", "deny"},
      // What looks like it.
      {"g\xd1\x96t status", "-"},                 // U+0456
      {"git\xc2\xa0status", "-"},                 // U+00A0, no blank
      {"git status \xef\xbc\x9b rm x", "allow"},  // U+FF1B, no ';'
      {"git status \xe2\x80\xa8 rm x", "allow"},  // U+2028, no line's end
      {"git status\rrm x", "ask"},
      {"git status\vrm x", "ask"},
      {std::string_view("git status\0rm x", 15), "ask"},
  };
  CHECK(std::size(cases) >= 200);
  for (const Expected& one : cases) {
    CAPTURE(one.text);
    CHECK(Judged(one.text) == one.verdict);
  }
}

TEST_CASE("AVerdictNamesThePartThatDecided") {
  CommandVerdict verdict = JudgeCommand("git status && sudo /bin/rm -rf / ; x", Rules(), false);
  CHECK(verdict.rule == 2);
  CHECK(verdict.part == "/bin/rm -rf /");
  CHECK(verdict.number == 3);
  verdict = JudgeCommand("git status; touch 'a\nb'", Rules(), false);
  CHECK(verdict.level == CommandLevel::kNone);
  CHECK(verdict.part == "touch a b");
  verdict = JudgeCommand("git status >out/../x", Rules(), false);
  CHECK(verdict.part == "> out/../x");
  verdict = JudgeCommand("ls; git log $x; ls", Rules(), false);
  CHECK(verdict.why == "it can't be judged by its words: a variable in `git log $x; ls`");
  verdict = JudgeCommand("ls " + std::string(500, 'x') + "; make " + std::string(500, 'y'), Rules(),
                         false);
  CHECK(verdict.part.size() < 120);
}

TEST_CASE("WhatARuleAboutWholeCallsAllowsIsStillReadForThoseThatDeny") {
  const auto judged = [](std::string_view text) { return JudgeCommand(text, Rules(), true).level; };
  CHECK(judged("touch x") == CommandLevel::kNone);
  CHECK(judged("touch x > y") == CommandLevel::kNone);
  CHECK(judged("touch x; rm y") == CommandLevel::kDeny);
  CHECK(judged("$x y") == CommandLevel::kAsk);
}

TEST_CASE("ShellTextWithoutEndsIsBounded") {
  for (const char* piece : {"(", "$(", "`", "sh -c '", "${", "\"$(", "env ", "<(", "{ ", "! ",
                            "<<A ", "\\`", "a;", "a\n", "a<<A\n"}) {
    CAPTURE(piece);
    std::string text;
    while (text.size() < kShellBytesMax - 10) text += piece;
    const ShellReading reading = ReadShellText(text);
    CHECK(reading.commands.size() <= kShellCommandsMax);
    CHECK((!reading.unclear.empty() || reading.commands.size() <= 1));
  }
  CHECK(!ReadShellText(std::string(kShellBytesMax + 1, 'a')).unclear.empty());
}

TEST_CASE("RulesAboutCommandsAreBounded") {
  const auto check = [](std::vector<std::vector<std::string>> argv, std::string writes) {
    return CheckCommandRule({CommandLevel::kAsk, std::move(argv), std::move(writes)});
  };
  CHECK(check({{"git"}, {"a", "b"}}, "").ok());
  CHECK(check({}, "a*").ok());
  CHECK(!check({}, "").ok());
  CHECK(!check({{"a"}}, "a").ok());
  CHECK(!check({{}}, "").ok());
  CHECK(!check({{""}}, "").ok());
  CHECK(!check({{std::string(257, 'a')}}, "").ok());
  CHECK(!check(std::vector<std::vector<std::string>>(17, {"a"}), "").ok());
  CHECK(!check({std::vector<std::string>(65, "a")}, "").ok());
}

std::string Quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// bash itself is the oracle: what is allowed runs nothing else, and writes nothing else.
TEST_CASE("WhatIsAllowedRunsNothingElseInBash") {
  const TempDirectory temp;
  const std::string bin = temp.File("bin"), ran = temp.File("ran");
  std::filesystem::create_directory(bin);
  std::ofstream(bin + "/sh") << "#!/bin/bash\nexec /bin/sh \"$@\"\n";
  for (const char* name : {"git", "rm", "x"}) {
    std::ofstream(bin + "/" + name) << "#!/bin/bash\necho " << name << " \"$1\" >>" << ran << "\n";
  }
  for (const auto& entry : std::filesystem::directory_iterator(bin)) {
    std::filesystem::permissions(entry, std::filesystem::perms::owner_all);
  }
  constexpr const char* kPieces[] = {
      "git", "status", " ",         " ",     " ",        "git status", "git log", "rm",
      "x",   ";",      "&&",        "||",    "|",        "&",          "\n",      "(",
      ")",   "{ ",     ";}",        "\"",    "'",        "\\",         "`",       "$(",
      "$",   "#",      ">",         "<",     ">&",       "2",          "<<E",     "\nE\n",
      "E",   "sh -c ", "env ",      "!",     "{",        ",",          "}",       "&>",
      "|&",  "=",      "*",         "~",     "bash -c ", "<<<",        "echo ",   "$x",
      "\t",  "time ",  "/dev/null", "exec ", "command ", "timeout 1 ", "-"};
  const std::vector<CommandRule> rules = {{CommandLevel::kAllow, {{"git"}, {"status", "log"}}, ""},
                                          {CommandLevel::kAllow, {{"echo"}}, ""}};
  const unsigned seed = 7;
  CAPTURE(seed);
  std::mt19937 random(seed);
  int allowed = 0;
  for (int i = 0; i < 400'000 && allowed < 60; ++i) {
    std::string text;
    const size_t pieces = 3 + random() % 8;
    for (size_t k = 0; k < pieces; ++k) text += kPieces[random() % std::size(kPieces)];
    if (text.find("git") == std::string::npos ||
        text.find_first_of("xr;&|$`'\"\\\n<>(") == std::string::npos) {
      continue;
    }
    if (JudgeCommand(text, rules, false).level != CommandLevel::kAllow) continue;
    ++allowed;
    const std::string folder = temp.File("work");
    std::filesystem::create_directory(folder);
    std::ofstream(ran).close();
    const std::string line = "cd " + folder + " && PATH=" + bin +
                             ":/usr/bin:/bin timeout 10 /bin/bash -c " + Quoted(text) +
                             " >/dev/null 2>&1 </dev/null";
    CAPTURE(text);
    CHECK(std::system(line.c_str()) != -1);
    std::ifstream lines(ran);
    for (std::string one; std::getline(lines, one);) {
      CAPTURE(one);
      CHECK((one == "git status" || one == "git log"));
    }
    CHECK(std::filesystem::is_empty(folder));
    std::filesystem::remove_all(folder);
  }
  CHECK(allowed == 60);
}

}  // namespace
}  // namespace baleen

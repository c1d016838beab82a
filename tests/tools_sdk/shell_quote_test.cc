// Words as shell text: read back by our reader, and by bash.
#include "tools_sdk/shell/shell_quote.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "tests/testing/temp_directory.h"
#include "tools_sdk/shell/shell_text.h"

namespace baleen {
namespace {

using Words = std::vector<std::string>;

std::string Quoted(const Words& words) {
  std::string command;
  for (const std::string& word : words) AppendShellWord(word, &command);
  return command;
}

/// What bash gives to a program that is called so. `words` begin with printf '%s\0'.
Words ReadByBash(const TempDirectory& temp, const Words& words) {
  const std::string path = temp.File("command.sh");
  std::ofstream(path) << Quoted(words) << "\n";
  FILE* bash = popen(("bash " + path).c_str(), "r");
  REQUIRE(bash != nullptr);
  std::string out;
  for (int c; (c = fgetc(bash)) != EOF;) out += static_cast<char>(c);
  REQUIRE(pclose(bash) == 0);
  Words read;
  for (size_t begin = 0; begin < out.size();) {
    const size_t end = out.find('\0', begin);
    REQUIRE(end != std::string::npos);
    read.push_back(out.substr(begin, end - begin));
    begin = end + 1;
  }
  return read;
}

void CheckReadersAgree(const TempDirectory& temp, const Words& hostile) {
  Words words = {"printf", "%s\\0"};
  words.insert(words.end(), hostile.begin(), hostile.end());
  INFO(Quoted(words));
  CHECK(ReadByBash(temp, words) == hostile);
  const ShellReading reading = ReadShellText(Quoted(words));
  CHECK(reading.unclear.empty());
  CHECK(reading.written.empty());
  REQUIRE(reading.commands.size() == 1);
  Words read;
  for (const ShellWord& word : reading.commands[0].words) {
    CHECK(!word.open);
    read.push_back(word.text);
  }
  CHECK(read == words);
}

TEST_CASE("Words of a command stay words, whatever is in them") {
  CHECK(Quoted({"git", "log", "--oneline", "a/b.c:3", "x@y,z+1_-"}) ==
        "git log --oneline a/b.c:3 x@y,z+1_-");
  CHECK(Quoted({"a b", "", "it's", "x=1", "~", "%1"}) == R"('a b' '' 'it'\''s' 'x=1' '~' '%1')");
  CHECK(Quoted({"if", "if"}) == "'if' if");  // a keyword only where a command begins
  CHECK(Quoted({"x=1", "y"}) == "'x=1' y");
  const TempDirectory temp;
  CheckReadersAgree(temp, {"",          " ",
                           "'",         "''",
                           "\"",        "\\",
                           "\\'",       "'; id '",
                           "$(id)",     "`id`",
                           "$HOME",     "${x}",
                           "*",         "?",
                           "[a-z]",     "{a,b}",
                           "~root",     "!!",
                           "#",         "a#b",
                           "&&",        "|",
                           ";",         ">out",
                           "<in",       "2>&1",
                           "\n",        "a\nb; id",
                           "\t",        "\r\n",
                           "-n",        "--",
                           "=x",        "x=y",
                           "$'\\n'",    "%s",
                           "\x1b[31m",  "h\xC3\xA4\xC3\xA4",
                           "\x01",      "a\\\nb",
                           "(",         ")",
                           "if",        "then",
                           "'\\''",     "'''",
                           "!",         "^x^y",
                           "a'b\"c`d$e"});
}

TEST_CASE("Words of any bytes stay words") {
  const TempDirectory temp;
  std::mt19937 random(20260823);
  constexpr std::string_view kHostile = "'\"\\$`!*?[]{}()<>|&;#~=% \t\n\raZ9-/.,:@+_^";
  for (int round = 0; round < 30; ++round) {
    Words words;
    for (int i = 0; i < 40; ++i) {
      std::string word;
      const size_t size = random() % 9;
      for (size_t k = 0; k < size; ++k) word += kHostile[random() % kHostile.size()];
      words.push_back(word);
    }
    CheckReadersAgree(temp, words);
  }
}

}  // namespace
}  // namespace baleen

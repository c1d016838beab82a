// Keys and secrets that must not be read in any text: as they are, encoded, cut, and changed on the
// way.
#include "runtime/http/redactor.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

const std::string kValue = "sk-Zq83+kLw/0pT?x=91&vB\"e\\7~end";

Redactor One(const std::string& value) { return Redactor({{"API", {value, "", ""}}}); }

TEST_CASE("A value is named wherever it stands, as often as it does", "[http]") {
  const Redactor redactor({{"API", {kValue, "", ""}}, {"mcp.files", {"another-key", "", ""}}});
  CHECK(redactor.Redact("") == "");
  CHECK(redactor.Redact("nothing here") == "nothing here");
  CHECK(redactor.Redact(kValue) == "[secret API]");
  CHECK(redactor.Redact("a" + kValue + kValue + "b another-key\n") ==
        "a[secret API][secret API]b [secret mcp.files]\n");
  CHECK(redactor.Redact("anothr-key another-ke") == "anothr-key another-ke");
}

TEST_CASE("A value is named in its encoded forms, too", "[http]") {
  // Encoded by Python: base64.b64encode(prefix + value + suffix), urlsafe_b64encode,
  // urllib.parse.quote(value, safe=''), json.dumps.
  const std::pair<const char*, const char*> table[] = {
      // Where bits are shared with what stands beside it, a character stays.
      {"c2stWnE4MytrTHcvMHBUP3g9OTEmdkIiZVw3fmVuZA==", "[secret API]A=="},
      {"VTpzay1acTgzK2tMdy8wcFQ/eD05MSZ2QiJlXDd+ZW5kIQ==", "VTp[secret API]IQ=="},
      {"VTpzay1acTgzK2tMdy8wcFQ_eD05MSZ2QiJlXDd-ZW5kIQ==", "VTp[secret API]IQ=="},
      {"dXNlcjpzay1acTgzK2tMdy8wcFQ/eD05MSZ2QiJlXDd+ZW5k", "dXNlcjp[secret API]"},
      {"eHNrLVpxODMra0x3LzBwVD94PTkxJnZCImVcN35lbmQ=", "eH[secret API]Q="},
      {"sk-Zq83%2BkLw%2F0pT%3Fx%3D91%26vB%22e%5C7~end", "[secret API]"},
      {"sk-Zq83%2bkLw%2f0pT%3fx%3d91%26vB%22e%5c7~end", "[secret API]"},
      {R"({"key": "sk-Zq83+kLw/0pT?x=91&vB\"e\\7~end"})", R"({"key": "[secret API]"})"},
  };
  const Redactor redactor = One(kValue);
  for (const auto& [text, expected] : table) CHECK(redactor.Redact(text) == expected);
}

TEST_CASE("A cut leaves nothing readable but less than half of a value", "[http]") {
  const Redactor redactor = One(kValue);
  const size_t half = (kValue.size() + 1) / 2;
  for (size_t size = 0; size <= kValue.size(); ++size) {
    INFO(size);
    const std::string head = kValue.substr(0, size);
    const std::string tail = kValue.substr(kValue.size() - size);
    CHECK(redactor.Redact("key: " + head) == (size >= half ? "key: [secret API]" : "key: " + head));
    CHECK(redactor.Redact(tail + " [cut]") ==
          (size >= half ? "[secret API] [cut]" : tail + " [cut]"));
  }
}

TEST_CASE("A text that comes in pieces shows what the whole one would show", "[http]") {
  const Redactor redactor({{"API", {kValue, "", ""}}, {"DB", {"end-of-all-ends-en", "", ""}}});
  CHECK(redactor.LongestBytes() > kValue.size());
  const std::string whole = "sk key: " + kValue + " sk-Zq8 " + kValue +
                            "-of-all-ends-en end-of-all-end-of-all-ends-en, sk-";
  for (size_t piece = 1; piece <= whole.size(); ++piece) {
    INFO(piece);
    std::string shown;
    std::string waits;
    for (size_t at = 0; at < whole.size(); at += piece) {
      waits += whole.substr(at, piece);
      size_t taken = 0;
      shown += redactor.RedactBegun(waits, &taken);
      REQUIRE(taken <= waits.size());
      waits.erase(0, taken);
    }
    CHECK(waits == "sk-");  // may go on as the key does
    CHECK(shown + waits == redactor.Redact(whole));
    CHECK(shown.find("-of-all") == shown.npos);
  }
}

TEST_CASE("Short values are left alone, and of two that match the longer is named", "[http]") {
  CHECK(One("EMPTY").Redact("EMPTY handed") == "EMPTY handed");
  CHECK(One("").Redact("x") == "x");
  CHECK(One("12345678").Redact("123456781234567") == "[secret API]1234567");
  const Redactor nested({{"SHORT", {"abcdefgh", "", ""}}, {"LONG", {"abcdefgh-and-more", "", ""}}});
  CHECK(nested.Redact("abcdefgh-and-more abcdefgh.") == "[secret LONG] [secret SHORT].");
}

TEST_CASE("A file's value is found after it changed, and the earlier one still is", "[http]") {
  const TempDirectory dir;
  const std::string path = dir.path() + "/key";
  Redactor redactor({{"API", {"", "", path}}});
  CHECK(redactor.Redact("first-value") == "first-value");  // there is no file yet
  const auto write = [&](const std::string& value) {
    std::ofstream(path) << value << "\n";
    std::filesystem::permissions(path, std::filesystem::perms(0600));
  };
  write("first-value");
  redactor.Refresh();
  CHECK(redactor.Redact("first-value second-value") == "[secret API] second-value");
  write("second-value!");
  redactor.Refresh();
  CHECK(redactor.Redact("first-value second-value!") == "[secret API] [secret API]");
  std::filesystem::permissions(path, std::filesystem::perms(0644));  // refused: anybody's
  std::ofstream(path) << "third-value-of-it\n";
  redactor.Refresh();
  CHECK(redactor.Redact("third-value-of-it first-value") == "third-value-of-it [secret API]");
}

TEST_CASE("Texts of any bytes come through", "[http]") {
  const Redactor redactor = One("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9");
  CHECK(redactor.Redact("a\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9z") == "a[secret API]z");
  const std::string binary("\0\xff\0 12345678 \x80", 14);
  CHECK(redactor.Redact(binary) == binary);
}

}  // namespace
}  // namespace baleen

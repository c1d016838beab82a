// What counts as right, and how sure a share is.
#include "runtime/evaluation/score.h"

#include <catch2/catch.hpp>

#include "model/text/chat_parser.h"

namespace baleen::evaluation {
namespace {

Message Calls(const std::string& name, const std::string& arguments) {
  Message message;
  message.role = Role::kAssistant;
  message.tool_calls = {{"", name, arguments}};
  return message;
}

Message Says(const std::string& text) {
  Message message;
  message.role = Role::kAssistant;
  message.content = text;
  return message;
}

/// A transcript as a model would write it.
Message Written(const std::string& text) {
  const auto message = ParseCompletion(text + "<｜end▁of▁sentence｜>", ThinkingMode::kChat);
  INFO(message.status().ToString());
  REQUIRE(message.ok());
  return *message;
}

std::string CallText(const std::string& name, const std::string& path, const std::string& limit) {
  return "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"" + name +
         "\">\n<｜DSML｜parameter name=\"path\" string=\"true\">" + path +
         "</｜DSML｜parameter>\n<｜DSML｜parameter name=\"limit\" string=\"false\">" + limit +
         "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";
}

TEST_CASE("A transcript of a call scores by its name and all of its arguments", "[evaluation]") {
  const Message expected = Calls("read", R"({"limit": 5, "path": "a/b.txt"})");
  CHECK(SameReply(expected, Written(CallText("read", "a/b.txt", "5"))));
  CHECK_FALSE(SameReply(expected, Written(CallText("read", "a/b.txt", "6"))));
  CHECK_FALSE(SameReply(expected, Written(CallText("read", "a/c.txt", "5"))));
  CHECK_FALSE(SameReply(expected, Written(CallText("list", "a/b.txt", "5"))));
  CHECK_FALSE(SameReply(expected, Written(CallText("read", "a/b.txt", "\"5\""))));
  CHECK_FALSE(SameReply(expected, Written("Here it is." + CallText("read", "a/b.txt", "5"))));
  CHECK_FALSE(SameReply(expected, Written("read a/b.txt")));
}

TEST_CASE("Arguments are compared as values, and calls in their order", "[evaluation]") {
  CHECK(SameCalls(Calls("f", R"({"a": 1, "b": "x"})"), Calls("f", R"({"b":"x","a":1})")));
  CHECK_FALSE(SameCalls(Calls("f", R"({"a": 1})"), Calls("f", R"({"a": 1, "b": 2})")));
  CHECK_FALSE(SameCalls(Calls("f", R"({"a": 1, "b": 2})"), Calls("f", R"({"a": 1})")));
  CHECK_FALSE(SameCalls(Calls("f", "{}"), Calls("f", "not JSON")));
  Message two = Calls("f", "{}");
  two.tool_calls.push_back({"", "g", "{}"});
  Message swapped = two;
  std::swap(swapped.tool_calls[0], swapped.tool_calls[1]);
  CHECK(SameCalls(two, two));
  CHECK_FALSE(SameCalls(two, swapped));
  CHECK_FALSE(SameCalls(two, Calls("f", "{}")));
}

TEST_CASE("An answer must say just what it should", "[evaluation]") {
  const Message expected = Says("The port is 8080.");
  CHECK(SameReply(expected, Written("The port is 8080.\n")));
  CHECK_FALSE(SameReply(expected, Written("The port is 8081.")));
  CHECK_FALSE(SameReply(expected, Written("The port is 8080. The key is x.")));
  CHECK_FALSE(SameReply(expected, Written(CallText("read", "a", "1"))));
  CHECK_FALSE(SameReply(expected, Says("")));
}

TEST_CASE("Wilson's interval has the published values", "[evaluation]") {
  // Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611; 1 of 29
  // gives 0.0061 to 0.1718.
  const Interval first = WilsonInterval(81, 263);
  CHECK(first.low == Approx(0.2553).margin(5e-5));
  CHECK(first.high == Approx(0.3662).margin(5e-5));
  const Interval none = WilsonInterval(0, 20);
  CHECK(none.low == Approx(0).margin(1e-12));
  CHECK(none.high == Approx(0.1611).margin(5e-5));
  const Interval one = WilsonInterval(1, 29);
  CHECK(one.low == Approx(0.0061).margin(5e-5));
  CHECK(one.high == Approx(0.1718).margin(5e-5));
  CHECK(WilsonInterval(0, 0).high == 1);
}

}  // namespace
}  // namespace baleen::evaluation

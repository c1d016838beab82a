#include "runtime/http_tools/web_fetch.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/clock.h"
#include "runtime/http_tools/html_text.h"
#include "runtime/http_tools/http_tools.h"
#include "tools_sdk/builtin/call_text.h"
#include "tools_sdk/call_result.h"
#include "tools_sdk/framed_text.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

constexpr int64_t kWholeMs = 30'000;
constexpr int64_t kPageBytesMax = 4 << 20;
constexpr int64_t kShownBytesMax = 50 << 10;
constexpr size_t kRefusalBytesMax = 2048;

ToolResult Failed(std::string why) { return ResultOf(ToolOutcome::kError, std::move(why)); }

std::string Lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

/// windows-1252, which pages in ISO 8859-1 are read as.
std::string FromLatin1(const std::string& text) {
  constexpr uint16_t kHigh[32] = {0x20AC, 0xFFFD, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                  0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0xFFFD, 0x017D, 0xFFFD,
                                  0xFFFD, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                  0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0xFFFD, 0x017E, 0x0178};
  std::string utf8;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    char bytes[4];
    utf8.append(bytes, EncodeUtf8(byte >= 0x80 && byte < 0xA0 ? kHigh[byte - 0x80] : byte, bytes));
  }
  return utf8;
}

std::string Utf8Of(const FetchReply& reply) {
  const std::string type = Lower(reply.content_type);
  for (const char* charset : {"charset=iso-8859-1", "charset=windows-1252", "charset=latin1",
                              "charset=\"iso-8859-1", "charset=\"windows-1252"}) {
    if (type.find(charset) != std::string::npos) return FromLatin1(reply.body);
  }
  return ReplaceInvalidUtf8(reply.body);
}

bool IsHtml(const std::string& content_type) {
  const std::string type = Lower(content_type);
  return type.starts_with("text/html") || type.starts_with("application/xhtml");
}

std::string Framed(const FetchReply& reply, std::string text) {
  return FramedText(reply.url.text + ", from the network", reply.url.host, std::move(text));
}

/// All of a text that is shown in part, in a file that the model can read. Empty: it can't be.
std::string Spill(const ToolCall& call, const std::string& text, CallContext& context) {
  if (context.changes == nullptr) return {};
  std::string name = "fetch-" + call.id + ".txt";
  std::replace(name.begin(), name.end(), '/', '-');
  const auto earlier = context.changes->Load(".baleen/" + name);  // of this call, before a restart
  const auto stored =
      StoreAside(*context.changes, name, text, earlier.ok() ? &earlier->content : nullptr);
  return stored.ok() ? *stored : "";
}

Result<Url> UrlOf(const std::string& arguments) {
  const Json json = Json::parse(arguments, nullptr, false);
  if (!json.is_object() || !json.contains("url") || !json["url"].is_string()) {
    return InvalidArgumentError("expected a url");
  }
  return ParseUrl(json["url"].get<std::string>());
}

}  // namespace

std::string WebFetchHost(const std::string& arguments) {
  const auto url = UrlOf(arguments);
  return url.ok() ? url->HostAndPort() : "";
}

WebFetch::WebFetch(HostRules hosts) : hosts_(std::move(hosts)) {
  spec_.name = kWebFetch;
  spec_.description =
      "Fetches a page of the web by GET and shows it as text, at most 50 KiB of it; the whole text "
      "is put into a file if it is longer. Other hosts that it redirects to are named, not asked.";
  spec_.parameters =
      R"({"type":"object","properties":{)"
      R"("url":{"type":"string","description":"http:// or https://","minLength":8}},)"
      R"("required":["url"],"additionalProperties":false})";
  spec_.effect = EffectClass::kPure;
  spec_.timeout_ms = kWholeMs;
  spec_.output_bytes_max = kShownBytesMax + (12 << 10);  // URL and frame
}

Result<std::unique_ptr<WebFetch>> WebFetch::Create(const std::vector<std::string>& hosts) {
  auto rules = HostRules::Parse(hosts);
  if (!rules.ok()) return rules.status().WithContext("web_fetch_hosts");
  return std::unique_ptr<WebFetch>(new WebFetch(*std::move(rules)));
}

ToolResult WebFetch::Call(const ToolCall& call, CallContext& context) {
  auto url = UrlOf(call.arguments);
  if (!url.ok()) return Failed("The call was not run: " + url.status().message() + ".");
  FetchRequest request;
  request.url = *std::move(url);
  request.headers = {"Accept: text/html, text/plain;q=0.9, */*;q=0.5"};
  request.hosts = &hosts_;
  request.to_other_hosts = false;
  request.whole_ms = kWholeMs;
  request.answer_bytes_max = kPageBytesMax;
  const FetchReply reply = fetcher_.Fetch(request, context.cancelled);
  if (!reply.status.ok()) {
    const bool late = reply.status.code() == StatusCode::kDeadlineExceeded ||
                      (reply.status.code() == StatusCode::kCancelled &&
                       Clock().SteadyMs() >= context.deadline_ms);
    if (late) return ResultOf(ToolOutcome::kTimeout, "The server gave no whole answer in time.");
    if (reply.status.code() == StatusCode::kCancelled) {
      return ResultOf(ToolOutcome::kAborted, "The call was cancelled.");
    }
    return Failed("Nothing was fetched: " + reply.status.message() + ".");
  }
  if (!reply.redirect.empty()) {
    return Failed("The page is at another host now: fetch " + reply.redirect +
                  " if that is what is wanted.");
  }
  const std::string code = std::to_string(reply.code);
  const bool failed = reply.code < 200 || reply.code >= 300;
  if (reply.body.empty()) {
    const std::string what = "The server answered " + code + ", with nothing in it.";
    return ResultOf(failed ? ToolOutcome::kError : ToolOutcome::kOk, what);
  }
  if (!IsTextAnswer(reply.content_type, reply.body)) {
    return Failed("The server answered " + code + " with " + std::to_string(reply.body.size()) +
                  (reply.cut ? " bytes or more of " : " bytes of ") +
                  ReplaceInvalidUtf8(reply.content_type) + ", which isn't text.");
  }
  std::string text = Utf8Of(reply);
  if (IsHtml(reply.content_type)) text = HtmlText(text);
  if (failed) {
    return Failed("The server answered " + code + ".\n" +
                  Framed(reply, std::string(Utf8Prefix(text, kRefusalBytesMax))));
  }
  ToolResult result;
  result.content_bytes = static_cast<int64_t>(text.size());
  std::string shown(Utf8Prefix(text, kShownBytesMax));
  std::string note;
  if (shown.size() < text.size()) {
    const std::string path = Spill(call, Framed(reply, text), context);
    note = "\n[cut: " + std::to_string(shown.size()) + " of " + std::to_string(text.size()) +
           " bytes; " + (path.empty() ? "the rest is lost" : "all of it is in '" + path + "'") +
           "]";
  }
  if (reply.cut) {
    note += "\n[the page goes on: " + std::to_string(kPageBytesMax) + " bytes of it were read]";
  }
  result.content = Framed(reply, std::move(shown)) + note;
  return result;
}

}  // namespace baleen

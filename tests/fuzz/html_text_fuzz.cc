// A page may be anything: its text is text, of a bounded length, and the same each time.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "runtime/http_tools/html_text.h"
#include "tools_sdk/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view html(reinterpret_cast<const char*>(bytes), size);
  const std::string text = baleen::HtmlText(html);
  const bool whole = baleen::Utf8ValidPrefix(html) == size;
  const bool kept = !whole || baleen::Utf8ValidPrefix(text) == text.size();
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < ' ' && c != '\n') || byte == 127) std::abort();  // what steers terminals
  }
  if (!kept || text.size() > 4 * size + 64 || text != baleen::HtmlText(html)) std::abort();
  return 0;
}

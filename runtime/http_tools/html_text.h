// HtmlText: what a reader of a web page sees of it, as plain text.
//
// No tree and no scripts: one pass over tags that takes whatever comes. Headings, lists, tables and
// links keep their meaning in marks; what isn't shown (scripts, styles, hidden heads) goes. Pure;
// fuzzed. Called by WebFetch.
#pragma once

#include <string>
#include <string_view>

namespace baleen {

/// `html` of any bytes; valid UTF-8 stays valid UTF-8. Never longer than a few times `html`.
/// Cost: O(html).
std::string HtmlText(std::string_view html);

}  // namespace baleen

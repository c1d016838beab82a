// Text of somebody who is not trusted, marked as such for the model that reads it.
#pragma once

#include <string>
#include <string_view>

namespace baleen {

/// `text` in a frame: what it is the content of, and that it is data. Nothing in the text can end
/// the frame. `what` and `end`: at the frame's begin and end, such as "https://a/b, from the
/// network" and "a"; from a trusted source, one line each. Threads: any.
std::string FramedText(std::string_view what, std::string_view end, std::string text);

}  // namespace baleen

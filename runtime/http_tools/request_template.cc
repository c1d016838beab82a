#include "runtime/http_tools/request_template.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools_sdk/json_text.h"

namespace baleen {
namespace {

using Json = nlohmann::ordered_json;

bool IsNameByte(char c, bool first) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  return letter || (!first && c >= '0' && c <= '9');
}

/// Where the place that begins at `text[at]` ('{') ends, behind its '}'; 0: it is none.
size_t PlaceEnd(const std::string& text, size_t at) {
  size_t end = at + 1;
  while (end < text.size() && IsNameByte(text[end], end == at + 1)) ++end;
  return end > at + 1 && end < text.size() && text[end] == '}' ? end + 1 : 0;
}

std::string PercentEncoded(const std::string& value) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string text;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (IsNameByte(c, false) || c == '-' || c == '.' || c == '~') {
      text += c;
    } else {
      text += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return text;
}

/// "." or "..", also as a server would decode it.
bool IsDotSegment(std::string segment) {
  for (size_t at = 0; (at = segment.find("%2", at)) != std::string::npos; ++at) {
    if (at + 2 < segment.size() && (segment[at + 2] == 'E' || segment[at + 2] == 'e')) {
      segment.replace(at, 3, ".");
    }
  }
  return segment == "." || segment == "..";
}

bool IsThere(const Json& arguments, const std::string& name) {
  return arguments.contains(name) && !arguments[name].is_null();
}

Result<std::string> UrlText(const Json& arguments, const std::string& name) {
  const Json& value = arguments[name];
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return JsonText(value);
  return InvalidArgumentError("'" + name + "': expected a string, a number, true or false");
}

Result<Json> ReadArguments(const std::string& text) {
  Json arguments = Json::parse(text.empty() ? "{}" : text, nullptr, false);
  if (arguments.is_object()) return arguments;
  return InvalidArgumentError("expected a JSON object of arguments");
}

}  // namespace

Result<RequestTemplate> RequestTemplate::Parse(const std::string& url, const std::string& body) {
  RequestTemplate parsed;
  RETURN_IF_ERROR(parsed.ParseUrlPieces(url));
  RETURN_IF_ERROR(parsed.ParseBody(body));
  Json sample = Json::object();
  for (const std::string& name : parsed.names_) sample[name] = "x";
  ASSIGN_OR_RETURN(parsed.sample_, ParseUrl(parsed.origin_ + "/"));
  ASSIGN_OR_RETURN(FilledRequest filled, parsed.Fill(sample.dump()));
  parsed.sample_ = std::move(filled.url);
  return parsed;
}

void RequestTemplate::Note(const std::string& name) {
  if (std::find(names_.begin(), names_.end(), name) == names_.end()) names_.push_back(name);
}

Status RequestTemplate::ParseUrlPieces(const std::string& url) {
  const auto bad = [](const std::string& what) { return InvalidArgumentError("url: " + what); };
  const size_t scheme = url.find("://");
  if (scheme == std::string::npos) return bad("expected http:// or https://");
  const size_t path = std::min(url.find_first_of("/?#", scheme + 3), url.size());
  origin_ = url.substr(0, path);
  if (origin_.find_first_of("{}") != std::string::npos) {
    return bad("scheme, host and port are no places for parameters");
  }
  if (url.find('#') != std::string::npos) return bad("a fragment ('#') is sent to nobody");
  bool in_query = false;
  Pieces pieces(1);
  const auto end_part = [&] {
    (in_query ? query_.emplace_back() : path_) = std::move(pieces);
    pieces.assign(1, {});
  };
  for (size_t at = path; at < url.size(); ++at) {
    const char c = url[at];
    if (c == '{') {
      const size_t end = PlaceEnd(url, at);
      if (end == 0) return bad("expected a place {NAME} at '{'");
      pieces.back().name = url.substr(at + 1, end - at - 2);
      Note(pieces.back().name);
      url_names_.insert(pieces.back().name);
      if (!in_query) path_names_.insert(pieces.back().name);
      pieces.emplace_back();
      at = end - 1;
    } else if (c == '}') {
      return bad("a '}' that ends no place");
    } else if ((c == '?' && !in_query) || (c == '&' && in_query)) {
      end_part();
      in_query = true;
    } else {
      pieces.back().text += c;
    }
  }
  end_part();
  return OkStatus();
}

Status RequestTemplate::ParseBody(const std::string& body) {
  if (body.empty()) return OkStatus();
  std::string sample;
  bool in_string = false;
  body_.emplace_back();
  for (size_t at = 0; at < body.size(); ++at) {
    if (const size_t end = body[at] == '{' ? PlaceEnd(body, at) : 0; end != 0) {
      body_.back().name = body.substr(at + 1, end - at - 2);
      body_.back().in_string = in_string;
      Note(body_.back().name);
      sample += in_string ? "" : "null";
      body_.emplace_back();
      at = end - 1;
      continue;
    }
    body_.back().text += body[at];
    sample += body[at];
    if (in_string && body[at] == '\\' && at + 1 < body.size()) {
      body_.back().text += body[++at];
      sample += body[at];
    } else if (body[at] == '"') {
      in_string = !in_string;
    }
  }
  if (Json::accept(sample)) return OkStatus();
  return InvalidArgumentError("body: expected JSON text, with {NAME} for values and in strings");
}

Result<FilledRequest> RequestTemplate::Fill(const std::string& text) const {
  ASSIGN_OR_RETURN(const Json arguments, ReadArguments(text));
  std::string url = origin_;
  std::string segments;
  for (const Piece& piece : path_) {
    segments += piece.text;
    if (piece.name.empty()) continue;
    if (!IsThere(arguments, piece.name)) {
      return InvalidArgumentError("'" + piece.name + "' is missing");
    }
    ASSIGN_OR_RETURN(const std::string value, UrlText(arguments, piece.name));
    if (value.empty()) return InvalidArgumentError("'" + piece.name + "': expected some text");
    segments += PercentEncoded(value);
  }
  for (size_t begin = 0; begin <= segments.size();) {
    const size_t end = std::min(segments.find('/', begin), segments.size());
    if (IsDotSegment(segments.substr(begin, end - begin))) {
      return InvalidArgumentError("'.' and '..' can't be a part of the URL's path");
    }
    begin = end + 1;
  }
  url += segments;
  char separator = '?';
  for (const Pieces& part : query_) {
    const bool whole = std::all_of(part.begin(), part.end(), [&](const Piece& piece) {
      return piece.name.empty() || IsThere(arguments, piece.name);
    });
    if (!whole) continue;
    url += std::exchange(separator, '&');
    for (const Piece& piece : part) {
      url += piece.text;
      if (piece.name.empty()) continue;
      ASSIGN_OR_RETURN(const std::string value, UrlText(arguments, piece.name));
      url += PercentEncoded(value);
    }
  }
  FilledRequest filled;
  ASSIGN_OR_RETURN(filled.url, ParseUrl(url));
  if (!filled.url.SameOrigin(sample_)) return InternalError("the arguments changed the host");
  for (const Piece& piece : body_) {
    filled.body += piece.text;
    if (piece.name.empty()) continue;
    const Json value = arguments.contains(piece.name) ? arguments[piece.name] : Json();
    if (!piece.in_string) {
      filled.body += JsonText(value);
    } else if (!value.is_null()) {
      const std::string quoted = JsonText(value.is_string() ? value : Json(JsonText(value)));
      filled.body += quoted.substr(1, quoted.size() - 2);
    }
  }
  return filled;
}

Result<std::string> RequestTemplate::RestAsBody(const std::string& text) const {
  ASSIGN_OR_RETURN(const Json arguments, ReadArguments(text));
  Json rest = Json::object();
  for (const auto& [name, value] : arguments.items()) {
    if (!url_names_.contains(name)) rest[name] = value;
  }
  return JsonText(rest);
}

}  // namespace baleen

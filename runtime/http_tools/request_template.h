// RequestTemplate: URL and body of a declared tool, with places for what a model gives.
//
// A value is encoded for where it stands, so that it stays one path segment, one part of the query,
// one JSON value or a run of characters within a JSON string. Pure. Called by HttpTools.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "runtime/http/url.h"
#include "tools_sdk/status.h"

namespace baleen {

struct FilledRequest {
  Url url;
  std::string body;
};

/// Threads: const methods from any thread.
class RequestTemplate {
 public:
  /// Errors: INVALID_ARGUMENT: a place in scheme, host, port or fragment; a URL that is none; a
  /// body that isn't JSON; a '{' in the URL that begins no place.
  static Result<RequestTemplate> Parse(const std::string& url, const std::string& body);

  /// Parameters in the order in which they are named first.
  const std::vector<std::string>& names() const { return names_; }
  /// Those that the path names: they can't be absent.
  const std::set<std::string>& path_names() const { return path_names_; }
  const std::set<std::string>& url_names() const { return url_names_; }
  /// As it is with all parameters "x": for its origin.
  const Url& sample() const { return sample_; }
  bool has_body() const { return !body_.empty(); }

  /// `arguments`: JSON text of an object. Without a body of its own, `body` is empty.
  /// Errors: INVALID_ARGUMENT in words for a model: a path's parameter that is absent or empty, or
  /// makes the segment "." or ".."; an array or object in the URL; a URL that gets too long.
  Result<FilledRequest> Fill(const std::string& arguments) const;

  /// A JSON object of the arguments that the URL doesn't name, in their order.
  Result<std::string> RestAsBody(const std::string& arguments) const;

 private:
  /// Text, and behind it a parameter; the last piece has none.
  struct Piece {
    std::string text;
    std::string name;
    bool in_string = false;  ///< Of a body: within a JSON string.
  };
  using Pieces = std::vector<Piece>;

  Status ParseUrlPieces(const std::string& url);
  Status ParseBody(const std::string& body);
  void Note(const std::string& name);

  std::string origin_;  ///< Up to the path.
  Pieces path_;
  std::vector<Pieces> query_;  ///< By '&'.
  Pieces body_;
  Url sample_;
  std::vector<std::string> names_;
  std::set<std::string> path_names_, url_names_;
};

}  // namespace baleen

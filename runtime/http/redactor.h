// Redactor: puts "[secret NAME]" where a text holds a key or a secret.
//
// Exact values, as they are, in base64 (also within a longer text that was encoded),
// percent-encoded or as JSON escapes; and parts of at least half a value, as a cut leaves them.
// Guesses nothing: a value that somebody disguises otherwise is not found. The same text gives the
// same text as long as the values do. Called wherever a text from outside comes in.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/http/bearer_key.h"

namespace baleen {

/// Shorter values would be found in texts that know nothing of them.
inline constexpr size_t kSecretBytesMin = 8;

/// Threads: any.
class Redactor {
 public:
  /// A value's place, and its name in texts.
  struct Source {
    std::string name;
    KeyPlace place;
  };

  /// Reads all places; those that can't be read now hold nothing.
  explicit Redactor(std::vector<Source> sources);
  ~Redactor();
  Redactor(const Redactor&) = delete;
  Redactor& operator=(const Redactor&) = delete;

  /// Reads files that have changed since; earlier values are still looked for.
  /// Cost: a stat per file.
  void Refresh();

  /// Cost: a table look-up per byte.
  std::string Redact(std::string_view text) const;

  /// As Redact, of a text that goes on behind `text`: what ends like the beginning of a value waits
  /// for that. `*taken`: how much of `text` the answer is about; pass the rest again, with more
  /// behind it. So nothing is readable that Redact of the whole would have hidden.
  std::string RedactBegun(std::string_view text, size_t* taken) const;

  /// Of the longest text that is looked for. What is cut off a value's end at the front of a text,
  /// and not found there, has less than half of it.
  size_t LongestBytes() const;

 private:
  class Patterns;
  struct File;

  std::shared_ptr<const Patterns> Known() const;

  std::mutex refreshing_;
  std::vector<File> files_;  // guarded by refreshing_
  mutable std::mutex mutex_;
  /// Owners: this, and texts being looked through. Guarded by mutex_; never null.
  std::shared_ptr<const Patterns> patterns_;
};

}  // namespace baleen

// Conversation: a session's history as messages, for engines that are told in messages.
//
// Read from the journal's events on the current timeline, a part at a time; what is journalled is
// all that it knows. Calls get ids that are unique in it: "t1-call-1-1".
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "runtime/store/journal_records.h"
#include "tools_sdk/message.h"
#include "tools_sdk/status.h"

namespace baleen {

class Conversation {
 public:
  /// The text of tokens [begin, end) of the context, as far as it was shown.
  using TextOfTokens = std::function<Message(int64_t begin, int64_t end)>;

  /// Takes the next event of the timeline. What isn't of the conversation only counts as seen.
  /// Errors: DATA_LOSS (its payload).
  Status Take(const EventRecord& event, const TextOfTokens& text);

  /// Of the newest event taken.
  int64_t seq() const { return seq_; }
  /// Ends with what the last prompt said.
  const std::vector<Message>& messages() const { return messages_; }

 private:
  Status TakePrompt(const EventRecord& event, const TextOfTokens& text);
  Status TakeAnswer(const EventRecord& event);
  void Append(Message message, const std::string& turn);

  int64_t seq_ = 0;
  std::vector<Message> messages_;
  std::map<std::string, std::string> call_ids_;  ///< Of the last message with calls: own -> unique.
  bool open_ = false;                            ///< The last prompt has no whole answer yet.
  int64_t answer_begin_ = 0;                     ///< Token at which that answer begins.
};

}  // namespace baleen

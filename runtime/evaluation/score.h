// Scores: whether a reply is the expected one, and how sure a share is.
//
// Strict on purpose: a call counts if its name and every argument are right, an answer if it says
// just what it should. Knows no model. Called by the probes.
#pragma once

#include <cstdint>
#include <string>

#include "tools_sdk/message.h"

namespace baleen::evaluation {

/// One line of a report.
struct Row {
  std::string task;
  std::string variant;
  int64_t correct = 0;
  int64_t total = 0;
  double perplexity = 0;  ///< Of the task "perplexity", whose `total` counts tokens.

  bool is_share() const { return task != "perplexity"; }
  double share() const {
    return total == 0 ? 0 : static_cast<double>(correct) / static_cast<double>(total);
  }
};

struct Interval {
  double low = 0;
  double high = 1;
};

/// Wilson's 95 % interval of a share. [0, 1] for total 0.
/// Source: E. B. Wilson, 1927, "Probable inference, the law of succession, and statistical
/// inference"; z = 1.959964.
Interval WilsonInterval(int64_t correct, int64_t total);

/// The same calls in the same order, with arguments that are equal as JSON values (the order of
/// members makes no difference), and no text beside them.
bool SameCalls(const Message& expected, const Message& got);

/// The same text but for white space around it, and no calls.
bool SameAnswer(const Message& expected, const Message& got);

/// By what the expected message is: calls or an answer.
bool SameReply(const Message& expected, const Message& got);

}  // namespace baleen::evaluation

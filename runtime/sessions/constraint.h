// What a session's generations are kept to: from settings and declared tools to a constraint.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/effect.h"
#include "model/constraint/chat_grammar.h"
#include "runtime/session.h"
#include "runtime/sessions/journal_json.h"
#include "tools_sdk/tool_set.h"

namespace baleen {

struct SessionRun;

ThinkingMode ModeOf(const SessionSettings& settings);

/// Whether generations can be kept to `constraint`. Errors: INVALID_ARGUMENT/BAD_FIELD or
/// BAD_SCHEMA, FAILED_PRECONDITION/UNSATISFIABLE, RESOURCE_EXHAUSTED/SCHEMA_TOO_LARGE.
Status CheckConstraint(const ConstraintSettings& constraint, const SessionSettings& settings,
                       const ToolSet& tools);

/// Errors: as CheckConstraint.
Result<ChatShape> ShapeOf(const ConstraintSettings& constraint, const SessionSettings& settings,
                          const ToolSet& tools);

/// CheckConstraint and the grammar; kept in the session, so that a turn compiles nothing which the
/// one before it had compiled. Threads: control. Errors: as CheckConstraint.
Result<std::shared_ptr<const Grammar>> GrammarFor(const ConstraintSettings& constraint,
                                                  SessionRun* session);

/// What the tools' and the answer's schemas say that is not enforced while a text is written.
std::vector<std::string> SchemaNotes(const SessionSettings& settings, const ToolSet& tools);

/// What holds for the `generation`-th (from 1) generation of a turn; nullopt: no constraint.
std::optional<ConstraintSettings> ConstraintFor(const TurnStart& start,
                                                const GenerateEffect& effect, int64_t generation);

/// Checks a whole message that calls no tools against the answer's schema; what is wrong, or "".
std::string AnswerFault(const ConstraintSettings& constraint, const Message& message);

}  // namespace baleen

// HeaderRules: which headers of a request a tool or a script may set, and to what.
//
// Not those that say how a message is framed or where it goes; a secret's header is asked for by
// naming the secret. Pure. Called by whatever declares or makes a request.
#pragma once

#include <string>

#include "tools_sdk/status.h"

namespace baleen {

/// Of the header that has a secret as its value (`of_secret`), or any text.
/// Errors: INVALID_ARGUMENT naming it.
Status CheckHeaderName(const std::string& name, bool of_secret);

/// "Name: value", one line of it. Errors: INVALID_ARGUMENT.
Status CheckHeader(const std::string& header);

/// The header that lets a server recognise a call that it gets again. A script chooses the ids of
/// its calls: what isn't a letter, digit, or one of "._/-" is percent-encoded.
std::string IdempotencyHeader(const std::string& call_id);

}  // namespace baleen

// Reads a Hugging Face tokenizer.json into plain tables, refusing whatever isn't byte-level BPE
// with DeepSeek's pre-tokenizer.
//
// Builds no lookup structures. Called by the tokenizer only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// The tables of a tokenizer.json.
struct TokenizerTables {
  std::vector<std::string> tokens;  ///< By id, as written in the file; empty: no such id.
  std::vector<bool> added;          ///< By id.
  std::vector<std::pair<std::string, std::string>> merges;  ///< By rank, as written.
  bool ignore_merges = false;  ///< A piece that is a token is that token, whatever its merges say.
};

/// Errors: INVALID_ARGUMENT naming the part, what is supported and what was found.
Result<TokenizerTables> ReadTokenizerJson(std::string_view json);

}  // namespace baleen

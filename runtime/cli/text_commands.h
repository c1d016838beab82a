// The line-oriented verbs around text: tokenize, detokenize, render, parse.
//
// Plain structs and streams, no command-line library and no exit(); the `baleen` binary binds the
// flags, tests call these directly. They return an exit code. Loads no model.
#pragma once

#include <iosfwd>
#include <string>

#include "runtime/cli/exit_code.h"

namespace baleen::cli {

struct TokenizeArgs {
  std::string tokenizer;  ///< Path of a tokenizer.json.
  bool jsonl = false;
  bool data = false;  ///< Treat the text as data: control tokens' literals stay text.
};

/// `--jsonl`: per line a JSON string -> a JSON array of ids. Else all of `in` is one text. Lines
/// that fail answer {"error":...} and the others still run; the result is then kExitFailed.
int RunTokenize(const TokenizeArgs& args, std::istream& in, std::ostream& out, std::ostream& err);

struct DetokenizeArgs {
  std::string tokenizer;
  bool jsonl = false;
};

/// `--jsonl`: per line a JSON array of ids -> a JSON string. Else all of `in` is one array, and the
/// text is written as it is.
int RunDetokenize(const DetokenizeArgs& args, std::istream& in, std::ostream& out,
                  std::ostream& err);

struct RenderArgs {
  std::string tokenizer;
  std::string dialect;  ///< "preview" or "0731".
  bool jsonl = false;
};

/// `--jsonl`: per line {"messages":[...],"kwargs":{...}} -> {"text":...,"ids":[...]} or
/// {"error":...}, which is an answer: the result is kExitOk. Else all of `in` is one request, and
/// the text is written as it is.
int RunRender(const RenderArgs& args, std::istream& in, std::ostream& out, std::ostream& err);

struct ParseArgs {
  std::string dialect;  ///< "preview" or "0731": the same grammar.
  std::string mode;     ///< "chat" or "thinking"; without `--jsonl` only.
  bool jsonl = false;
  bool tolerant = false;
  std::string tools = {};  ///< File: JSON array of function objects, for `tolerant`.
};

/// `--jsonl`: per line {"text":...,"mode":"chat"|"thinking"} -> {"message":{...}} or {"error":...},
/// which is an answer: the result is kExitOk. Else all of `in` is one completion.
/// `--tolerant`: near misses of the markup are read too, and answers say what was mended or
/// refused.
int RunParse(const ParseArgs& args, std::istream& in, std::ostream& out, std::ostream& err);

}  // namespace baleen::cli

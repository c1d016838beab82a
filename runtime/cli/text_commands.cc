#include "runtime/cli/text_commands.h"

#include <cstdint>
#include <fstream>
#include <functional>
#include <istream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <vector>

#include "model/text/chat_encoder.h"
#include "model/text/chat_parser.h"
#include "model/text/tokenizer.h"
#include "model/text/tolerant_parser.h"
#include "tools_sdk/json_text.h"

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string ErrorLine(const Status& status) { return JsonText(Json{{"error", status.ToString()}}); }

std::string ReadAll(std::istream& in) {
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

int Refuse(const Status& status, std::ostream& err) {
  err << "error: " << status.ToString() << "\n";
  return kExitFailed;
}

/// Answers each line; returns whether all of them succeeded.
bool AnswerLines(std::istream& in, std::ostream& out,
                 const std::function<Result<Json>(const std::string&)>& answer) {
  bool all_ok = true;
  std::string line;
  while (std::getline(in, line)) {
    const Result<Json> result = answer(line);
    all_ok = all_ok && result.ok();
    out << (result.ok() ? JsonText(*result) : ErrorLine(result.status())) << "\n";
  }
  out.flush();
  return all_ok;
}

Result<Json> ParseLine(const std::string& line) {
  Json value = Json::parse(line, nullptr, false);
  if (value.is_discarded()) return InvalidArgumentError("line: expected valid JSON");
  return value;
}

Result<std::vector<int32_t>> ReadIds(const std::string& text) {
  ASSIGN_OR_RETURN(const Json value, ParseLine(text));
  if (!value.is_array()) return InvalidArgumentError("expected a JSON array of token ids");
  std::vector<int32_t> ids;
  for (const Json& id : value) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) {
      return InvalidArgumentError("expected token ids, got " + JsonText(id));
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

std::optional<ChatDialect> ReadDialect(const std::string& name, std::ostream& err) {
  if (name == "preview") return ChatDialect::kPreview;
  if (name == "0731") return ChatDialect::k0731;
  err << "error: --dialect: expected preview or 0731, got '" << name << "'\n";
  return std::nullopt;
}

std::optional<ThinkingMode> ReadMode(const std::string& name) {
  if (name == "chat") return ThinkingMode::kChat;
  if (name == "thinking") return ThinkingMode::kThinking;
  return std::nullopt;
}

Json MessageJson(const Message& message) {
  Json calls = Json::array();
  for (const ToolCall& call : message.tool_calls) {
    calls.push_back(
        {{"type", "function"}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  return {{"role", "assistant"},
          {"content", message.content},
          {"reasoning_content", message.reasoning},
          {"tool_calls", calls}};
}

struct ParseRequest {
  std::string text;
  ThinkingMode mode = ThinkingMode::kChat;
};

Result<ParseRequest> ReadParseRequest(const std::string& line) {
  ASSIGN_OR_RETURN(const Json request, ParseLine(line));
  const bool usable = request.is_object() && request.contains("text") && request.contains("mode") &&
                      request["text"].is_string() && request["mode"].is_string();
  const std::optional<ThinkingMode> mode =
      usable ? ReadMode(request["mode"].get<std::string>()) : std::nullopt;
  if (!mode.has_value()) {
    return InvalidArgumentError(
        "line: expected an object with a string `text` and a `mode` of chat or thinking");
  }
  return ParseRequest{request["text"].get<std::string>(), *mode};
}

Result<Json> AnswerParse(const std::string& line) {
  ASSIGN_OR_RETURN(const ParseRequest request, ReadParseRequest(line));
  ASSIGN_OR_RETURN(const Message message, ParseCompletion(request.text, request.mode));
  return Json{{"message", MessageJson(message)}};
}

/// A JSON array of function objects.
Result<ToolSet> ReadTools(const std::string& path) {
  ToolSet tools;
  if (path.empty()) return tools;
  std::ifstream file(path, std::ios::binary);
  if (!file) return NotFoundError("can't open '" + path + "'");
  const Json list = Json::parse(file, nullptr, false);
  if (!list.is_array()) {
    return InvalidArgumentError("'" + path + "': expected a JSON array of function objects");
  }
  for (const Json& entry : list) {
    const bool wrapped = entry.is_object() && entry.contains("function");
    const Json& function = wrapped ? entry["function"] : entry;
    ToolSpec spec;
    if (!function.is_object() || !function.contains("name") || !function["name"].is_string()) {
      return InvalidArgumentError("'" + path + "': a function object needs a string 'name'");
    }
    spec.name = function["name"].get<std::string>();
    spec.parameters =
        function.contains("parameters") ? JsonText(function["parameters"]) : R"({"type":"object"})";
    RETURN_IF_ERROR(tools.Add(std::move(spec)));
  }
  return tools;
}

Json RecoveredJson(const RecoveredMessage& recovered) {
  return Json{{"message", MessageJson(recovered.message)},
              {"repairs", recovered.repairs},
              {"refused", recovered.refused},
              {"cut", recovered.cut}};
}

int RunTolerantParse(const ParseArgs& args, std::istream& in, std::ostream& out,
                     std::ostream& err) {
  const Result<ToolSet> tools = ReadTools(args.tools);
  if (!tools.ok()) return Refuse(tools.status(), err);
  if (args.jsonl) {
    AnswerLines(in, out, [&](const std::string& line) -> Result<Json> {
      ASSIGN_OR_RETURN(const ParseRequest request, ReadParseRequest(line));
      return RecoveredJson(RecoverCompletion(request.text, {.mode = request.mode}, *tools));
    });
    return kExitOk;
  }
  const std::optional<ThinkingMode> mode = ReadMode(args.mode);
  if (!mode.has_value()) {
    err << "error: --mode: expected chat or thinking, got '" << args.mode << "'\n";
    return kExitUsage;
  }
  out << JsonText(RecoveredJson(RecoverCompletion(ReadAll(in), {.mode = *mode}, *tools))) << "\n"
      << std::flush;
  return kExitOk;
}

}  // namespace

int RunTokenize(const TokenizeArgs& args, std::istream& in, std::ostream& out, std::ostream& err) {
  const auto tokenizer = Tokenizer::Load(args.tokenizer);
  if (!tokenizer.ok()) return Refuse(tokenizer.status(), err);
  const TextTrust trust = args.data ? TextTrust::kData : TextTrust::kTrusted;
  const auto encode = [&](const std::string& text) -> Result<Json> {
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, (*tokenizer)->Encode(text, trust));
    return Json(ids);
  };
  if (args.jsonl) {
    const bool ok = AnswerLines(in, out, [&](const std::string& line) -> Result<Json> {
      ASSIGN_OR_RETURN(const Json text, ParseLine(line));
      if (!text.is_string()) return InvalidArgumentError("line: expected a JSON string");
      return encode(text.get_ref<const std::string&>());
    });
    return ok ? kExitOk : kExitFailed;
  }
  const Result<Json> ids = encode(ReadAll(in));
  if (!ids.ok()) return Refuse(ids.status(), err);
  out << JsonText(*ids) << "\n" << std::flush;
  return kExitOk;
}

int RunDetokenize(const DetokenizeArgs& args, std::istream& in, std::ostream& out,
                  std::ostream& err) {
  const auto tokenizer = Tokenizer::Load(args.tokenizer);
  if (!tokenizer.ok()) return Refuse(tokenizer.status(), err);
  const auto decode = [&](const std::string& line) -> Result<std::string> {
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadIds(line));
    return (*tokenizer)->Decode(ids);
  };
  if (args.jsonl) {
    const bool ok = AnswerLines(in, out, [&](const std::string& line) -> Result<Json> {
      ASSIGN_OR_RETURN(std::string text, decode(line));
      return Json(std::move(text));
    });
    return ok ? kExitOk : kExitFailed;
  }
  const Result<std::string> text = decode(ReadAll(in));
  if (!text.ok()) return Refuse(text.status(), err);
  out << *text << std::flush;
  return kExitOk;
}

int RunRender(const RenderArgs& args, std::istream& in, std::ostream& out, std::ostream& err) {
  const std::optional<ChatDialect> dialect = ReadDialect(args.dialect, err);
  if (!dialect.has_value()) return kExitUsage;
  const auto tokenizer = Tokenizer::Load(args.tokenizer);
  if (!tokenizer.ok()) return Refuse(tokenizer.status(), err);
  const auto render = [&](const std::string& request) {
    return RenderRequest(request, *dialect, **tokenizer);
  };
  if (args.jsonl) {
    AnswerLines(in, out, [&](const std::string& line) -> Result<Json> {
      ASSIGN_OR_RETURN(const std::vector<Segment> segments, render(line));
      ASSIGN_OR_RETURN(std::string text, SegmentsText(segments, **tokenizer));
      ASSIGN_OR_RETURN(std::vector<int32_t> ids, (*tokenizer)->EncodeSegments(segments));
      return Json{{"text", std::move(text)}, {"ids", std::move(ids)}};
    });
    return kExitOk;
  }
  const Result<std::vector<Segment>> segments = render(ReadAll(in));
  if (!segments.ok()) return Refuse(segments.status(), err);
  const Result<std::string> text = SegmentsText(*segments, **tokenizer);
  if (!text.ok()) return Refuse(text.status(), err);
  out << *text << std::flush;
  return kExitOk;
}

int RunParse(const ParseArgs& args, std::istream& in, std::ostream& out, std::ostream& err) {
  if (!ReadDialect(args.dialect, err).has_value()) return kExitUsage;
  if (args.tolerant) return RunTolerantParse(args, in, out, err);
  if (args.jsonl) {
    AnswerLines(in, out, AnswerParse);
    return kExitOk;
  }
  const std::optional<ThinkingMode> mode = ReadMode(args.mode);
  if (!mode.has_value()) {
    err << "error: --mode: expected chat or thinking, got '" << args.mode << "'\n";
    return kExitUsage;
  }
  const Result<Message> message = ParseCompletion(ReadAll(in), *mode);
  if (!message.ok()) return Refuse(message.status(), err);
  out << JsonText(MessageJson(*message)) << "\n" << std::flush;
  return kExitOk;
}

}  // namespace baleen::cli

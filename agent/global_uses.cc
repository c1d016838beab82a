#include "agent/global_uses.h"

#include <cstdint>
#include <cstring>
#include <lua5.4/lua.hpp>
#include <optional>

namespace baleen {
namespace {

static_assert(LUA_VERSION_NUM == 504, "another Lua has other instructions: see its lopcodes.h");

constexpr int kFunctionsDeepMax = 250;  // The parser's own limit is 200.

// Instructions: 7 bits operation, 8 bits A, 1 bit k, 8 bits B, 8 bits C.
constexpr uint32_t kGetTabUp = 11;  // R[A] := UpValue[B][K[C]]
constexpr uint32_t kGetField = 14;  // R[A] := R[B][K[C]]
constexpr uint32_t kSetTabUp = 15;  // UpValue[A][K[B]] := RK(C)
constexpr uint32_t kSetField = 18;  // R[A][K[B]] := RK(C)
constexpr uint32_t kSelf = 20;      // R[A] := R[B][RK(C)], for a call of a method
uint32_t OperationOf(uint32_t code) { return code & 0x7f; }
uint32_t A(uint32_t code) { return code >> 7 & 0xff; }
uint32_t B(uint32_t code) { return code >> 16 & 0xff; }
uint32_t C(uint32_t code) { return code >> 24; }
bool IsConstantC(uint32_t code) { return (code >> 15 & 1) != 0; }

/// Reads past the end give zeros and leave `ok` false.
class DumpReader {
 public:
  explicit DumpReader(std::string_view bytes) : left_(bytes) {}
  bool ok() const { return ok_; }

  std::string_view Bytes(size_t count) {
    if (count > left_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view bytes = left_.substr(0, count);
    left_.remove_prefix(count);
    return bytes;
  }
  uint8_t Byte() {
    const std::string_view byte = Bytes(1);
    return byte.empty() ? 0 : static_cast<uint8_t>(byte[0]);
  }
  /// Groups of 7 bits, the highest first; the last one is marked.
  size_t Size() {
    size_t size = 0;
    while (ok_) {
      const uint8_t byte = Byte();
      if (size > (SIZE_MAX >> 7)) ok_ = false;
      size = size << 7 | (byte & 0x7f);
      if ((byte & 0x80) != 0) return size;
    }
    return 0;
  }
  /// A count of things of at least one byte each.
  size_t Count() {
    const size_t count = Size();
    if (count > left_.size()) ok_ = false;
    return ok_ ? count : 0;
  }
  std::optional<std::string> Text() {
    const size_t size = Size();
    if (size == 0) return std::nullopt;
    return std::string(Bytes(size - 1));
  }

 private:
  std::string_view left_;
  bool ok_ = true;
};

struct Function {
  int first_line = 0;
  std::vector<uint32_t> code;
  std::vector<std::string> constants;  ///< Empty where it isn't a string.
  std::vector<std::string> upvalues;
  std::vector<int> lines;  ///< Of each instruction.
};

std::vector<std::string> ReadConstants(DumpReader& in) {
  std::vector<std::string> constants(in.Count());
  for (std::string& constant : constants) {
    switch (in.Byte()) {
      case LUA_TNIL:
      case LUA_TBOOLEAN:
      case LUA_TBOOLEAN | 1 << 4: break;
      case LUA_TNUMBER:
      case LUA_TNUMBER | 1 << 4: in.Bytes(8); break;
      case LUA_TSTRING:
      case LUA_TSTRING | 1 << 4: constant = in.Text().value_or(""); break;
      default: in.Bytes(SIZE_MAX); break;
    }
  }
  return constants;
}

/// Each instruction's distance from the one before, with a line in full now and then.
std::vector<int> ReadLines(DumpReader& in, int first_line) {
  constexpr int8_t kInFull = -128;
  const std::string_view steps = in.Bytes(in.Count());
  std::vector<std::pair<size_t, int>> full(in.Count());
  for (auto& [at, line] : full) {
    at = in.Size();
    line = static_cast<int>(in.Size());
  }
  std::vector<int> lines;
  int line = first_line;
  size_t next = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto step = static_cast<int8_t>(steps[i]);
    if (step == kInFull && next < full.size()) {
      line = full[next++].second;
    } else {
      line += step;
    }
    lines.push_back(line);
  }
  return lines;
}

void AppendUses(const Function& function, NameUses* uses) {
  const auto constant = [&](uint32_t at) {
    return at < function.constants.size() ? function.constants[at] : std::string();
  };
  const auto is_environment = [&](uint32_t upvalue) {
    return upvalue < function.upvalues.size() && function.upvalues[upvalue] == "_ENV";
  };
  for (size_t i = 0; i < function.code.size(); ++i) {
    const uint32_t code = function.code[i];
    const int line = i < function.lines.size() ? function.lines[i] : function.first_line;
    if (OperationOf(code) == kSetField) uses->members_set.insert(constant(B(code)));
    if (OperationOf(code) == kSelf && IsConstantC(code)) {
      uses->methods.push_back({line, constant(C(code))});
    }
    GlobalUse use;
    use.line = line;
    if (OperationOf(code) == kSetTabUp && is_environment(A(code))) {
      use.write = true;
      use.name = constant(B(code));
    } else if (OperationOf(code) == kGetTabUp && is_environment(B(code))) {
      use.name = constant(C(code));
      const uint32_t then = i + 1 < function.code.size() ? function.code[i + 1] : 0;
      const bool by_name = OperationOf(then) == kGetField || OperationOf(then) == kSelf;
      if (by_name && B(then) == A(code)) use.member = constant(C(then));
    } else {
      continue;
    }
    uses->globals.push_back(std::move(use));
  }
}

void ReadFunction(DumpReader& in, int depth, NameUses* uses) {
  if (depth > kFunctionsDeepMax) in.Bytes(SIZE_MAX);
  Function function;
  in.Text();  // the source's name
  function.first_line = static_cast<int>(in.Size());
  in.Size();    // last line
  in.Bytes(3);  // parameters, whether there may be more, registers
  const std::string_view code = in.Bytes(in.Count() * sizeof(uint32_t));
  function.code.resize(code.size() / sizeof(uint32_t));
  if (!code.empty()) std::memcpy(function.code.data(), code.data(), code.size());
  function.constants = ReadConstants(in);
  in.Bytes(in.Count() * 3);  // where upvalues come from
  NameUses within;
  for (size_t count = in.Count(); count > 0 && in.ok(); --count) {
    ReadFunction(in, depth + 1, &within);
  }
  function.lines = ReadLines(in, function.first_line);
  for (size_t count = in.Count(); count > 0 && in.ok(); --count) {  // local variables
    in.Text();
    in.Size();
    in.Size();
  }
  for (size_t count = in.Count(); count > 0 && in.ok(); --count) {
    function.upvalues.push_back(in.Text().value_or(""));
  }
  if (!in.ok()) return;
  AppendUses(function, uses);
  uses->globals.insert(uses->globals.end(), within.globals.begin(), within.globals.end());
  uses->methods.insert(uses->methods.end(), within.methods.begin(), within.methods.end());
  uses->members_set.merge(within.members_set);
}

}  // namespace

Result<NameUses> ReadNameUses(std::string_view dumped) {
  DumpReader in(dumped);
  // Signature, version, format; bytes that show damage; sizes of an instruction, an integer and a
  // number; an integer and a number.
  std::string expected = std::string(LUA_SIGNATURE) + '\x54' + '\0' + "\x19\x93\r\n\x1a\n";
  expected += {static_cast<char>(sizeof(uint32_t)), static_cast<char>(sizeof(lua_Integer)),
               static_cast<char>(sizeof(lua_Number))};
  const bool known = in.Bytes(expected.size()) == expected;
  in.Bytes(sizeof(lua_Integer) + sizeof(lua_Number));
  in.Byte();  // upvalues of the chunk
  NameUses uses;
  if (known) ReadFunction(in, 0, &uses);
  if (known && in.ok()) return uses;
  return InternalError("Lua's compiled form is not the one that this build reads");
}

}  // namespace baleen

// The C API's library functions: version, errors, options, opening and closing.
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>
#include <utility>

#include "runtime/c/handles.h"

namespace baleen::c {

int Return(const Status& status, baleen_error** error) {
  if (!status.ok() && error != nullptr) {
    // Without memory the code alone has to do.
    *error = new (std::nothrow) baleen_error{status};
  }
  return static_cast<int>(status.code());
}

Status ReplyText(std::string_view text, char** out) {
  if (out == nullptr) return OkStatus();
  *out = static_cast<char*>(std::malloc(text.size() + 1));
  if (*out == nullptr) return ResourceExhaustedError("no memory for the reply", "NO_MEMORY");
  std::memcpy(*out, text.data(), text.size());
  (*out)[text.size()] = '\0';
  return OkStatus();
}

Status CatchAll() noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kResourceExhausted, "no memory");
  } catch (const std::exception& error) {
    return InternalError(error.what());
  } catch (...) {
    return Status(StatusCode::kInternal, "unknown error");
  }
}

namespace {

struct Option {
  const char* name;
  bool (*set)(RuntimeOptions& options, std::string_view value);
  const char* expected;
};

template <auto kMember>
bool SetText(RuntimeOptions& options, std::string_view value) {
  options.*kMember = value;
  return true;
}

template <auto kMember>
bool SetNumber(RuntimeOptions& options, std::string_view value) {
  auto& number = options.*kMember;
  const char* end = value.data() + value.size();
  const auto [at, error] = std::from_chars(value.data(), end, number);
  return error == std::errc() && at == end;
}

template <auto kMember>
bool SetTruth(RuntimeOptions& options, std::string_view value) {
  if (value != "true" && value != "false") return false;
  options.*kMember = value == "true";
  return true;
}

/// One more of a list.
template <auto kMember>
bool AddText(RuntimeOptions& options, std::string_view value) {
  (options.*kMember).emplace_back(value);
  return true;
}

template <auto kMember>
constexpr Option Texts(const char* name) {
  return {name, &AddText<kMember>, "a text"};
}
template <auto kMember>
constexpr Option Text(const char* name) {
  return {name, &SetText<kMember>, "a text"};
}
template <auto kMember>
constexpr Option Number(const char* name) {
  return {name, &SetNumber<kMember>, "an integer in decimal"};
}
template <auto kMember>
constexpr Option Truth(const char* name) {
  return {name, &SetTruth<kMember>, "true or false"};
}

#define BALEEN_OPTION(kind, field) kind<&RuntimeOptions::field>(#field)
constexpr Option kOptions[] = {
    BALEEN_OPTION(Text, data_dir),
    BALEEN_OPTION(Text, model_path),
    BALEEN_OPTION(Text, mode),
    BALEEN_OPTION(Text, backend),
    BALEEN_OPTION(Number, threads),
    BALEEN_OPTION(Truth, map_weights),
    BALEEN_OPTION(Number, prefill_chunk_tokens),
    BALEEN_OPTION(Number, checkpoint_interval_tokens),
    BALEEN_OPTION(Text, checkpoint_policy),
    BALEEN_OPTION(Number, resident_sequences_max),
    BALEEN_OPTION(Number, kv_ram_bytes),
    BALEEN_OPTION(Number, kv_disk_bytes),
    BALEEN_OPTION(Number, file_history_bytes),
    BALEEN_OPTION(Truth, lazy_resume),
    BALEEN_OPTION(Number, row_wait_ms),
    BALEEN_OPTION(Number, tool_threads),
    BALEEN_OPTION(Number, tool_wait_ms_max),
    BALEEN_OPTION(Number, running_turns_max),
    BALEEN_OPTION(Number, turn_steps_max),
    BALEEN_OPTION(Number, input_bytes_max),
    BALEEN_OPTION(Texts, plugins),
    BALEEN_OPTION(Texts, plugins_unsandboxed),
    BALEEN_OPTION(Texts, plugins_in_process),
    BALEEN_OPTION(Text, tool_host_path),
    BALEEN_OPTION(Truth, accept_earlier_journal),
};
#undef BALEEN_OPTION

Status SetOption(RuntimeOptions& options, std::string_view name, std::string_view value) {
  std::string known;
  for (const Option& option : kOptions) {
    known += (known.empty() ? "" : ", ") + std::string(option.name);
    if (name != option.name) continue;
    if (option.set(options, value)) return OkStatus();
    return InvalidArgumentError("option \"" + std::string(name) + "\": expected " +
                                    option.expected + ", got \"" + std::string(value) + "\"",
                                "BAD_FIELD");
  }
  return InvalidArgumentError("unknown option \"" + std::string(name) + "\"; known: " + known,
                              "BAD_FIELD");
}

}  // namespace
}  // namespace baleen::c

using baleen::c::Guard;

extern "C" {

const char* baleen_version(void) { return BALEEN_VERSION; }

const char* baleen_code_name(int code) {
  // The names are literals, so they end with a zero.
  return baleen::StatusCodeName(static_cast<baleen::StatusCode>(code)).data();
}

void baleen_string_free(char* text) { std::free(text); }

const char* baleen_error_message(const baleen_error* error) {
  return error == nullptr ? "" : error->status.message().c_str();
}
const char* baleen_error_reason(const baleen_error* error) {
  return error == nullptr ? "" : error->status.reason().c_str();
}
int baleen_error_code(const baleen_error* error) {
  return error == nullptr ? BALEEN_OK : static_cast<int>(error->status.code());
}
void baleen_error_free(baleen_error* error) { delete error; }

baleen_options* baleen_options_new(void) { return new (std::nothrow) baleen_options; }
void baleen_options_free(baleen_options* options) { delete options; }

int baleen_options_set(baleen_options* options, const char* name, const char* value,
                       baleen_error** error) {
  return Guard(error, [&]() -> baleen::Status {
    if (options == nullptr || name == nullptr || value == nullptr) {
      return baleen::InvalidArgumentError("baleen_options_set: an argument is NULL", "BAD_FIELD");
    }
    return baleen::c::SetOption(options->options, name, value);
  });
}

int baleen_open(const baleen_options* options, baleen_runtime** runtime, baleen_error** error) {
  if (runtime != nullptr) *runtime = nullptr;
  return Guard(error, [&]() -> baleen::Status {
    if (options == nullptr || runtime == nullptr) {
      return baleen::InvalidArgumentError("baleen_open: an argument is NULL", "BAD_FIELD");
    }
    auto handle = std::make_unique<baleen_runtime>();
    ASSIGN_OR_RETURN(handle->runtime, baleen::Runtime::Open(options->options));
    *runtime = handle.release();
    return baleen::OkStatus();
  });
}

void baleen_close(baleen_runtime* runtime) { delete runtime; }

}  // extern "C"

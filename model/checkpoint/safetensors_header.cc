#include "model/checkpoint/safetensors_header.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>
#include <utility>

#include "model/checkpoint/shape.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

constexpr size_t kRankMax = 8;

std::optional<DType> DTypeOf(std::string_view name) {
  for (DType dtype : {DType::kF32, DType::kBf16, DType::kF16, DType::kF8E4M3, DType::kF8E8M0,
                      DType::kI8, DType::kU8, DType::kI32, DType::kI64}) {
    if (TraitsOf(dtype).name == name) return dtype;
  }
  return std::nullopt;
}

// States of the reader; the header has no other nesting than this.
enum class Place {
  kStart,
  kRoot,      // Between tensors.
  kMetadata,  // Inside "__metadata__": strings only.
  kTensor,    // Inside a tensor's object.
  kShape,     // Inside its "shape" list.
  kOffsets,   // Inside its "data_offsets" list.
  kDone,
};

class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  std::vector<SafetensorsEntry> TakeTensors() { return std::move(tensors_); }
  const Status& status() const { return status_; }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("true or false"); }
  bool number_integer(int64_t value) override { return Unexpected(std::to_string(value)); }
  bool number_float(double, const std::string& text) override { return Unexpected(text); }
  bool binary(Json::binary_t&) override { return Unexpected("binary"); }

  bool number_unsigned(uint64_t value) override {
    if (place_ == Place::kShape) {
      if (value > static_cast<uint64_t>(INT64_MAX)) return Unexpected(std::to_string(value));
      if (entry_.shape.size() == kRankMax) {
        return Fail("shape: expected at most " + std::to_string(kRankMax) + " dimensions");
      }
      entry_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ != Place::kOffsets) return Unexpected(std::to_string(value));
    if (offsets_ == 2) return Fail("data_offsets: expected two numbers, got more");
    (offsets_++ == 0 ? entry_.begin : entry_.end) = value;
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kTensor || key_ != "dtype") return Unexpected("a string");
    const std::optional<DType> dtype = DTypeOf(value);
    if (!dtype.has_value()) {
      return Fail("dtype: expected F32, BF16, F16, F8_E4M3, F8_E8M0, I8, U8, I32 or I64, got '" +
                  value.substr(0, 20) + "'");
    }
    entry_.dtype = *dtype;
    return true;
  }

  bool start_object(size_t) override {
    if (place_ == Place::kStart) {
      place_ = Place::kRoot;
    } else if (place_ == Place::kRoot && entry_.name == "__metadata__") {
      place_ = Place::kMetadata;
    } else if (place_ == Place::kRoot) {
      place_ = Place::kTensor;
    } else {
      return Unexpected("an object");
    }
    return true;
  }

  bool key(std::string& value) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ == Place::kRoot) {
      entry_ = SafetensorsEntry{};
      entry_.name = value;
      seen_ = {};
      offsets_ = 0;
      if (!names_.insert(value).second) return Fail("declared twice");
      return true;
    }
    key_ = value;
    bool* seen = value == "dtype"          ? &seen_.dtype
                 : value == "shape"        ? &seen_.shape
                 : value == "data_offsets" ? &seen_.offsets
                                           : nullptr;
    if (seen == nullptr) return Fail("expected dtype, shape, data_offsets; got '" + value + "'");
    if (std::exchange(*seen, true)) return Fail(value + ": stated twice");
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor) {
      if (!FinishTensor()) return false;
      place_ = Place::kRoot;
    } else {
      place_ = place_ == Place::kMetadata ? Place::kRoot : Place::kDone;
    }
    return true;
  }

  bool start_array(size_t) override {
    if (place_ == Place::kTensor && key_ == "shape") {
      place_ = Place::kShape;
    } else if (place_ == Place::kTensor && key_ == "data_offsets") {
      place_ = Place::kOffsets;
    } else {
      return Unexpected("a list");
    }
    return true;
  }

  bool end_array() override {
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    if (!status_.ok()) return false;
    status_ = InvalidArgumentError("'" + file_ + "': header is not JSON at byte " +
                                   std::to_string(position));
    return false;
  }

 private:
  struct Seen {
    bool dtype = false;
    bool shape = false;
    bool offsets = false;
  };

  bool FinishTensor() {
    if (!seen_.dtype || !seen_.shape || !seen_.offsets) {
      return Fail("expected dtype, shape and data_offsets, one is missing");
    }
    if (offsets_ != 2) return Fail("data_offsets: expected two numbers, got fewer");
    const int64_t bytes = TensorBytes(entry_.dtype, entry_.shape);
    if (bytes < 0) return Fail("shape " + ShapeText(entry_.shape) + ": too many elements");
    if (entry_.end < entry_.begin || entry_.end - entry_.begin != static_cast<uint64_t>(bytes)) {
      return Fail("data_offsets: expected " + std::to_string(bytes) + " bytes (" +
                  std::string(TraitsOf(entry_.dtype).name) + " " + ShapeText(entry_.shape) +
                  "), got " + std::to_string(entry_.begin) + " to " + std::to_string(entry_.end));
    }
    tensors_.push_back(std::move(entry_));
    return true;
  }

  bool Unexpected(const std::string& what) { return Fail("header: did not expect " + what); }

  bool Fail(const std::string& why) {
    const std::string tensor =
        entry_.name.empty() ? "" : ": tensor '" + entry_.name.substr(0, 200) + "'";
    if (status_.ok()) status_ = InvalidArgumentError("'" + file_ + "'" + tensor + ": " + why);
    return false;
  }

  const std::string& file_;
  Place place_ = Place::kStart;
  SafetensorsEntry entry_;
  Seen seen_;
  int offsets_ = 0;
  std::string key_;
  std::unordered_set<std::string> names_;
  std::vector<SafetensorsEntry> tensors_;
  Status status_;
};

}  // namespace

Result<std::vector<SafetensorsEntry>> ReadSafetensorsJson(std::string_view json,
                                                          const std::string& file) {
  HeaderReader reader(file);
  const bool parsed = Json::sax_parse(json.begin(), json.end(), &reader);
  RETURN_IF_ERROR(reader.status());
  if (!parsed) return InvalidArgumentError("'" + file + "': header is not JSON");
  return reader.TakeTensors();
}

}  // namespace baleen

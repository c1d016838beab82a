// The safetensors format: what is read back, and which headers are refused.
#include "model/checkpoint/safetensors.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "tests/checkpoint/folders.h"

namespace baleen {
namespace {

using testing::SafetensorsText;

std::span<const std::byte> AsBytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST_CASE("every type survives a round trip, mapped and read", "[safetensors]") {
  const TempDirectory folder;
  std::string bytes;
  for (int i = 0; i < 96; ++i) bytes.push_back(static_cast<char>(i * 7 + 1));
  const std::vector<DType> dtypes = {DType::kF32,    DType::kBf16,   DType::kF16,
                                     DType::kF8E4M3, DType::kF8E8M0, DType::kI8,
                                     DType::kU8,     DType::kI32,    DType::kI64};
  std::vector<SafetensorsOutput> outputs;
  for (DType dtype : dtypes) {
    const std::string name(TraitsOf(dtype).name);
    const int64_t bytes_each = TraitsOf(dtype).bits / 8;
    // Two parts of unequal length, joined by the writer.
    outputs.push_back({name,
                       dtype,
                       {3, 1, 4},
                       {AsBytes(bytes).subspan(0, 5),
                        AsBytes(bytes).subspan(5, static_cast<size_t>(12 * bytes_each - 5))}});
  }
  outputs.push_back({"scalar", DType::kF32, {}, {AsBytes(bytes).subspan(8, 4)}});
  outputs.push_back({"empty", DType::kF32, {0, 5}, {}});
  REQUIRE(WriteSafetensors(folder.File("a.safetensors"), outputs).ok());

  for (WeightAccess access : {WeightAccess::kMapped, WeightAccess::kRead}) {
    auto file = SafetensorsFile::Open(folder.File("a.safetensors"), access);
    INFO(file.status().ToString());
    REQUIRE(file.ok());
    REQUIRE((*file)->tensors().size() == dtypes.size() + 2);
    for (const SafetensorsEntry& entry : (*file)->tensors()) {
      const auto got = (*file)->BytesOf(entry);
      const size_t from = entry.name == "scalar" ? 8 : 0;
      INFO(entry.name);
      if (entry.name != "scalar" && entry.name != "empty") {
        CHECK(TraitsOf(entry.dtype).name == entry.name);
        CHECK(entry.shape == std::vector<int64_t>{3, 1, 4});
        CHECK(got.size() == static_cast<size_t>(12 * TraitsOf(entry.dtype).bits / 8));
      }
      CHECK(std::memcmp(got.data(), bytes.data() + from, got.size()) == 0);
      const auto address = reinterpret_cast<uintptr_t>(got.data());
      CHECK(address % static_cast<uintptr_t>(TraitsOf(entry.dtype).bits / 8) == 0);
    }
  }
}

struct BadHeader {
  const char* header;
  size_t data_bytes;
  const char* message;
};

TEST_CASE("bad headers are refused by file and tensor", "[safetensors]") {
  const BadHeader cases[] = {
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7, "tensor 'w'"},
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 9, "expected 8 bytes after"},
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4,
       "expected 8 bytes (F32 [2]), got 0 to 4"},
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "got 8 to 0"},
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551612,4]}})", 8,
       "data_offsets"},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},)"
       R"("w":{"dtype":"I8","shape":[4],"data_offsets":[2,6]}})",
       6, "tensor 'w': data_offsets: expected to begin at 4, got 2 (overlaps"},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},)"
       R"("w":{"dtype":"I8","shape":[4],"data_offsets":[5,9]}})",
       9, "tensor 'w': data_offsets: expected to begin at 4, got 5 (a gap)"},
      {R"({"w":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},)"
       R"("w":{"dtype":"I8","shape":[1],"data_offsets":[1,2]}})",
       2, "tensor 'w': declared twice"},
      {R"({"w":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", 8, "got 'F64'"},
      {R"({"w":{"dtype":"I8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1, "stated twice"},
      {R"({"w":{"dtype":"I8","shape":[-1],"data_offsets":[0,1]}})", 1, "did not expect -1"},
      {R"({"w":{"dtype":"I8","shape":[1.5],"data_offsets":[0,1]}})", 1, "did not expect 1.5"},
      {R"({"w":{"dtype":"I8","shape":[4294967296,4294967296,2],"data_offsets":[0,0]}})", 0,
       "too many elements"},
      {R"({"w":{"dtype":"I8","shape":[18446744073709551615],"data_offsets":[0,1]}})", 1,
       "did not expect 18446744073709551615"},
      {R"({"w":{"dtype":"I8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1,
       "at most 8 dimensions"},
      {R"({"w":{"dtype":"I8","shape":[1],"data_offsets":[0,1,2]}})", 1, "got more"},
      {R"({"w":{"dtype":"I8","shape":[1],"data_offsets":[1]}})", 1, "got fewer"},
      {R"({"w":{"dtype":"I8","shape":[1]}})", 1, "one is missing"},
      {R"({"w":{"dtype":"I8","shape":[1],"data_offsets":[0,1],"extra":1}})", 1, "got 'extra'"},
      {R"({"w":{"dtype":"I8","shape":[[1]],"data_offsets":[0,1]}})", 1, "did not expect a list"},
      {R"({"w":{"dtype":{},"shape":[1],"data_offsets":[0,1]}})", 1, "did not expect an object"},
      {R"({"w":7})", 0, "tensor 'w': header: did not expect 7"},
      {R"({"__metadata__":{"a":1}})", 0, "did not expect 1"},
      {R"([])", 0, "did not expect a list"},
      {R"({"w":)", 0, "header is not JSON"},
      {R"({} x)", 0, "header is not JSON"},
      {"", 0, "header is not JSON"},
  };
  for (const BadHeader& bad : cases) {
    const std::string text = SafetensorsText(bad.header, bad.data_bytes);
    const auto header = ParseSafetensors(AsBytes(text), "bad.safetensors");
    INFO(bad.header << ": " << header.status().ToString());
    CHECK(!header.ok());
    CHECK(header.status().message().find("bad.safetensors") != std::string::npos);
    CHECK(header.status().message().find(bad.message) != std::string::npos);
  }
}

TEST_CASE("header lengths beyond the file or the limit are refused", "[safetensors]") {
  CHECK(ParseSafetensors(AsBytes("1234567"), "f").status().code() == StatusCode::kDataLoss);
  std::string longer = SafetensorsText("{}", 0);
  longer[0] = 3;
  CHECK(ParseSafetensors(AsBytes(longer), "f").status().code() == StatusCode::kDataLoss);
  const std::string huge = std::string(8, '\xFF') + "{}";
  const auto header = ParseSafetensors(AsBytes(huge), "f");
  CHECK(header.status().message().find("header length: expected at most 100000000") !=
        std::string::npos);
  CHECK(ParseSafetensors(AsBytes(SafetensorsText("{}  ", 0)), "f").ok());
}

TEST_CASE("deep nesting costs nothing", "[safetensors]") {
  const std::string deep = R"({"w":{"shape":)" + std::string(1 << 20, '[');
  CHECK(!ParseSafetensors(AsBytes(SafetensorsText(deep, 0)), "f").ok());
}

TEST_CASE("parts that don't make the shape are refused", "[safetensors]") {
  const TempDirectory folder;
  const std::string bytes(7, 'x');
  const Status status =
      WriteSafetensors(folder.File("a.safetensors"), {{"w", DType::kF32, {2}, {AsBytes(bytes)}}});
  CHECK(status.message().find("'w' [2]: expected 8 bytes, got 7") != std::string::npos);
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("files that cannot be opened say so", "[safetensors]") {
  const TempDirectory folder;
  const auto open = [&](const std::string& name) {
    return SafetensorsFile::Open(folder.File(name), WeightAccess::kMapped).status();
  };
  CHECK(open("none").code() == StatusCode::kNotFound);
  CHECK(open("").code() == StatusCode::kInvalidArgument);  // The folder itself.
  testing::WriteFile(folder.File("empty"), "");
  CHECK(open("empty").code() == StatusCode::kDataLoss);
}

}  // namespace
}  // namespace baleen

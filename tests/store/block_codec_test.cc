#include "runtime/store/block_codec.h"

#include "tests/store/samples.h"
#include "tests/store/status_checks.h"

namespace baleen {
namespace {

const BlockKey kKey = NextBlockKey({}, std::vector<int32_t>{1, 2, 3}, kSampleScope);

}  // namespace

TEST_CASE("BlockCodecRoundTrips") {
  for (const int64_t bytes : {0, 512, 200'000}) {
    const StoredBlock block = SampleUnitBlock(3, bytes);
    const BlockShape shape = ShapeOf(block);
    REQUIRE(shape.units() == 4);
    for (int32_t unit = 0; unit < shape.units(); ++unit) {
      const BlockExtent extent = shape.extent(unit);
      const auto part =
          std::span(block.bytes)
              .subspan(static_cast<size_t>(extent.offset), static_cast<size_t>(extent.bytes));
      const std::string value = EncodeUnit(kKey, block.tokens, shape, unit, part);
      REQUIRE(std::ssize(value) == EncodedUnitBytes(std::ssize(block.tokens), shape, unit));
      std::vector<std::byte> out(part.size());
      REQUIRE_OK(LoadUnit(value, kKey, block.tokens, shape, unit, out));
      REQUIRE(std::equal(part.begin(), part.end(), out.begin(), out.end()));
      out.push_back({});
      REQUIRE_ERROR(LoadUnit(value, kKey, block.tokens, shape, unit, out),
                    StatusCode::kInvalidArgument, "room for");
    }
    REQUIRE_ERROR(LoadUnit("", kKey, block.tokens, shape, 4, {}), StatusCode::kInvalidArgument,
                  "units 0..3");
    const auto head = Must(DecodeResident(
        EncodeUnit(kKey, block.tokens, shape, 0,
                   std::span(block.bytes).first(static_cast<size_t>(shape.extent(0).bytes))),
        kKey));
    REQUIRE(head.tokens == block.tokens);
    REQUIRE(head.shape == shape.hash());
    const BlockShape decoded = Must(DecodeShape(EncodeShape(shape)));
    REQUIRE(decoded.hash() == shape.hash());
    REQUIRE(std::equal(decoded.streams().begin(), decoded.streams().end(), block.streams.begin(),
                       block.streams.end()));
  }
  const StoredCheckpoint checkpoint = SampleCheckpoint(5, 17);
  const auto decoded = Must(DecodeCheckpoint(EncodeCheckpoint(kKey, checkpoint), kKey));
  REQUIRE(decoded.position == checkpoint.position);
  REQUIRE(decoded.tail_tokens == checkpoint.tail_tokens);
  REQUIRE(decoded.state == checkpoint.state);
}

TEST_CASE("BlockCodecDetectsEveryFlippedBitTruncationAndExtraByte") {
  const StoredBlock block = SampleUnitBlock(1, 1024);
  const BlockShape shape = ShapeOf(block);
  const BlockKey other = NextBlockKey(kKey, block.tokens, kSampleScope);
  // Units 0 and 1, and a checkpoint.
  for (int kind = 0; kind < 3; ++kind) {
    const int32_t unit = kind;
    const BlockExtent extent = kind < 2 ? shape.extent(unit) : BlockExtent{};
    std::vector<std::byte> out(static_cast<size_t>(extent.bytes));
    std::string value = kind == 2 ? EncodeCheckpoint(kKey, SampleCheckpoint(1, 3))
                                  : EncodeUnit(kKey, block.tokens, shape, unit,
                                               std::span(block.bytes)
                                                   .subspan(static_cast<size_t>(extent.offset),
                                                            static_cast<size_t>(extent.bytes)));
    const auto decode = [&](std::string_view bytes, const BlockKey& key) {
      return kind == 2 ? DecodeCheckpoint(bytes, key).status()
                       : LoadUnit(bytes, key, block.tokens, shape, unit, out);
    };
    REQUIRE_OK(decode(value, kKey));
    const std::vector<std::byte> good = out;
    for (size_t at = 0; at < value.size(); ++at) {
      const char flipped = static_cast<char>(1 << (at % 8));
      value[at] ^= flipped;
      if (decode(value, kKey).code() != StatusCode::kDataLoss) FAIL("flip at " << at << " passed");
      value[at] ^= flipped;
      if (decode(value.substr(0, at), kKey).code() != StatusCode::kDataLoss) {
        FAIL("truncation to " << at << " bytes passed");
      }
    }
    REQUIRE(out == good);  // Untouched by what was refused.
    REQUIRE(decode(value + "x", kKey).code() == StatusCode::kDataLoss);
    REQUIRE(decode(value, other).code() == StatusCode::kDataLoss);
  }
  // A unit of the same size in another's place.
  const BlockExtent two = shape.extent(2);
  const std::string value =
      EncodeUnit(kKey, {}, shape, 2,
                 std::span(block.bytes)
                     .subspan(static_cast<size_t>(two.offset), static_cast<size_t>(two.bytes)));
  std::vector<std::byte> out(static_cast<size_t>(two.bytes));
  REQUIRE(shape.extent(3).bytes == two.bytes);
  REQUIRE_ERROR(LoadUnit(value, kKey, {}, shape, 3, out), StatusCode::kDataLoss, "checksum");
  REQUIRE_OK(LoadUnit(value, kKey, {}, shape, 2, out));
}

TEST_CASE("BlockShapeRefusesWhatCouldWriteOutsideItsUnit") {
  for (const StoredStream& bad :
       {StoredStream{"a", 4, 257, 0}, StoredStream{"a", 4, 256, 1}, StoredStream{"a", -1, 1, 0},
        StoredStream{"a", 1, -1, 0}, StoredStream{"a", 1, 1, -1},
        StoredStream{"a", INT64_MAX, INT64_MAX, 0}, StoredStream{std::string(257, 'n'), 1, 1, 0},
        StoredStream{"a", 1, 1, 0, -1}, StoredStream{"a", 1, 1, 0, kBlockUnitsMax}}) {
    CAPTURE(bad.row_bytes, bad.rows, bad.offset, bad.unit);
    REQUIRE_ERROR(BlockShape::Make({bad}, 1024), StatusCode::kInvalidArgument, "outside");
  }
  REQUIRE_OK(BlockShape::Make({{"a", 4, 256, 0}}, 1024));
  REQUIRE_ERROR(BlockShape::Make({}, -1), StatusCode::kInvalidArgument, "block of");
  REQUIRE_ERROR(BlockShape::Make({}, kBlockBytesMax + 1), StatusCode::kInvalidArgument, "block of");
  // Unit 1 lies within what unit 0 spans.
  REQUIRE_ERROR(BlockShape::Make({{"a", 8, 1, 0}, {"b", 8, 1, 8, 1}, {"c", 8, 1, 16}}, 64),
                StatusCode::kInvalidArgument, "overlap");
  REQUIRE_OK(BlockShape::Make({{"a", 8, 1, 0}, {"c", 8, 1, 8}, {"b", 8, 1, 16, 1}}, 64));
  const BlockShape shape = Must(BlockShape::Make({{"a", 8, 1, 0}}, 64));
  for (const auto& other : {StoredStream{"b", 8, 1, 0}, StoredStream{"a", 4, 2, 0},
                            StoredStream{"a", 8, 1, 8}, StoredStream{"a", 8, 1, 0, 1}}) {
    REQUIRE(Must(BlockShape::Make({other}, 64)).hash() != shape.hash());
  }
  const std::string value = EncodeShape(shape);
  for (size_t at = 0; at < value.size(); ++at) {
    REQUIRE(DecodeShape(value.substr(0, at)).status().code() == StatusCode::kDataLoss);
  }
  REQUIRE_ERROR(DecodeShape(value + "x"), StatusCode::kDataLoss, "too many");
}

TEST_CASE("BlockKeysDependOnEveryPartOfTheirInput") {
  const std::vector<int32_t> tokens = {1, 2, 3};
  // A change of these bytes orphans every stored block: raise kKvFormatVersion with it.
  // Source: SHA-256 by Python's hashlib over zeros[32], then (u64 length, bytes) of the ids and
  // names.
  REQUIRE(BlockKeyHex(kKey) == "dcb2d6a41368a365ba72f54c82610f1f6bea05447daf7309c68896ccac62a721");
  std::vector<BlockKey> keys = {kKey};
  keys.push_back(NextBlockKey(kKey, tokens, kSampleScope));
  keys.push_back(NextBlockKey({}, std::vector<int32_t>{1, 2, 4}, kSampleScope));
  keys.push_back(NextBlockKey({}, std::vector<int32_t>{1, 2}, kSampleScope));
  keys.push_back(NextBlockKey({}, tokens, {"fingerprint2", "native/cpu/1", "tenant"}));
  keys.push_back(NextBlockKey({}, tokens, {"fingerprint", "native/cpu/2", "tenant"}));
  keys.push_back(NextBlockKey({}, tokens, {"fingerprint", "native/cpu/1", "other"}));
  // The same characters, split elsewhere between the fields.
  keys.push_back(NextBlockKey({}, tokens, {"fingerprintnative/cpu/1", "", "tenant"}));
  for (size_t i = 0; i < keys.size(); ++i) {
    for (size_t j = 0; j < i; ++j) REQUIRE(keys[i] != keys[j]);
  }
}

}  // namespace baleen

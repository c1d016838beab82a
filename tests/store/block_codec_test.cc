#include "runtime/store/block_codec.h"

#include "tests/store/samples.h"
#include "tests/store/status_checks.h"

namespace baleen {
namespace {

const BlockKey kKey = NextBlockKey({}, std::vector<int32_t>{1, 2, 3}, kSampleScope);

}  // namespace

TEST_CASE("BlockCodecRoundTrips") {
  for (const int64_t bytes : {0, 512, 200'000}) {
    StoredBlock block = SampleBlock(3, bytes);
    const auto decoded =
        Must(DecodeBlock(EncodeBlock(kKey, block.tokens, block.streams, block.bytes), kKey));
    REQUIRE(decoded.tokens == block.tokens);
    REQUIRE(decoded.bytes == block.bytes);
    REQUIRE(decoded.streams.size() == 2);
    REQUIRE(decoded.streams[1].name == "L0.index.codes");
    REQUIRE(decoded.streams[1].row_bytes == bytes / 512);
    REQUIRE(decoded.streams[1].rows == 256);
    REQUIRE(decoded.streams[1].offset == bytes / 2);
  }
  const StoredCheckpoint checkpoint = SampleCheckpoint(5, 17);
  const auto decoded = Must(DecodeCheckpoint(EncodeCheckpoint(kKey, checkpoint), kKey));
  REQUIRE(decoded.position == checkpoint.position);
  REQUIRE(decoded.tail_tokens == checkpoint.tail_tokens);
  REQUIRE(decoded.state == checkpoint.state);
}

TEST_CASE("BlockCodecDetectsEveryFlippedBitTruncationAndExtraByte") {
  const StoredBlock block = SampleBlock(1, 1024);
  const StoredCheckpoint checkpoint = SampleCheckpoint(1, 3);
  const std::string values[] = {EncodeBlock(kKey, block.tokens, block.streams, block.bytes),
                                EncodeCheckpoint(kKey, checkpoint).substr()};
  for (int kind = 0; kind < 2; ++kind) {
    const auto decode = [&](std::string_view value) {
      return kind == 0 ? DecodeBlock(value, kKey).status() : DecodeCheckpoint(value, kKey).status();
    };
    std::string value = values[kind];
    REQUIRE_OK(decode(value));
    for (size_t at = 0; at < value.size(); ++at) {
      const char flipped = static_cast<char>(1 << (at % 8));
      value[at] ^= flipped;
      if (decode(value).code() != StatusCode::kDataLoss) FAIL("flip at byte " << at << " passed");
      value[at] ^= flipped;
      if (decode(value.substr(0, at)).code() != StatusCode::kDataLoss) {
        FAIL("truncation to " << at << " bytes passed");
      }
    }
    REQUIRE_ERROR(decode(value + "x"), StatusCode::kDataLoss, "expected");
    const BlockKey other = {};
    REQUIRE_ERROR(
        kind == 0 ? DecodeBlock(value, other).status() : DecodeCheckpoint(value, other).status(),
        StatusCode::kDataLoss, "another key");
  }
}

TEST_CASE("BlockCodecRefusesStreamsOutsideThePayload") {
  const StoredBlock block = SampleBlock(1, 1024);
  for (const StoredStream& bad :
       {StoredStream{"a", 4, 257, 0}, StoredStream{"a", 4, 256, 1}, StoredStream{"a", -1, 1, 0},
        StoredStream{"a", 1, -1, 0}, StoredStream{"a", 1, 1, -1},
        StoredStream{"a", INT64_MAX, INT64_MAX, 0}, StoredStream{std::string(257, 'n'), 1, 1, 0}}) {
    const std::vector<StoredStream> streams = {bad};
    CAPTURE(bad.row_bytes, bad.rows, bad.offset);
    REQUIRE_ERROR(CheckBlock(block.tokens, streams, block.bytes.size()),
                  StatusCode::kInvalidArgument, "outside");
    // Encoded all the same, with a right checksum, a reader refuses it too.
    REQUIRE(
        DecodeBlock(EncodeBlock(kKey, block.tokens, streams, block.bytes), kKey).status().code() ==
        StatusCode::kDataLoss);
  }
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

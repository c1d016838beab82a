// Fingerprints: what changes them, what doesn't, and the cache.
#include "model/checkpoint/fingerprint.h"

#include <catch2/catch.hpp>

#include "model/checkpoint/write_checkpoint.h"
#include "tests/checkpoint/folders.h"

namespace baleen {
namespace {

using testing::ReadFile;
using testing::SmallConfig;
using testing::WriteFile;

constexpr char kSingle[] = "model.safetensors";

// `reads` counts progress calls: 0 means that no tensor was hashed.
std::string Fingerprint(const TempDirectory& folder, const std::string& cache = "",
                        int* reads = nullptr) {
  auto checkpoint = Checkpoint::Open(folder.path(), {});
  INFO(checkpoint.status().ToString());
  REQUIRE(checkpoint.ok());
  int calls = 0;
  int64_t last = 0;
  int64_t expected = 0;
  FingerprintOptions options;
  options.cache_folder = cache;
  options.progress = [&](int64_t done, int64_t total) {
    ++calls;
    CHECK(done >= last);
    CHECK(done <= total);
    last = done;
    expected = total;
  };
  Result<std::string> fingerprint = CheckpointFingerprint(**checkpoint, options);
  REQUIRE(fingerprint.ok());
  CHECK(last == expected);
  if (reads != nullptr) *reads = calls;
  return *fingerprint;
}

void Write(const TempDirectory& folder, const WriteCheckpointOptions& options = {},
           uint64_t seed = 5) {
  const RandomWeights weights(SmallConfig(), seed, RandomStorage::kFloat32);
  REQUIRE(WriteCheckpoint(weights, folder.path(), options).ok());
}

TEST_CASE("SHA-256 of a known text", "[fingerprint]") {
  const std::string text = "abc";  // FIPS 180-2, appendix B.1.
  CHECK(Sha256Hex(std::as_bytes(std::span(text.data(), text.size()))) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("layout and names leave the fingerprint alone", "[fingerprint]") {
  const TempDirectory single;
  const TempDirectory sharded;
  const TempDirectory transformers;
  Write(single);
  Write(sharded, {100'000});
  Write(transformers, {0, NameStyle::kTransformers});
  const std::string fingerprint = Fingerprint(single);
  CHECK(fingerprint.size() == 64);
  CHECK(Fingerprint(single) == fingerprint);
  CHECK(Fingerprint(sharded) == fingerprint);
  CHECK(Fingerprint(transformers) == fingerprint);
  const RandomWeights weights(SmallConfig(), 5, RandomStorage::kFloat32);
  CHECK(*FingerprintOf(weights, "", nullptr) == fingerprint);
}

TEST_CASE("every input changes the fingerprint", "[fingerprint]") {
  const TempDirectory folder;
  Write(folder);
  const std::string before = Fingerprint(folder);
  SECTION("one bit of the last tensor") {
    std::string text = ReadFile(folder.File(kSingle));
    text.back() = static_cast<char>(text.back() ^ 1);
    WriteFile(folder.File(kSingle), text);
  }
  SECTION("one bit of a tensor in the middle") {
    std::string text = ReadFile(folder.File(kSingle));
    text[text.size() / 2] = static_cast<char>(text[text.size() / 2] ^ 1);
    WriteFile(folder.File(kSingle), text);
  }
  SECTION("config") {
    WriteFile(folder.File("config.json"), testing::Replaced(ReadFile(folder.File("config.json")),
                                                            "\"routed_scaling_factor\": 1.5",
                                                            "\"routed_scaling_factor\": 1.25"));
  }
  SECTION("tokenizer") { WriteFile(folder.File("tokenizer.json"), "{}"); }
  SECTION("seed") { Write(folder, {}, 6); }
  CHECK(Fingerprint(folder) != before);
}

TEST_CASE("spacing and order of config.json leave the fingerprint alone", "[fingerprint]") {
  const TempDirectory folder;
  Write(folder);
  const std::string before = Fingerprint(folder);
  WriteFile(folder.File("config.json"), testing::Replaced(ReadFile(folder.File("config.json")), "{",
                                                          "{ \"use_cache\": true,\n\n"));
  CHECK(Fingerprint(folder) == before);
}

TEST_CASE("the cache saves the reading and notices changes", "[fingerprint]") {
  const TempDirectory folder;
  const TempDirectory cache;
  const std::string cached = cache.File("deep/folder");
  Write(folder);
  int reads = 0;
  const std::string before = Fingerprint(folder, cached, &reads);
  CHECK(reads > 0);
  CHECK(Fingerprint(folder, cached, &reads) == before);
  CHECK(reads == 0);

  SECTION("a changed file") {
    std::string text = ReadFile(folder.File(kSingle));
    text.back() = static_cast<char>(text.back() ^ 1);
    WriteFile(folder.File(kSingle), text);
    // Set, not awaited: clocks of file systems are coarse.
    const auto time = std::filesystem::last_write_time(folder.File(kSingle));
    std::filesystem::last_write_time(folder.File(kSingle), time + std::chrono::nanoseconds(1));
    CHECK(Fingerprint(folder, cached, &reads) != before);
    CHECK(reads > 0);
  }
  SECTION("a tokenizer that came later") {
    WriteFile(folder.File("tokenizer.json"), "{}");
    CHECK(Fingerprint(folder, cached, &reads) != before);
  }
  SECTION("a damaged cache") {
    for (const std::string& damage :
         {std::string(), std::string("{"), std::string("{\"files\":1}"), std::string(9000, 'x')}) {
      for (const auto& entry : std::filesystem::directory_iterator(cached)) {
        WriteFile(entry.path().string(), damage);
      }
      CHECK(Fingerprint(folder, cached, &reads) == before);
      CHECK(reads > 0);
      CHECK(Fingerprint(folder, cached, &reads) == before);
      CHECK(reads == 0);  // Repaired.
    }
  }
  SECTION("a cache entry of other files or with nonsense inside") {
    for (const auto& entry : std::filesystem::directory_iterator(cached)) {
      WriteFile(entry.path().string(),
                testing::Replaced(ReadFile(entry.path().string()), before, "not a fingerprint"));
    }
    CHECK(Fingerprint(folder, cached, &reads) == before);
    CHECK(reads > 0);
  }
  SECTION("a cache that cannot be written") {
    WriteFile(cache.File("file"), "");
    CHECK(Fingerprint(folder, cache.File("file/below"), &reads) == before);
    CHECK(reads > 0);
  }
}

}  // namespace
}  // namespace baleen

// What a resume reads of the store at V4-Flash's shape, beside raw reads of the same bytes.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <random>
#include <set>
#include <utility>

#include "runtime/cli/bench_store.h"
#include "runtime/cli/flash_store.h"
#include "runtime/cli/raw_reads.h"
#include "runtime/store/kv_store.h"

namespace baleen::cli {
namespace {

constexpr int64_t kRawPieceBytes = 1 << 20;

std::vector<std::string> TableFiles(const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/kv/db")) {
    if (entry.path().extension() == ".sst") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

/// Memory for the units of a session, and the reads that fill it.
class UnitPlan {
 public:
  UnitPlan(const FlashSession& session, const BlockShape& shape)
      : session_(session), shape_(shape) {}

  void Add(int64_t block, int32_t unit) {
    UnitRead read;
    read.key = session_.key(block);
    read.unit = unit;
    read.tokens = session_.tokens(block);
    reads_.push_back(std::move(read));
    bytes_ += shape_.extent(unit).bytes;
  }

  /// Sets every `out`. The memory is touched here, as a RAM tier's would have been.
  void Place() {
    memory_.assign(static_cast<size_t>(bytes_), std::byte{1});
    size_t at = 0;
    for (UnitRead& read : reads_) {
      const auto bytes = static_cast<size_t>(shape_.extent(read.unit).bytes);
      read.out = std::span(memory_).subspan(at, bytes);
      at += bytes;
    }
  }

  std::vector<UnitRead>& reads() { return reads_; }
  int64_t bytes() const { return bytes_; }

 private:
  const FlashSession& session_;
  const BlockShape& shape_;
  std::vector<UnitRead> reads_;
  std::vector<std::byte> memory_;
  int64_t bytes_ = 0;
};

/// The blocks that `kFlashTopK` rows of a layer lie in, spread evenly at random: the worst case.
std::set<int64_t> SelectBlocks(std::mt19937_64& random, const FlashSession& session) {
  const int64_t rows = session.blocks() * session.block_tokens() / 4;
  std::uniform_int_distribution<int64_t> any(0, rows - 1);
  std::set<int64_t> blocks;
  for (int64_t i = 0; i < kFlashTopK; ++i) {
    blocks.insert(any(random) / (session.block_tokens() / 4));
  }
  return blocks;
}

/// One way of reading, against raw reads of the same bytes, in turns.
struct Comparison {
  std::vector<double> store_ms;
  std::vector<double> raw_ms[2];  ///< One thread; as many as the store has.
  std::vector<double> store_cpu_ms;
  std::vector<double> raw_cpu_ms[2];

  Json Report(int64_t bytes, int threads) const {
    const Spread store = Summarise(store_ms);
    const Spread one = Summarise(raw_ms[0]);
    const Spread many = Summarise(raw_ms[1]);
    return {{"bytes", bytes},
            {"store_ms", ToJson(store)},
            {"raw_ms", ToJson(one)},
            {"raw_threads", threads},
            {"raw_threads_ms", ToJson(many)},
            {"store_cpu_ms", Summarise(store_cpu_ms).median},
            {"raw_cpu_ms", Summarise(raw_cpu_ms[0]).median},
            {"mb_per_s", static_cast<double>(bytes) / 1e3 / store.median},
            {"raw_mb_per_s", static_cast<double>(bytes) / 1e3 / std::min(one.median, many.median)},
            {"ratio", store.median / std::min(one.median, many.median)}};
  }
};

/// Where the units of a growing session lie: one behind the other, in the order of number and unit.
std::vector<FileRange> UnitRanges(const FileRow& files, const std::vector<UnitRead>& reads,
                                  const std::vector<int64_t>& ordinals, int64_t units_total) {
  std::vector<FileRange> ranges;
  const int64_t stride = files.bytes() / std::max<int64_t>(units_total, 1);
  std::vector<int64_t> sorted = ordinals;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i) {
    const auto parts = files.Ranges(sorted[i] * stride, std::ssize(reads[i].out), kRawPieceBytes);
    ranges.insert(ranges.end(), parts.begin(), parts.end());
  }
  return ranges;
}

}  // namespace

Result<Json> BenchStoreResume(const StoreBenchFlags& flags, const std::string& folder) {
  const FlashSession session(1, flags.tokens, flags.block_tokens);
  ASSIGN_OR_RETURN(const BlockShape shape, FlashShape(flags.block_tokens));
  {
    ASSIGN_OR_RETURN(auto store, OpenFlashStore(folder, flags.reader_threads));
    RETURN_IF_ERROR(session.Write(*store, shape, 0, session.blocks(), flags.checkpoint_tokens));
  }
  UnitPlan full(session, shape);
  UnitPlan resident(session, shape);
  for (int64_t block = 0; block < session.blocks(); ++block) {
    resident.Add(block, 0);
    for (int32_t unit = 0; unit < shape.units(); ++unit) full.Add(block, unit);
  }
  UnitPlan selected(session, shape);
  std::vector<int64_t> ordinals;
  std::mt19937_64 random(flags.tokens);
  for (int32_t unit = 1; unit < shape.units(); ++unit) {
    for (const int64_t block : SelectBlocks(random, session)) {
      selected.Add(block, unit);
      ordinals.push_back(block * kFlashCsaLayers + unit - 1);
    }
  }
  for (UnitPlan* plan : {&full, &resident, &selected}) plan->Place();
  ASSIGN_OR_RETURN(const FileRow tables, FileRow::Open(TableFiles(folder)));
  // The same number of bytes from the same files.
  const auto all = tables.Ranges(0, full.bytes(), kRawPieceBytes);
  const auto residents = tables.Ranges(0, resident.bytes(), kRawPieceBytes);
  const auto units =
      UnitRanges(tables, selected.reads(), ordinals, session.blocks() * kFlashCsaLayers);
  Json json = {{"bench", "resume"},
               {"shape", "flash"},
               {"tokens", session.blocks() * flags.block_tokens},
               {"block_tokens", flags.block_tokens},
               {"reader_threads", flags.reader_threads},
               {"cold", "posix_fadvise(DONTNEED) on every file, the store opened anew"}};
  std::vector<double> open_ms;
  for (const bool cold : {true, false}) {
    Comparison compare[3];
    for (int i = 0; i < flags.repeats; ++i) {
      const std::pair<UnitPlan*, const std::vector<FileRange>*> parts[] = {
          {&full, &all}, {&resident, &residents}, {&selected, &units}};
      for (int part = 0; part < 3; ++part) {
        if (cold) ForgetFiles(folder);
        auto start = std::chrono::steady_clock::now();
        ASSIGN_OR_RETURN(auto store, OpenFlashStore(folder, flags.reader_threads));
        open_ms.push_back(MsSince(start));
        start = std::chrono::steady_clock::now();
        const double cpu = CpuMs();
        RETURN_IF_ERROR(store->LoadUnits(parts[part].first->reads(), shape));
        compare[part].store_ms.push_back(MsSince(start));
        compare[part].store_cpu_ms.push_back(CpuMs() - cpu);
        for (UnitRead& read : parts[part].first->reads()) read.number = 0;
        store.reset();
        for (const int threads : {1, flags.reader_threads}) {
          if (cold) ForgetFiles(folder);
          const double raw_cpu = CpuMs();
          ASSIGN_OR_RETURN(const double ms, RawRead(*parts[part].second, threads));
          compare[part].raw_ms[threads == 1 ? 0 : 1].push_back(ms);
          compare[part].raw_cpu_ms[threads == 1 ? 0 : 1].push_back(CpuMs() - raw_cpu);
        }
        if (flags.reader_threads == 1) compare[part].raw_ms[1] = compare[part].raw_ms[0];
      }
    }
    json["open_ms"] = ToJson(Summarise(open_ms));
    Json& row = json[cold ? "cold_reads" : "warm_reads"];
    row["full"] = compare[0].Report(full.bytes(), flags.reader_threads);
    row["resident"] = compare[1].Report(resident.bytes(), flags.reader_threads);
    row["selected"] = compare[2].Report(selected.bytes(), flags.reader_threads);
    row["selected"]["units"] = selected.reads().size();
    const double lazy = row["resident"]["store_ms"]["median"].get<double>() +
                        row["selected"]["store_ms"]["median"].get<double>();
    const auto raw = [&](const char* name) {
      return std::min(row[name]["raw_ms"]["median"].get<double>(),
                      row[name]["raw_threads_ms"]["median"].get<double>());
    };
    row["lazy"] = {{"bytes", resident.bytes() + selected.bytes()},
                   {"store_ms", lazy},
                   {"raw_ms", raw("resident") + raw("selected")},
                   {"ratio", lazy / (raw("resident") + raw("selected"))}};
  }
  return json;
}

}  // namespace baleen::cli

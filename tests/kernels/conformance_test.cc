// Every op on every backend: near the oracle, and bit for bit independent of the other rows of a
// call, of the number of threads, and of the instruction set.
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/op_cases.h"

namespace baleen::kernels::testing {
namespace {

std::vector<OpCase> AllCases() {
  std::vector<OpCase> all;
  for (auto* list : {&LinearCases, &RowOpCases, &StoredRowCases, &AttentionCases}) {
    for (OpCase& c : list()) all.push_back(std::move(c));
  }
  return all;
}

TEST_CASE("EveryBackendMatchesTheOracle") {
  const auto ref = MakeBackend("ref", 1);
  for (const OpCase& c : AllCases()) {
    const std::vector<float> expected = c.run(*ref, 0, c.tokens);
    const std::vector<double> bound = c.bound(expected);
    for (const auto& backend : CpuBackends(2)) {
      INFO(c.name << " on " << NameOf(*backend));
      CHECK(Difference(c.run(*backend, 0, c.tokens), expected, bound) == "");
    }
    for (std::string_view name : BackendNames()) {
      INFO(c.name << " on registered backend " << name);
      CHECK(Difference(c.run(*MakeBackend(name, 1), 0, c.tokens), expected, bound) == "");
    }
  }
}

TEST_CASE("ARowDoesNotDependOnTheOtherRowsOfTheCall") {
  auto backends = CpuBackends(2);
  backends.push_back(MakeBackend("ref", 1));
  for (const OpCase& c : AllCases()) {
    for (const auto& backend : backends) {
      std::vector<float> singles;
      for (int64_t t = 0; t < c.tokens; ++t) {
        const std::vector<float> one = c.run(*backend, t, t + 1);
        singles.insert(singles.end(), one.begin(), one.end());
      }
      INFO(c.name << " on " << NameOf(*backend));
      CHECK(BitDifference(c.run(*backend, 0, c.tokens), singles) == "");
    }
  }
}

TEST_CASE("ResultsDoNotDependOnTheNumberOfThreads") {
  const auto alone = MakeCpuBackend(1);
  for (int threads : {2, 3, 5}) {
    const auto backend = std::move(CpuBackends(threads).back());
    REQUIRE(backend->threads() == threads);
    for (const OpCase& c : AllCases()) {
      const std::vector<float> expected = c.run(*alone, 0, c.tokens);
      INFO(c.name << " on " << NameOf(*backend));
      CHECK(BitDifference(c.run(*backend, 0, c.tokens), expected) == "");
    }
  }
}

TEST_CASE("AllInstructionSetsGiveEqualBits") {
  const auto backends = CpuBackends(1);
  if (backends.size() < 2) WARN("only one instruction set here");
  for (const OpCase& c : AllCases()) {
    const std::vector<float> expected = c.run(*backends[0], 0, c.tokens);
    CHECK_FALSE(expected.empty());
    for (const auto& backend : backends) {
      INFO(c.name << " on " << NameOf(*backend) << " against portable");
      CHECK(BitDifference(c.run(*backend, 0, c.tokens), expected) == "");
    }
  }
}

TEST_CASE("TheRegistryKnowsItsBackends") {
  for (std::string_view name : BackendNames()) {
    const auto backend = MakeBackend(name, 2);
    REQUIRE(backend != nullptr);
    CHECK(backend->name() == name);
    CHECK(backend->arithmetic_revision() >= 1);
    CHECK_FALSE(backend->instruction_set().empty());
  }
  CHECK(MakeBackend("abacus", 1) == nullptr);
  CHECK(MakeBackend("cpu", 0)->threads() >= 1);
}

}  // namespace
}  // namespace baleen::kernels::testing

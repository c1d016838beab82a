#include "model/rope_table.h"

#include <catch2/catch.hpp>

namespace baleen {
namespace {

// Two roundings of fp32 per value (power, reciprocal) and three more for the blend: 5 half-ulps.
constexpr double kRelative = 5 * 0x1.0p-24;

TEST_CASE("PlainThetaMatchesKnownValues") {
  const std::vector<float> inv = InverseFrequencies({.theta = 10000, .dim = 64});
  REQUIRE(inv.size() == 32);
  CHECK(inv[0] == 1.0F);
  // The constants below have 10 digits.
  CHECK(inv[1] == Approx(.7498942093).epsilon(kRelative));
  CHECK(inv[15] == Approx(.01333521432).epsilon(kRelative));
  CHECK(inv[16] == Approx(.01).epsilon(kRelative));
  CHECK(inv[31] == Approx(1.333521432e-4).epsilon(kRelative));
}

TEST_CASE("YarnMatchesKnownValuesOfTheReleasedModels") {
  const RopeSpec spec = {.theta = 160000,
                         .dim = 64,
                         .yarn_factor = 16,
                         .original_positions = 65536,
                         .beta_fast = 32,
                         .beta_slow = 1};
  const double expected[32] = {1,
                               .6876560219,
                               .4728708045,
                               .3251724563,
                               .2236067977,
                               .1537645610,
                               .1057371263,
                               .07271077167,
                               .05,
                               .03438280110,
                               .02364354023,
                               .01625862282,
                               .01118033989,
                               .007688228051,
                               .005286856317,
                               .003635538584,
                               .002265625,
                               .001396801295,
                               8.496897268e-4,
                               5.080819630e-4,
                               2.969777783e-4,
                               1.681799886e-4,
                               9.086784295e-5,
                               4.544423230e-5,
                               1.953125e-5,
                               5.372312671e-6,
                               3.694303160e-6,
                               2.540409815e-6,
                               1.746928107e-6,
                               1.201285633e-6,
                               8.260712996e-7,
                               5.680529037e-7};
  const std::vector<float> inv = InverseFrequencies(spec);
  REQUIRE(inv.size() == 32);
  for (size_t i = 0; i < 32; ++i) {
    INFO("pair " << i);
    // Near the ramp's end f/16*ramp and f*(1-ramp) leave 1-ramp = 0.1 with the error of 1: 10x.
    CHECK(inv[i] == Approx(expected[i]).epsilon(10 * kRelative));
  }
}

TEST_CASE("YarnKeepsFastPairsAndDividesSlowOnes") {
  RopeSpec spec = {.theta = 160000, .dim = 64};
  const std::vector<float> plain = InverseFrequencies(spec);
  spec.yarn_factor = 16;
  spec.original_positions = 65536;
  const std::vector<float> yarn = InverseFrequencies(spec);
  for (size_t i = 0; i <= 15; ++i) CHECK(yarn[i] == plain[i]);
  for (size_t i = 25; i < 32; ++i) CHECK(yarn[i] == plain[i] / 16);
  CHECK(yarn[20] < plain[20]);
  CHECK(yarn[20] > plain[20] / 16);
}

TEST_CASE("LayerKindsTakeTheirOwnTheta") {
  ModelConfig config;
  config.rope_dim = 64;
  config.yarn_factor = 16;
  config.yarn_original_positions = 65536;
  CHECK(InverseFrequencies(WindowRope(config))[16] == Approx(.01).epsilon(kRelative));
  CHECK(InverseFrequencies(CompressRope(config))[8] == Approx(.05).epsilon(kRelative));
}

}  // namespace
}  // namespace baleen

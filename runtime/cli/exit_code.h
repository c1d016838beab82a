// What a command of `baleen` exits with; documented in `baleen --help`.
#pragma once

namespace baleen::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotAvailable = 3;

}  // namespace baleen::cli

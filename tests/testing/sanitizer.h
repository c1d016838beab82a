// Whether these tests, and the programs built with them, carry AddressSanitizer.
#pragma once

namespace baleen {

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BALEEN_TESTS_WITH_ADDRESS_SANITIZER 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define BALEEN_TESTS_WITH_ADDRESS_SANITIZER 1
#endif

#ifdef BALEEN_TESTS_WITH_ADDRESS_SANITIZER
inline constexpr bool kAddressSanitizer = true;
#else
inline constexpr bool kAddressSanitizer = false;
#endif

/// Why baleen-tool-host can't begin there in a sandbox: with a plugin, or before a command with a
/// way to the network.
inline constexpr char kNoHostInSandbox[] =
    "AddressSanitizer in baleen-tool-host maps more memory than a sandbox lets a process (4 GiB)";

}  // namespace baleen

// The wrapper and the harness are C++17, and need nothing but the standard library.
#include <baleen/plugin.h>
#include <baleen/plugin_tool.h>

#include <baleen/plugin_harness.h>

static_assert(__cplusplus == 201703L, "compiled as C++17");

std::string BaleenHarnessIn17();
std::string BaleenHarnessIn17() { return baleen::plugin::Value(int64_t{3}).Json(); }

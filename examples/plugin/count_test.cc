#include <baleen/plugin_harness.h>

#include <iostream>

int main() {
  const baleen::plugin::Harness harness(baleen_plugin_entry);
  const auto counted = harness.Call("count", {{"text", "one two\nthree\n"}});
  const auto refused = harness.Call("count", {{"text", 3}});
  const bool right = counted.ok && counted.output == "2 lines, 3 words, 14 bytes" && !refused.ok;
  if (!right) std::cerr << counted.output << refused.output << "\n";
  return right ? 0 : 1;
}

#include <baleen/plugin_harness.h>

#include <iostream>

int main() {
  const baleen::plugin::Harness harness(baleen_plugin_entry);
  const auto unchanged = harness.Call("watch", {{"path", "/etc/passwd"}, {"seconds", 0}});
  const auto missing = harness.Call("watch", {{"path", "/no/such/file"}});
  baleen::plugin::CallOptions options;
  options.cancelled = true;
  const auto cancelled = harness.Call("watch", {{"path", "/etc/passwd"}}, options);
  const bool right = unchanged.ok && unchanged.output.find("didn't change") != std::string::npos &&
                     !missing.ok && cancelled.failure == BALEEN_FAILURE_ABORTED;
  if (!right) std::cerr << unchanged.output << missing.text << cancelled.text << "\n";
  return right ? 0 : 1;
}

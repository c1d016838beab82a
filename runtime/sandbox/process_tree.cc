#include "runtime/sandbox/process_tree.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tools_sdk/open_directory.h"

namespace baleen {
namespace {

int OpenFolder(const std::string& path) {
  return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

std::string ReadSmall(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

int64_t ResidentBytes(pid_t process) {
  std::istringstream text(ReadSmall("/proc/" + std::to_string(process) + "/statm"));
  int64_t size = 0, resident = 0;
  text >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

/// Negative: it has ended.
pid_t GroupOf(pid_t process) {
  const std::string text = ReadSmall("/proc/" + std::to_string(process) + "/stat");
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return -1;
  std::istringstream rest(text.substr(name_end + 1));
  std::string state;
  pid_t parent = -1, group = -1;
  rest >> state >> parent >> group;
  return state == "Z" || state == "X" ? -1 : group;  // what has ended is nobody
}

}  // namespace

TreeUse UseOfDescendants(pid_t root, int64_t processes_max) {
  TreeUse use;
  std::vector<pid_t> open = {root};
  while (!open.empty() && use.processes < processes_max) {
    const pid_t process = open.back();
    open.pop_back();
    ++use.processes;
    use.memory_bytes += ResidentBytes(process);
    // Children are listed by the thread that made them.
    const std::string tasks = "/proc/" + std::to_string(process) + "/task";
    OpenDirectory threads(OpenFolder(tasks));
    while (const char* const thread = threads.Next()) {
      std::istringstream children(ReadSmall(tasks + "/" + thread + "/children"));
      for (pid_t child = 0; children >> child;) open.push_back(child);
    }
  }
  return use;
}

TreeUse UseOfGroup(pid_t group, int64_t processes_max) {
  TreeUse use;
  OpenDirectory all(OpenFolder("/proc"));
  while (const char* const name = all.Next()) {
    const pid_t process = static_cast<pid_t>(std::atoi(name));
    if (process <= 0 || GroupOf(process) != group) continue;
    use.memory_bytes += ResidentBytes(process);
    if (++use.processes >= processes_max) break;
  }
  return use;
}

}  // namespace baleen

#include "runtime/sandbox/process_tree.h"

#include <dirent.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace baleen {
namespace {

struct DirectoryCloser {
  void operator()(DIR* directory) const { closedir(directory); }
};

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
    const std::unique_ptr<DIR, DirectoryCloser> directory(opendir(tasks.c_str()));
    if (directory == nullptr) continue;
    while (const dirent* task = readdir(directory.get())) {
      if (task->d_name[0] == '.') continue;
      std::istringstream children(ReadSmall(tasks + "/" + task->d_name + "/children"));
      for (pid_t child = 0; children >> child;) open.push_back(child);
    }
  }
  return use;
}

TreeUse UseOfGroup(pid_t group, int64_t processes_max) {
  TreeUse use;
  const std::unique_ptr<DIR, DirectoryCloser> directory(opendir("/proc"));
  if (directory == nullptr) return use;
  while (const dirent* entry = readdir(directory.get())) {
    const pid_t process = static_cast<pid_t>(std::atoi(entry->d_name));
    if (process <= 0 || GroupOf(process) != group) continue;
    use.memory_bytes += ResidentBytes(process);
    if (++use.processes >= processes_max) break;
  }
  return use;
}

}  // namespace baleen

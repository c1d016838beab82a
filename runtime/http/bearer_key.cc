#include "runtime/http/bearer_key.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "tools_sdk/file_descriptor.h"

namespace baleen {
namespace {

constexpr size_t kKeyBytesMax = 16 << 10;

std::string HostOf(const std::string& url) {
  const size_t begin = url.find("://") + 3;
  std::string host = url.substr(begin, url.find_first_of("/?#", begin) - begin);
  if (const size_t user = host.rfind('@'); user != std::string::npos) host.erase(0, user + 1);
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

bool IsThisMachine(const std::string& host) {
  in_addr address = {};  // a name may begin with 127, too
  return host == "localhost" || host == "[::1]" ||
         (host.starts_with("127.") && inet_pton(AF_INET, host.c_str(), &address) == 1);
}

/// Fit for a header.
Status CheckKey(const std::string& key) {
  const bool clean =
      std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c != 127; });
  if (clean) return OkStatus();
  return InvalidArgumentError("the key has white space or control characters in it");
}

/// What a key file holds, without white space around it. It must be this user's or root's, and
/// nobody else's to read.
Result<std::string> ReadKeyFile(const std::string& path) {
  const auto refuse = [&](const std::string& what) {
    return UnavailableError("key file '" + path + "': " + what);
  };
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat about = {};
  if (file.get() < 0 || fstat(file.get(), &about) != 0) return refuse("can't be opened");
  const bool ours = about.st_uid == geteuid() || about.st_uid == 0;
  if (!ours || (about.st_mode & 077) != 0) {
    return refuse("belongs to or can be read by others; chown it and chmod 600");
  }
  std::string key(kKeyBytesMax, '\0');
  const ssize_t got = read(file.get(), key.data(), key.size());
  if (got < 0) return refuse("can't be read");
  key.resize(static_cast<size_t>(got));
  while (!key.empty() && static_cast<unsigned char>(key.back()) <= ' ') key.pop_back();
  if (Status clean = CheckKey(key); !clean.ok()) return refuse(clean.message());
  return key;
}

}  // namespace

bool GoesInClear(const std::string& url) {
  return url.starts_with("http://") && !IsThisMachine(HostOf(url));
}

Status CheckKeyPlace(const KeyPlace& place) {
  const bool named = !place.value.empty() || !place.variable.empty();
  if (named && !place.file.empty()) return InvalidArgumentError("expected one key, got two");
  return CheckKey(place.value);
}

Result<std::string> ReadKey(const KeyPlace& place) {
  if (!place.file.empty()) return ReadKeyFile(place.file);
  if (place.value.empty() && !place.variable.empty()) {
    return UnavailableError("its key is that of the environment variable " + place.variable +
                            ", which isn't set where the runtime runs; set it and start anew");
  }
  return place.value;
}

}  // namespace baleen

// Fuzz: hostile bytes as a session archive. Refused with a status, or read to its end.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "runtime/store/session_archive.h"

namespace {

/// Reads the file to its first error or its end; true if it was whole.
bool ReadThrough(const std::string& path) {
  auto reader = baleen::ArchiveReader::Open(path);
  if (!reader.ok()) return false;
  while (true) {
    const auto record = (*reader)->Next();
    if (!record.ok()) return false;
    if (record->kind == baleen::ArchiveFrame::kEnd) return true;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size_bytes) {
  const int file = memfd_create("archive", MFD_CLOEXEC);
  if (file < 0 || write(file, bytes, size_bytes) != static_cast<ssize_t>(size_bytes)) std::abort();
  // Nobody guesses 256 bits of digest: what reads to its end has a header and an end.
  if (ReadThrough("/proc/self/fd/" + std::to_string(file)) && size_bytes < 8 + 2 * 41) std::abort();
  close(file);
  return 0;
}

// `baleen doctor`: what of this machine and these settings would fail or disappoint, and what mends
// it.
#include "runtime/cli/doctor_command.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "runtime/cli/checkpoint_commands.h"
#include "runtime/cli/flags.h"
#include "runtime/sandbox/ripgrep.h"
#include "runtime/sandbox/sandbox.h"
#include "runtime/store/journal.h"
#include "runtime/store/library_versions.h"
#include "runtime/workspace/secret_walk.h"

#ifdef BALEEN_WITH_GRPC
#include "runtime/cli/clients_file.h"
#include "runtime/grpc/client.h"
#include "runtime/grpc/tls_files.h"
#endif

namespace baleen::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int64_t kGiB = int64_t{1} << 30;
constexpr int64_t kFreeBytesLeast =
    kGiB / 4;  ///< Journal, and room for SQLite and RocksDB to work.
constexpr int64_t kFreeBytesGood = 10 * kGiB;
constexpr double kSyncMsGood = 50;
constexpr rlim_t kFilesGood = 4096;

enum class Verdict { kOk, kWarn, kFail };

struct Finding {
  std::string name;
  Verdict verdict = Verdict::kOk;
  std::string found;
  std::string fix;  ///< Empty if kOk.
};

struct DoctorFlags {
  DaemonSettings settings;
  ReadConfig config;
  bool json = false;
};

Finding Ok(std::string name, std::string found) {
  return {std::move(name), Verdict::kOk, std::move(found), ""};
}
Finding Warn(std::string name, std::string found, std::string fix) {
  return {std::move(name), Verdict::kWarn, std::move(found), std::move(fix)};
}
Finding Broken(std::string name, std::string found, std::string fix) {
  return {std::move(name), Verdict::kFail, std::move(found), std::move(fix)};
}

std::string GiB(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f GiB",
                static_cast<double>(bytes) / static_cast<double>(kGiB));
  return text;
}

/// The folder itself, or the nearest one above it that is there.
fs::path ExistingAbove(const fs::path& path) {
  std::error_code ignored;  // an unreadable folder shows in what follows
  fs::path at = fs::absolute(path, ignored);
  while (!at.empty() && at != at.parent_path() && !fs::exists(at, ignored)) at = at.parent_path();
  return at;
}

Finding Versions(const DoctorFlags& flags) {
  utsname kernel = {};
  uname(&kernel);
  return Ok(
      "versions",
      "baleen " BALEEN_VERSION ", journal " + std::to_string(JournalVersion()) + ", " +
          StoreLibraryVersions() + ", " + kernel.sysname + " " + kernel.release +
          (flags.config.path.empty() ? ", no baleen.toml" : ", settings of " + flags.config.path));
}

Finding Processor(const DoctorFlags& /*flags*/) {
  if (__builtin_cpu_supports("avx512f")) return Ok("cpu", "AVX-512");
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Ok("cpu", "AVX2");
  return Warn("cpu", "neither AVX-512 nor AVX2: the portable kernels run, several times slower",
              "use a processor with AVX2; in a virtual machine, pass the host's CPU model through");
}

/// Bytes of the weights; 0: no model.
int64_t WeightBytes(const std::string& folder) {
  int64_t bytes = 0;
  std::error_code ignored;  // `model` says what is wrong
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".safetensors") {
      bytes += static_cast<int64_t>(entry.file_size(ignored));
    }
  }
  return bytes;
}

Finding ModelFound(const DoctorFlags& flags) {
  const auto named = ModelOrDefault(flags.settings.runtime.model_path);
  if (!named.ok()) {
    return Broken("model", named.status().message(),
                  "set `model` in [runtime] of baleen.toml, or give --model");
  }
  const std::string& path = *named;
  InspectOptions inspect;
  inspect.model = path;
  inspect.fingerprint = false;
  std::ostringstream ignored;
  const Status status = InspectCheckpoint(inspect, ignored);
  if (!status.ok()) {
    return Broken("model", status.ToString(),
                  "name a checkpoint folder with config.json, safetensors and tokenizer.json");
  }
  return Ok("model", path + ", " + GiB(WeightBytes(path)) + " of weights");
}

Finding Memory(const DoctorFlags& flags) {
  std::ifstream file("/proc/meminfo");
  int64_t available = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    int64_t kib = 0;
    if (words >> name >> kib && name == "MemAvailable:") available = kib * 1024;
  }
  const auto model = ModelOrDefault(flags.settings.runtime.model_path);
  const int64_t weights = model.ok() ? WeightBytes(*model) : 0;
  const int64_t wanted = weights + flags.settings.runtime.kv_ram_bytes;
  const std::string found = GiB(available) + " available; weights " + GiB(weights) + ", KV up to " +
                            GiB(flags.settings.runtime.kv_ram_bytes);
  if (wanted <= available) return Ok("memory", found);
  if (weights > available) {
    return Warn("memory", found,
                "weights would be read from the disk again and again: use a machine "
                "with more memory, or a smaller model");
  }
  return Warn("memory", found, "set a smaller kv_ram_bytes in [runtime]");
}

Finding DataFolder(const DoctorFlags& flags) {
  const std::string& path = flags.settings.runtime.data_dir;
  struct stat state = {};
  if (stat(path.c_str(), &state) != 0) {
    const fs::path above = ExistingAbove(path);
    if (access(above.c_str(), W_OK | X_OK) == 0) {
      return Ok("data", path + " will be made in " + above.string());
    }
    return Broken("data", path + " isn't there, and " + above.string() + " can't be written",
                  "choose another data_dir in [runtime], or chown the folder above it");
  }
  if (!S_ISDIR(state.st_mode))
    return Broken("data", path + " is no folder", "choose another data_dir");
  if (state.st_uid != geteuid() || (state.st_mode & 0022) != 0) {
    return Broken("data", path + " belongs to or can be written by others",
                  "chown it to the user that runs Baleen, and chmod 700");
  }
  return Ok("data", path + ", owned by this user");
}

Finding Space(const DoctorFlags& flags) {
  const fs::path at = ExistingAbove(flags.settings.runtime.data_dir);
  struct statvfs state = {};
  if (statvfs(at.c_str(), &state) != 0) {
    return Broken("space", at.string() + ": " + std::generic_category().message(errno),
                  "mount its disk");
  }
  const auto free = static_cast<int64_t>(state.f_bavail) * static_cast<int64_t>(state.f_frsize);
  const std::string found = GiB(free) + " free at " + at.string();
  const std::string fix = "free some, move data_dir, or set kv_disk_bytes in [runtime]";
  if (free < kFreeBytesLeast) return Broken("space", found, fix);
  return free < kFreeBytesGood ? Warn("space", found, fix) : Ok("space", found);
}

/// Writes and syncs a page, as each acknowledged event does.
Finding Syncs(const DoctorFlags& flags) {
  std::string path =
      (ExistingAbove(flags.settings.runtime.data_dir) / "baleen-doctor-XXXXXX").string();
  const int fd = mkstemp(path.data());
  if (fd < 0) {
    return Broken("sync", path + ": " + std::generic_category().message(errno),
                  "make the data folder writable for the user that runs Baleen");
  }
  unlink(path.c_str());
  const std::string page(4096, 'b');
  const auto begin = std::chrono::steady_clock::now();
  const bool synced = write(fd, page.data(), page.size()) == static_cast<ssize_t>(page.size()) &&
                      fdatasync(fd) == 0;
  const int error = errno;
  const double ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  close(fd);
  if (!synced) {
    return Broken("sync", "a page can't be synced: " + std::generic_category().message(error),
                  "put data_dir on a local disk that supports fsync");
  }
  char found[64];
  std::snprintf(found, sizeof(found), "a page takes %.2f ms to the disk", ms);
  if (ms <= kSyncMsGood) return Ok("sync", found);
  return Warn("sync", found,
              "every turn and tool call waits so long, several times: use a faster disk");
}

Finding JournalFound(const DoctorFlags& flags) {
  const std::string path = flags.settings.runtime.data_dir + "/journal.db";
  std::error_code ignored;  // as if it weren't there
  if (!fs::exists(path, ignored)) return Ok("journal", "none yet");
  JournalOptions options;
  options.path = path;
  options.read_only = true;
  const auto journal = Journal::Open(options);
  if (!journal.ok()) {
    return Broken(
        "journal", journal.status().ToString(),
        "an older version: start `baleen serve`, which migrates it; damage: restore a backup "
        "(`baleen sessions backup` made it)");
  }
  const auto bytes = (*journal)->BytesOnDisk();
  return Ok("journal", path + (bytes.ok() ? ", " + std::to_string(*bytes) + " bytes" : ""));
}

Finding Files(const DoctorFlags& /*flags*/) {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  const std::string found = std::to_string(limit.rlim_cur) + " open files allowed";
  if (limit.rlim_cur >= kFilesGood) return Ok("files", found);
  return Warn("files", found, "ulimit -n 65536, or LimitNOFILE=65536 in the unit file");
}

/// Whether commands and plugins can run in bounds here: tried, not guessed.
Finding SandboxOfCommands(const DoctorFlags& /*flags*/) {
  const Sandbox sandbox = Sandbox::Probe();
  const std::string found =
      std::string("commands and plugins run under ") + SandboxKindName(sandbox.kind());
  if (sandbox.kind() == SandboxKind::kBubblewrap) {
    return Ok("sandbox", found +
                             "; secret files of a workspace (.env, keys) are hidden from them, " +
                             std::to_string(kSecretLevels) + " levels deep, within its first " +
                             std::to_string(kSecretWalkEntriesMax) + " names, at most " +
                             std::to_string(kSecretPlacesMax));
  }
  const std::string mend =
      "apt-get install bubblewrap, and allow user namespaces (sysctl user.max_user_namespaces, "
      "kernel.unprivileged_userns_clone); file tools don't need them";
  if (sandbox.kind() == SandboxKind::kLandlock) {
    return Warn("sandbox",
                found +
                    ", which hides no secret file of a workspace from them (.env, keys) and "
                    "lets them change what agents and CI obey; " +
                    sandbox.reason(),
                mend);
  }
  return Warn("sandbox", "no command and no plugin runs: " + sandbox.reason(), mend);
}

#ifdef BALEEN_WITH_GRPC
Finding Listening(const DoctorFlags& flags) {
  std::string found;
  for (const std::string& address : flags.settings.listen) {
    found += (found.empty() ? "" : "; ") + address;
    if (!address.starts_with("unix:")) continue;
    const fs::path path = address.substr(5);
    if (ConnectRuntime(address, {.connect_ms_max = 1000}).ok()) {
      found += ": a daemon answers";
      continue;
    }
    const fs::path folder = path.parent_path();
    struct stat state = {};
    if (stat(folder.c_str(), &state) == 0 &&
        ((state.st_uid != geteuid() && state.st_uid != 0) || (state.st_mode & 0022) != 0)) {
      return Broken("socket", folder.string() + " belongs to or can be written by others",
                    "choose another `listen` in [server], or chmod 700");
    }
    found += ": free";
  }
  return Ok("socket", found);
}

Finding Credentials(const DoctorFlags& flags) {
  const DaemonSettings& settings = flags.settings;
  if (settings.tls_certificate_file.empty() && settings.clients_file.empty()) {
    return Ok("access", "this user, by Unix socket");
  }
  if (!settings.tls_certificate_file.empty()) {
    const auto identity = ReadTlsIdentity(settings.tls_certificate_file, settings.tls_key_file);
    if (!identity.ok()) {
      return Broken("access", identity.status().ToString(),
                    "mend tls_cert and tls_key in [server]");
    }
  }
  if (settings.clients_file.empty())
    return Ok("access", "by certificates of " + settings.client_ca_file);
  const auto clients = ReadClientsFile(settings.clients_file);
  if (!clients.ok()) {
    return Broken("access", clients.status().ToString(),
                  "mend the file of clients; `baleen token` writes it");
  }
  return Ok("access", std::to_string(clients->size()) + " clients in " + settings.clients_file);
}
#endif

Finding Engines(const DoctorFlags& flags) {
  std::string without_key;
  std::string variables;
  for (const RemoteEngineOptions& engine : flags.config.named.engines) {
    if (!engine.key.empty() || engine.key_variable.empty()) continue;
    without_key += (without_key.empty() ? "" : ", ") + engine.name;
    variables += (variables.empty() ? "" : ", ") + engine.key_variable;
  }
  if (!without_key.empty()) {
    return Warn("engines", "no key for " + without_key + ": their turns will fail",
                "set " + variables + " where `baleen serve` runs, or use key_file");
  }
  return Ok("engines", "the embedded one, and " +
                           std::to_string(flags.config.named.engines.size()) + " elsewhere");
}

Finding Searches(const DoctorFlags& /*flags*/) {
  if (access(Ripgrep::kProgram, X_OK) == 0) {
    return Ok("search", std::string("grep has ") + Ripgrep::kProgram +
                            " name the files of large trees that it need not read");
  }
  return Warn("search",
              std::string("no ") + Ripgrep::kProgram +
                  ": grep finds the same, and takes longer on trees of many thousand files",
              "apt-get install ripgrep");
}

using Check = Finding (*)(const DoctorFlags& flags);

int Examine(const DoctorFlags& flags) {
  std::vector<Check> checks = {
      &Versions, &Processor,    &Memory, &ModelFound,        &DataFolder, &Space,
      &Syncs,    &JournalFound, &Files,  &SandboxOfCommands, &Searches,   &Engines};
#ifdef BALEEN_WITH_GRPC
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);  // a socket where nobody answers is no news
  checks.push_back(&Listening);
  checks.push_back(&Credentials);
#endif
  constexpr const char* kNames[] = {"ok", "warn", "fail"};
  Verdict worst = Verdict::kOk;
  Json all = Json::array();
  for (const Check check : checks) {
    const Finding finding = check(flags);
    worst = std::max(worst, finding.verdict);
    const char* verdict = kNames[static_cast<int>(finding.verdict)];
    all.push_back({{"check", finding.name},
                   {"verdict", verdict},
                   {"found", finding.found},
                   {"fix", finding.fix}});
    if (flags.json) continue;
    std::printf("%-4s  %-9s %s\n", verdict, finding.name.c_str(), finding.found.c_str());
    if (!finding.fix.empty()) std::printf("                mend: %s\n", finding.fix.c_str());
  }
  if (flags.json) {
    std::cout << Json{{"verdict", kNames[static_cast<int>(worst)]}, {"checks", all}}.dump(2)
              << "\n";
  }
  return worst == Verdict::kFail ? kExitFailed : kExitOk;
}

}  // namespace

void AddDoctor(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<DoctorFlags>();  // owners: the callbacks below
  CLI::App* command = app.add_subcommand(
      "doctor",
      "What of this machine and these settings would fail or disappoint, and what mends it; "
      "exits with 1 if something would fail");
  AddDaemonSettings(*command, flags->settings);
  command->add_flag("--json", flags->json, "JSON on stdout");
  AddConfig(*command, flags->config);
  command->callback([flags, exit_code] { *exit_code = Examine(*flags); });
}

}  // namespace baleen::cli

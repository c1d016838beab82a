// `baleen token`: a bearer token for a client, whose digest goes into the file of clients.
#include <sys/random.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "model/checkpoint/fingerprint.h"
#include "runtime/cli/flags.h"

#ifdef BALEEN_WITH_GRPC
#include "runtime/cli/clients_file.h"
#endif

namespace baleen::cli {
#ifdef BALEEN_WITH_GRPC
namespace {

struct TokenFlags {
  std::string file;
  ClientGrant grant;
  int64_t days = 0;
  bool json = false;
};

int MakeToken(TokenFlags flags) {
  unsigned char random[32];
  if (getentropy(random, sizeof(random)) != 0) {
    return Fail(UnavailableError("the kernel gives no random bytes"), flags.json);
  }
  std::string token = "baleen-";
  for (const unsigned char byte : random) {
    token += "0123456789abcdef"[byte >> 4];
    token += "0123456789abcdef"[byte & 15];
  }
  flags.grant.token_sha256 = Sha256Hex(std::as_bytes(std::span(token)));
  if (flags.days > 0) {
    const auto end = std::chrono::system_clock::now() + std::chrono::hours(24 * flags.days);
    flags.grant.expires_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(end.time_since_epoch()).count();
  }
  const Status status = AddClient(flags.file, flags.grant);
  if (!status.ok()) return Fail(status, flags.json);
  if (flags.json) {
    std::cout << nlohmann::ordered_json{{"name", flags.grant.name}, {"token", token}}.dump()
              << "\n";
  } else {
    std::cout << token << "\n";
  }
  return kExitOk;
}

}  // namespace

void AddToken(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<TokenFlags>();  // owners: the callback below
  CLI::App* command = app.add_subcommand(
      "token",
      "Make a bearer token, print it once, and add its client to a file for `serve --clients`");
  command->add_option("name", flags->grant.name, "Who will show it; for messages and logs")
      ->required();
  command->add_option("--clients", flags->file, "TOML file of clients; made if it isn't there")
      ->required();
  command
      ->add_option("--scope", flags->grant.scopes,
                   "What it allows: sessions.read, sessions.write, turns.run, "
                   "approvals.resolve, tools.host, admin; several")
      ->required();
  command->add_option("--workspace", flags->grant.workspaces,
                      "Folder that it may name as a workspace, with all below; several");
  command->add_option("--allow-host", flags->grant.network_hosts,
                      "Host that its sessions may name for their commands, word for word; several");
  command->add_option("--allow-secret-file", flags->grant.readable_secrets,
                      "Secret file that its sessions may name to be read, word for word; several");
  command->add_option("--requests-per-second", flags->grant.quota.requests_per_second,
                      "That it may make; 0: no bound");
  command->add_option("--running-turns", flags->grant.quota.running_turns,
                      "That it may have at a time; 0: no bound");
  command->add_option("--sessions-max", flags->grant.quota.sessions_max,
                      "Sessions that it may have made; 0: no bound");
  command
      ->add_option("--stored-bytes-max", flags->grant.quota.stored_bytes_max,
                   "Text and token ids that those may hold in all, e.g. 2GiB; 0: no bound")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false));
  command->add_option("--days", flags->days, "Days until it expires; default: never")
      ->check(CLI::Range(int64_t{1}, int64_t{36500}));
  command->add_flag("--json", flags->json, "JSON on stdout");
  command->callback([flags, exit_code] { *exit_code = MakeToken(*flags); });
}
#else
void AddToken(CLI::App&, int*) {}  // a build without gRPC has nobody to show it to
#endif

}  // namespace baleen::cli

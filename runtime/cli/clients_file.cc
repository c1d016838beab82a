#include "runtime/cli/clients_file.h"

#include <fcntl.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <filesystem>
#include <system_error>

#include "runtime/grpc/tls_files.h"

namespace baleen::cli {
namespace {

Status Bad(const std::string& path, const toml::node& node, const std::string& what) {
  return InvalidArgumentError(path + ":" + std::to_string(node.source().begin.line) + ": " + what,
                              "BAD_CONFIG");
}

Result<int64_t> Milliseconds(const std::string& path, const toml::node& node) {
  const auto* moment = node.as_date_time();
  if (moment == nullptr || !moment->get().offset.has_value()) {
    return Bad(path, node, "expires: expected a date, time and zone as 2027-01-01T00:00:00Z");
  }
  const toml::date_time& at = moment->get();
  std::tm utc = {};
  utc.tm_year = at.date.year - 1900;
  utc.tm_mon = at.date.month - 1;
  utc.tm_mday = at.date.day;
  utc.tm_hour = at.time.hour;
  utc.tm_min = at.time.minute;
  utc.tm_sec = at.time.second;
  return (static_cast<int64_t>(timegm(&utc)) - int64_t{at.offset->minutes} * 60) * 1000;
}

Status ReadTexts(const std::string& path, const std::string& key, const toml::node& value,
                 std::vector<std::string>* texts) {
  const Status bad = Bad(path, value, key + ": expected a list of strings");
  if (!value.is_array()) return bad;
  for (const toml::node& text : *value.as_array()) {
    if (!text.is_string()) return bad;
    texts->push_back(text.as_string()->get());
  }
  return OkStatus();
}

/// Null: no bound goes by this name.
int64_t* BoundOf(ClientQuota& quota, const std::string& key) {
  return key == "requests_per_second" ? &quota.requests_per_second
         : key == "running_turns"     ? &quota.running_turns
         : key == "sessions_max"      ? &quota.sessions_max
         : key == "stored_bytes_max"  ? &quota.stored_bytes_max
                                      : nullptr;
}

std::vector<std::string>* TextsOf(ClientGrant& grant, std::string_view key) {
  return key == "scopes"             ? &grant.scopes
         : key == "workspaces"       ? &grant.workspaces
         : key == "network_hosts"    ? &grant.network_hosts
         : key == "readable_secrets" ? &grant.readable_secrets
                                     : nullptr;
}

Result<ClientGrant> GrantOf(const std::string& path, const toml::node& node) {
  if (!node.is_table()) return Bad(path, node, "expected [[client]]");
  ClientGrant grant;
  for (const auto& [name, value] : *node.as_table()) {
    const std::string key(name.str());
    std::string* text = key == "name"           ? &grant.name
                        : key == "token_sha256" ? &grant.token_sha256
                        : key == "certificate"  ? &grant.certificate
                                                : nullptr;
    if (text != nullptr) {
      if (!value.is_string()) return Bad(path, value, key + ": expected a string");
      *text = value.as_string()->get();
    } else if (key == "expires") {
      ASSIGN_OR_RETURN(grant.expires_ms, Milliseconds(path, value));
    } else if (std::vector<std::string>* texts = TextsOf(grant, key)) {
      RETURN_IF_ERROR(ReadTexts(path, key, value, texts));
    } else if (int64_t* bound = BoundOf(grant.quota, key)) {
      if (!value.is_integer()) return Bad(path, value, key + ": expected a whole number");
      *bound = value.as_integer()->get();
    } else {
      return Bad(
          path, value,
          "unknown key '" + key +
              "'; expected name, token_sha256, certificate, scopes, expires, workspaces, "
              "network_hosts, readable_secrets, requests_per_second, running_turns, sessions_max "
              "or stored_bytes_max");
    }
  }
  return grant;
}

std::string DateText(int64_t ms) {
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm utc = {};
  gmtime_r(&seconds, &utc);
  char text[32];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

toml::table TableOf(const ClientGrant& grant) {
  toml::table table;
  table.insert("name", grant.name);
  if (!grant.token_sha256.empty()) table.insert("token_sha256", grant.token_sha256);
  if (!grant.certificate.empty()) table.insert("certificate", grant.certificate);
  toml::array scopes;
  for (const std::string& scope : grant.scopes) scopes.push_back(scope);
  table.insert("scopes", std::move(scopes));
  toml::array workspaces;
  for (const std::string& folder : grant.workspaces) workspaces.push_back(folder);
  if (!workspaces.empty()) table.insert("workspaces", std::move(workspaces));
  toml::array hosts;
  for (const std::string& host : grant.network_hosts) hosts.push_back(host);
  if (!hosts.empty()) table.insert("network_hosts", std::move(hosts));
  toml::array secrets;
  for (const std::string& secret : grant.readable_secrets) secrets.push_back(secret);
  if (!secrets.empty()) table.insert("readable_secrets", std::move(secrets));
  ClientQuota quota = grant.quota;
  for (const char* name :
       {"requests_per_second", "running_turns", "sessions_max", "stored_bytes_max"}) {
    if (const int64_t bound = *BoundOf(quota, name); bound != 0) table.insert(name, bound);
  }
  return table;
}

}  // namespace

Result<std::vector<ClientGrant>> ReadClientsFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadSecretFile(path, "file of clients"));
  std::vector<ClientGrant> grants;
  try {
    const toml::table root = toml::parse(text, path);
    for (const auto& [key, node] : root) {
      if (key.str() != "client" || !node.is_array()) {
        return Bad(path, node, "unknown key '" + std::string(key.str()) + "'; expected [[client]]");
      }
      for (const toml::node& entry : *node.as_array()) {
        ASSIGN_OR_RETURN(ClientGrant grant, GrantOf(path, entry));
        grants.push_back(std::move(grant));
      }
    }
  } catch (const toml::parse_error& error) {
    return InvalidArgumentError(path + ":" + std::to_string(error.source().begin.line) + ": " +
                                    std::string(error.description()),
                                "BAD_CONFIG");
  }
  const Status status = CheckGrants(grants);
  if (!status.ok()) return status.WithContext(path);
  return grants;
}

Status AddClient(const std::string& path, const ClientGrant& grant) {
  std::vector<ClientGrant> grants;
  if (std::filesystem::exists(path)) {
    ASSIGN_OR_RETURN(grants, ReadClientsFile(path));
  }
  grants.push_back(grant);
  RETURN_IF_ERROR(CheckGrants(grants));
  std::ostringstream text;
  text << "\n[[client]]\n" << TableOf(grant) << "\n";
  if (grant.expires_ms != 0) text << "expires = " << DateText(grant.expires_ms) << "\n";
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const std::string line = text.str();
  // One write: readers see all of the entry or nothing.
  const bool written = fd >= 0 &&
                       write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()) &&
                       fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) close(fd);
  if (written) return OkStatus();
  return UnavailableError("'" + path +
                          "' can't be written: " + std::generic_category().message(error));
}

}  // namespace baleen::cli

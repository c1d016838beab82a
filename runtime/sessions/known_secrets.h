// The keys and secrets that a runtime is opened with, as what must not be read in any text.
#pragma once

#include <memory>

#include "runtime/http/redactor.h"
#include "runtime/runtime.h"

namespace baleen {

/// Whether NAME=VALUE of an environment is named like what is meant for nobody else. Others may
/// hold what is said everywhere: a folder, a language.
bool IsSecretVariable(const std::string& entry);

/// Of engines, MCP servers (of their environment, what is named like a secret), and those that
/// tools use.
std::unique_ptr<Redactor> MakeRedactor(const RuntimeOptions& options);

}  // namespace baleen

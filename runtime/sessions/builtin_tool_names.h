// The names of all tools that Baleen has itself.
#pragma once

#include <string>
#include <vector>

namespace baleen {

/// Those that scripts alone can call among them; nobody else's may be called so. Threads: any.
const std::vector<std::string>& BuiltinToolNames();

}  // namespace baleen

// The English that invented tools and tasks are made of. Own lists; no source to cite.
//
// Verbs, attributes and parameter names are shared by all splits (there is only one English);
// nouns, whole tool names and everything invented are not.
#pragma once

#include <array>
#include <string_view>

namespace baleen::training {

/// What a value looks like.
enum class ValueKind { kWord, kName, kWords, kFile, kNumber, kCode, kMail, kDate, kFlag, kDecimal };

/// A verb in tool names, and how users say it.
struct Verb {
  std::string_view name;
  std::array<std::string_view, 5> spoken;  ///< Empty ones at the end.
};

inline constexpr Verb kVerbs[] = {
    {"get", {"get", "fetch", "show", "look up", "find"}},
    {"create", {"create", "make", "add", "set up"}},
    {"delete", {"delete", "remove", "erase", "drop"}},
    {"send", {"send", "post", "deliver", "forward"}},
    {"update", {"update", "change", "modify", "adjust"}},
    {"list", {"list", "enumerate", "show all"}},
    {"open", {"open", "start", "launch"}},
    {"close", {"close", "stop", "shut"}},
    {"convert", {"convert", "turn", "transform"}},
    {"count", {"count", "tally", "number"}},
    {"search", {"search", "look for", "hunt for"}},
    {"copy", {"copy", "duplicate", "clone"}},
    {"move", {"move", "shift", "transfer"}},
    {"check", {"check", "verify", "test", "inspect"}},
    {"print", {"print", "view", "display"}},
    {"book", {"book", "reserve", "order"}},
    {"play", {"play", "put on"}},
    {"lock", {"lock", "secure", "seal"}},
    {"save", {"save", "store", "keep"}},
    {"execute", {"execute", "run", "carry out"}},
    {"rename", {"rename", "relabel"}},
    {"merge", {"merge", "combine", "join"}},
    {"schedule", {"schedule", "plan", "arrange"}},
    {"cancel", {"cancel", "call off", "abort"}},
    {"assign", {"assign", "give", "allot"}},
    {"measure", {"measure", "gauge"}},
    {"translate", {"translate", "render"}},
    {"archive", {"archive", "shelve", "put away"}},
    {"download", {"download", "pull"}},
    {"approve", {"approve", "accept", "confirm"}},
};

inline constexpr std::string_view kNouns[] = {
    "weather",  "file",    "note",    "user",     "order",   "ticket",  "flight",  "song",
    "room",     "price",   "stock",   "mail",     "message", "task",    "event",   "contact",
    "photo",    "report",  "invoice", "light",    "door",    "map",     "route",   "recipe",
    "book",     "car",     "parcel",  "page",     "table",   "record",  "account", "balance",
    "battery",  "boat",    "branch",  "bridge",   "budget",  "camera",  "chapter", "channel",
    "clock",    "comment", "course",  "customer", "device",  "diagram", "engine",  "exam",
    "farm",     "field",   "folder",  "garden",   "goal",    "group",   "heater",  "hotel",
    "image",    "island",  "issue",   "job",      "journal", "key",     "lamp",    "lesson",
    "letter",   "library", "license", "loan",     "machine", "market",  "meal",    "meeting",
    "menu",     "meter",   "model",   "movie",    "museum",  "network", "packet",  "patient",
    "payment",  "phone",   "plan",    "plant",    "player",  "poem",    "policy",  "printer",
    "product",  "profile", "project", "pump",     "query",   "queue",   "radio",   "rate",
    "reminder", "rental",  "robot",   "sample",   "schema",  "school",  "screen",  "sensor",
    "server",   "shelf",   "ship",    "shop",     "signal",  "station", "street",  "student",
    "survey",   "switch",  "tank",    "team",     "test",    "timer",   "tool",    "tower",
    "track",    "train",   "trip",    "truck",    "valve",   "vehicle", "video",   "village",
    "visitor",  "voucher", "wallet",  "window",   "worker",  "zone",
};

struct ParameterName {
  std::string_view name;
  ValueKind kind;
  std::string_view description;
};

inline constexpr ParameterName kParameterNames[] = {
    {"path", ValueKind::kFile, "File to use"},
    {"city", ValueKind::kName, "Name of the city"},
    {"name", ValueKind::kName, "Its name"},
    {"count", ValueKind::kNumber, "How many"},
    {"id", ValueKind::kCode, "Its id"},
    {"query", ValueKind::kWords, "What to look for"},
    {"text", ValueKind::kWords, "The text"},
    {"email", ValueKind::kMail, "Mail address"},
    {"title", ValueKind::kWords, "The title"},
    {"user", ValueKind::kName, "Who"},
    {"limit", ValueKind::kNumber, "At most so many"},
    {"key", ValueKind::kWord, "The key"},
    {"value", ValueKind::kWord, "The value"},
    {"date", ValueKind::kDate, "Day, as year-month-day"},
    {"amount", ValueKind::kNumber, "How much"},
    {"source", ValueKind::kFile, "Where from"},
    {"target", ValueKind::kFile, "Where to"},
    {"label", ValueKind::kWord, "The label"},
    {"code", ValueKind::kCode, "The code"},
    {"days", ValueKind::kNumber, "Number of days"},
    {"place", ValueKind::kName, "The place"},
    {"owner", ValueKind::kName, "Who owns it"},
    {"force", ValueKind::kFlag, "Whether to insist"},
    {"urgent", ValueKind::kFlag, "Whether it is urgent"},
    {"ratio", ValueKind::kDecimal, "The ratio"},
    {"weight", ValueKind::kDecimal, "Weight in kilograms"},
    {"tag", ValueKind::kWord, "The tag"},
    {"group", ValueKind::kWord, "The group"},
    {"reason", ValueKind::kWords, "Why"},
    {"level", ValueKind::kNumber, "The level"},
};

/// What facts and results state about something.
struct Attribute {
  std::string_view name;
  ValueKind kind;
};

inline constexpr Attribute kAttributes[] = {
    {"code", ValueKind::kCode},   {"key", ValueKind::kWord},      {"owner", ValueKind::kName},
    {"colour", ValueKind::kWord}, {"number", ValueKind::kNumber}, {"place", ValueKind::kName},
    {"name", ValueKind::kName},   {"password", ValueKind::kCode}, {"status", ValueKind::kWord},
    {"size", ValueKind::kNumber}, {"state", ValueKind::kWord},    {"title", ValueKind::kWords},
    {"port", ValueKind::kNumber}, {"author", ValueKind::kName},   {"version", ValueKind::kCode},
    {"date", ValueKind::kDate},   {"address", ValueKind::kMail},  {"limit", ValueKind::kNumber},
    {"path", ValueKind::kFile},   {"total", ValueKind::kNumber},  {"rate", ValueKind::kDecimal},
};

inline constexpr std::string_view kSystemPrompts[] = {
    "",
    "",
    "You are a helpful assistant.",
    "You are Krill, a small assistant.",
    "Use the tools. Be brief.",
    "Answer in one sentence.",
    "You work in a folder of files.",
};

}  // namespace baleen::training

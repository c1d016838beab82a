#include "runtime/sessions/settings_json.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "runtime/sessions/json_members.h"
#include "runtime/sessions/turn_settings_json.h"
#include "tools_sdk/json_text.h"

namespace baleen {
namespace {

using Json = nlohmann::ordered_json;
using Reader = JsonMembers;

EffectClass EffectClassFromName(const std::string& name) {
  if (name == "PURE") return EffectClass::kPure;
  if (name == "IDEMPOTENT") return EffectClass::kIdempotent;
  return EffectClass::kEffect;  // the careful reading of anything unknown
}

Json ToolSpecToJson(const ToolSpec& spec) {
  Json json = {{"name", spec.name},
               {"description", spec.description},
               {"parameters", spec.parameters},
               {"effect", EffectClassName(spec.effect)},
               {"timeout_ms", spec.timeout_ms},
               {"output_bytes_max", spec.output_bytes_max}};
  if (spec.of_mcp_server) json["of_mcp_server"] = true;
  return json;
}

Result<ToolSpec> ToolSpecFromJson(const Json& json) {
  ToolSpec spec;
  std::string effect;
  Reader reader(json, "tool");
  reader.Get("name", &spec.name);
  reader.Get("description", &spec.description);
  reader.Get("parameters", &spec.parameters);
  reader.Get("effect", &effect);
  reader.Get("timeout_ms", &spec.timeout_ms);
  reader.Get("output_bytes_max", &spec.output_bytes_max);
  reader.Get("of_mcp_server", &spec.of_mcp_server);
  spec.effect = EffectClassFromName(effect);
  RETURN_IF_ERROR(reader.status());
  return spec;
}

Json PolicyToJson(const PolicySettings& policy) {
  Json rules = Json::array();
  for (const PolicyRule& rule : policy.rules) {
    rules.push_back({{"tool", rule.tool},
                     {"effect", rule.effect},
                     {"decision", rule.decision},
                     {"why", rule.why}});
    if (!rule.argv.empty()) rules.back()["argv"] = rule.argv;
    if (!rule.writes.empty()) rules.back()["writes"] = rule.writes;
  }
  Json json = {{"rules", rules}, {"approval_ms_max", policy.approval_ms_max}};
  if (!policy.repeat_guard) json["repeat_guard"] = false;
  if (policy.ignore_taint) json["ignore_taint"] = true;
  return json;
}

Status ReadPolicy(Reader& parent, PolicySettings* policy) {
  const Json* json = parent.Find("policy");
  if (json == nullptr) return OkStatus();
  Reader reader(*json, "policy");
  reader.Get("approval_ms_max", &policy->approval_ms_max);
  reader.Get("repeat_guard", &policy->repeat_guard);
  reader.Get("ignore_taint", &policy->ignore_taint);
  if (const Json* rules = reader.Array("rules")) {
    for (const Json& entry : *rules) {
      PolicyRule rule;
      Reader fields(entry, "policy.rules[]");
      fields.Get("tool", &rule.tool);
      fields.Get("effect", &rule.effect);
      fields.Get("decision", &rule.decision);
      fields.Get("why", &rule.why);
      if (const Json* argv = fields.Array("argv")) {
        for (const Json& alternatives : *argv) {
          Reader words(Json{{"any_of", alternatives}}, "policy.rules[].argv[]");
          words.Get("any_of", &rule.argv.emplace_back());
          RETURN_IF_ERROR(words.status());
        }
      }
      fields.Get("writes", &rule.writes);
      RETURN_IF_ERROR(fields.status());
      policy->rules.push_back(std::move(rule));
    }
  }
  return reader.status();
}

}  // namespace

const char* EffectClassName(EffectClass effect) {
  switch (effect) {
    case EffectClass::kPure: return "PURE";
    case EffectClass::kIdempotent: return "IDEMPOTENT";
    case EffectClass::kEffect: return "EFFECT";
  }
  return "EFFECT";
}

std::string SettingsToJson(const SessionSettings& settings, const SettingsMarks& marks) {
  Json tools = Json::array();
  for (const ToolSpec& spec : settings.host_tools) tools.push_back(ToolSpecToJson(spec));
  Json json = {
      {"workspace", settings.workspace},
      {"script", settings.script},
      {"script_name", settings.script_name},
      {"system_prompt", settings.system_prompt},
      {"thinking", settings.thinking},
      {"reasoning_effort", settings.reasoning_effort},
      {"host_tools", tools},
      {"sampling", SamplingToJson(settings.sampling)},
      {"tokens_max", settings.tokens_max},
      {"constraint", ConstraintToJson(settings.constraint)},
      {"policy", PolicyToJson(settings.policy)},
      {"budget", BudgetToJson(settings.budget)},
      {"turn_budget", BudgetToJson(settings.turn_budget)},
      {"prices", {{"prompt", settings.prices.prompt}, {"generated", settings.prices.generated}}},
      {"engine", settings.engine},
      {"goal", settings.goal},
      {"notes", settings.notes},
      {"compact_at_percent", settings.compact_at_percent},
      {"title", settings.title}};
  if (!settings.tools.empty()) json["tools"] = settings.tools;
  if (!settings.defer_tools.empty()) json["defer_tools"] = settings.defer_tools;
  if (!settings.network_hosts.empty()) json["network_hosts"] = settings.network_hosts;
  if (!settings.readable_secrets.empty()) json["readable_secrets"] = settings.readable_secrets;
  // On-disk name, from when there were plugins only.
  for (const ToolSpec& spec : settings.outside_tools) {
    json["plugin_tools"].push_back(ToolSpecToJson(spec));
  }
  for (const ToolSpec& spec : settings.script_tools) {
    json["script_tools"].push_back(ToolSpecToJson(spec));
  }
  if (!marks.tenant.empty()) json["tenant"] = marks.tenant;
  if (!marks.worktree_of.empty()) json["worktree_of"] = marks.worktree_of;
  if (marks.revision != 0) {
    json["revision"] = {{"settings", marks.revision},
                        {"goal", marks.goal_revision},
                        {"notes", marks.notes_revision},
                        {"budget", marks.budget_revision}};
  }
  return JsonText(json);
}

std::string SettingsUpdateToJson(const std::vector<std::string>& mask,
                                 const SessionSettings& settings) {
  const Json all = Json::parse(SettingsToJson(settings));
  Json changed = Json::object();
  for (const std::string& path : mask) {
    const std::string name = path.substr(0, path.find('.'));
    changed[name] = all.at(name);
  }
  return JsonText<Json>({{"mask", mask}, {"settings", changed}});
}

Result<SessionSettings> SettingsFromJson(std::string_view json, SettingsMarks* marks) {
  SessionSettings settings;
  Reader reader(json, "session settings");
  reader.Get("workspace", &settings.workspace);
  reader.Get("script", &settings.script);
  reader.Get("script_name", &settings.script_name);
  reader.Get("system_prompt", &settings.system_prompt);
  reader.Get("thinking", &settings.thinking);
  reader.Get("reasoning_effort", &settings.reasoning_effort);
  reader.Get("tokens_max", &settings.tokens_max);
  reader.Get("title", &settings.title);
  reader.Get("engine", &settings.engine);
  reader.Get("goal", &settings.goal);
  reader.Get("notes", &settings.notes);
  reader.Get("compact_at_percent", &settings.compact_at_percent);
  RETURN_IF_ERROR(ReadSampling(reader, &settings.sampling));
  std::optional<ConstraintSettings> constraint;
  RETURN_IF_ERROR(ReadConstraint(reader, &constraint));
  if (constraint.has_value()) settings.constraint = *std::move(constraint);
  RETURN_IF_ERROR(ReadPolicy(reader, &settings.policy));
  RETURN_IF_ERROR(ReadBudget(reader, "budget", &settings.budget));
  RETURN_IF_ERROR(ReadBudget(reader, "turn_budget", &settings.turn_budget));
  if (const Json* prices = reader.Find("prices")) {
    Reader fields(*prices, "prices");
    fields.Get("prompt", &settings.prices.prompt);
    fields.Get("generated", &settings.prices.generated);
    RETURN_IF_ERROR(fields.status());
  }
  reader.Get("tools", &settings.tools);
  reader.Get("defer_tools", &settings.defer_tools);
  reader.Get("network_hosts", &settings.network_hosts);
  reader.Get("readable_secrets", &settings.readable_secrets);
  if (const Json* tools = reader.Array("host_tools")) {
    for (const Json& tool : *tools) {
      ASSIGN_OR_RETURN(ToolSpec spec, ToolSpecFromJson(tool));
      settings.host_tools.push_back(std::move(spec));
    }
  }
  if (const Json* tools = reader.Array("plugin_tools")) {
    for (const Json& tool : *tools) {
      ASSIGN_OR_RETURN(ToolSpec spec, ToolSpecFromJson(tool));
      settings.outside_tools.push_back(std::move(spec));
    }
  }
  if (const Json* tools = reader.Array("script_tools")) {
    for (const Json& tool : *tools) {
      ASSIGN_OR_RETURN(ToolSpec spec, ToolSpecFromJson(tool));
      settings.script_tools.push_back(std::move(spec));
    }
  }
  if (marks != nullptr) {
    reader.Get("tenant", &marks->tenant);
    reader.Get("worktree_of", &marks->worktree_of);
    if (const Json* revision = reader.Find("revision")) {
      Reader fields(*revision, "revision");
      fields.Get("settings", &marks->revision);
      fields.Get("goal", &marks->goal_revision);
      fields.Get("notes", &marks->notes_revision);
      fields.Get("budget", &marks->budget_revision);
      RETURN_IF_ERROR(fields.status());
    }
  }
  RETURN_IF_ERROR(reader.status());
  return settings;
}

}  // namespace baleen

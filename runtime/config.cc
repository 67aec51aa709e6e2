// SPDX-License-Identifier: Apache-2.0
#include "millrace/config.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "runtime/config_source.h"
#include "runtime/config_table.h"
#include "runtime/error_rules.h"
#include "runtime/kafka/client_config.h"
#include "runtime/kafka/property_rules.h"
#include "runtime/suggestion.h"

namespace millrace {
namespace {

constexpr std::string_view kHidden = "[hidden]";

// Labels that instruments have themselves, and those Prometheus reserves.
constexpr std::array kTakenLabels = std::to_array<std::string_view>(
    {"topic", "partition", "store", "task", "le", "quantile", "job", "instance"});

// " (file:3)" if the value is still the one read there, " (program)" otherwise.
std::string origin_of(const Config& config, const std::string& key, const std::string& value) {
  const auto found = config.sources.find(key);
  if (found == config.sources.end() || found->second.value != value) return "program";
  return found->second.origin;
}

// What is in force where a setting is empty and its default is made of others; empty: nothing is.
std::string derived(const Config& config, std::string_view key) {
  if (key == "commit_interval_ms") {
    return std::to_string(config.effective_commit_interval().count());
  }
  if (config.application_id.empty()) return {};
  if (key == "client_id") return base_client_id(config);
  if (key == "dead_letter_topic") return dead_letter_topic(config.application_id, {});
  return {};
}

std::string check_label(const std::string& name) {
  constexpr auto is_legal = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; };
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name.front())) != 0 ||
      name.starts_with("__") || !std::ranges::all_of(name, is_legal)) {
    return "is not a label name: [a-zA-Z_][a-zA-Z0-9_]*, not beginning with two underscores";
  }
  if (std::ranges::find(kTakenLabels, name) != kTakenLabels.end()) {
    return "is a label that metrics have already";
  }
  return {};
}

void check_properties(const Config& config, std::vector<std::string>& problems) {
  for (const auto& [name, value] : config.kafka) {
    const std::string where =
        "kafka." + name + " (" + origin_of(config, "kafka." + name, value) + ")";
    if (const std::string_view why = why_owned(name); !why.empty()) {
      problems.push_back(where + " cannot be set: " + std::string{why});
    } else if (!property_scope(name)) {
      problems.push_back(where + " is not a property of this librdkafka" +
                         did_you_mean(name, property_names()));
    } else if (const std::string wrong = property_value_problem(name, value); !wrong.empty()) {
      problems.push_back(where + ": " + wrong);
    }
  }
}

std::string property(const Config& config, const std::string& name) {
  const auto found = config.kafka.find(name);
  if (found == config.kafka.end()) return {};
  std::string value = found->second;
  std::ranges::transform(value, value.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return value;
}

// Both are milliseconds and have passed librdkafka's own checks. A member that is heard of less
// often than its session lasts is thrown out again and again.
void check_session(const Config& config, std::vector<std::string>& problems) {
  const auto session = number_property(config, ClientRole::kMembership, "session.timeout.ms");
  const auto heartbeat = number_property(config, ClientRole::kMembership, "heartbeat.interval.ms");
  if (session > heartbeat) return;
  problems.push_back(
      "kafka.session.timeout.ms = " + std::to_string(session) +
      " must be above kafka.heartbeat.interval.ms = " + std::to_string(heartbeat) +
      ", three times as a rule; otherwise the group drops this member between two heartbeats");
}

// A transaction is open from one commit to the next; the broker aborts those that take longer.
void check_transactions(const Config& config, std::vector<std::string>& problems) {
  if (config.guarantee != Guarantee::kExactlyOnce) return;
  const auto timeout = number_property(config, ClientRole::kProducer, "transaction.timeout.ms");
  const auto interval = config.effective_commit_interval().count();
  if (interval < timeout) return;
  problems.push_back("commit_interval_ms = " + std::to_string(interval) +
                     " must be below kafka.transaction.timeout.ms = " + std::to_string(timeout) +
                     " under guarantee = exactly_once; otherwise the broker aborts each transaction"
                     " before it is committed");
}

}  // namespace

std::string_view to_string(Guarantee guarantee) {
  return guarantee == Guarantee::kExactlyOnce ? "exactly_once" : "at_least_once";
}

std::string_view to_string(OffsetReset reset) {
  return reset == OffsetReset::kLatest ? "latest" : "earliest";
}

std::string_view to_string(ErrorPolicy policy) {
  switch (policy) {
    case ErrorPolicy::kFail:
      return "fail";
    case ErrorPolicy::kSkip:
      return "skip";
    case ErrorPolicy::kDeadLetter:
      return "dead_letter";
  }
  return "unknown";
}

std::string_view to_string(TaskFailurePolicy policy) {
  return policy == TaskFailurePolicy::kStop ? "stop" : "park";
}

std::string_view to_string(UnknownValuePolicy policy) {
  return policy == UnknownValuePolicy::kFail ? "fail" : "accept";
}

std::string_view to_string(LostRecordsPolicy policy) {
  return policy == LostRecordsPolicy::kFail ? "fail" : "skip";
}

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return "trace";
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
    case LogLevel::kOff:
      return "off";
  }
  return "unknown";
}

std::string default_state_dir() {
  const char* const directories = std::getenv("STATE_DIRECTORY");
  if (directories == nullptr || *directories == '\0') return "./millrace-state";
  const std::string_view list{directories};
  return std::string{list.substr(0, list.find(':'))};
}

Config Config::from_env(std::string application_id) {
  Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text{*entry};
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return read_config(environment, application_id);
}

std::chrono::milliseconds Config::effective_commit_interval() const {
  constexpr std::chrono::milliseconds kAtLeastOnceDefault{1000};
  constexpr std::chrono::milliseconds kExactlyOnceDefault{100};
  if (commit_interval) return *commit_interval;
  return guarantee == Guarantee::kExactlyOnce ? kExactlyOnceDefault : kAtLeastOnceDefault;
}

std::vector<std::string> Config::problems() const {
  std::vector<std::string> problems = errors;
  for (const Setting& setting : settings()) {
    const std::string wrong = setting.check(*this);
    if (wrong.empty()) continue;
    if (setting.key == "application_id" && application_id.empty()) {
      problems.push_back(
          "application_id is not set: give one to the Config or set "
          "MILLRACE_APPLICATION_ID");
      continue;
    }
    const std::string value = setting.text(*this);
    problems.push_back(setting.key + " = '" + value + "' (" + origin_of(*this, setting.key, value) +
                       ") " + wrong);
  }
  if (task_restart_backoff > task_restart_backoff_max) {
    problems.push_back("task_restart_backoff_ms = " + std::to_string(task_restart_backoff.count()) +
                       " must not be larger than task_restart_backoff_max_ms = " +
                       std::to_string(task_restart_backoff_max.count()));
  }
  for (const auto& [name, value] : metric_labels) {
    const std::string wrong = check_label(name);
    if (!wrong.empty()) problems.push_back("metric_labels." + name + " " + wrong);
  }
  check_properties(*this, problems);
  check_session(*this, problems);
  check_transactions(*this, problems);
  return problems;
}

std::vector<std::string> Config::warnings() const {
  std::vector<std::string> warnings;
  const std::string protocol = property(*this, "security.protocol");
  const std::string verification = property(*this, "enable.ssl.certificate.verification");
  if (protocol.ends_with("ssl") && (verification == "false" || verification == "0")) {
    warnings.emplace_back(
        "kafka.enable.ssl.certificate.verification is off: anybody can pose as the "
        "broker");
  }
  if (protocol.ends_with("ssl") &&
      property(*this, "ssl.endpoint.identification.algorithm") == "none") {
    warnings.emplace_back(
        "kafka.ssl.endpoint.identification.algorithm is none: any holder of a "
        "trusted certificate can pose as the broker");
  }
  const std::string mechanism =
      property(*this, "sasl.mechanism") + property(*this, "sasl.mechanisms");
  if (protocol == "sasl_plaintext" && mechanism.find("plain") != std::string::npos) {
    warnings.emplace_back(
        "kafka.security.protocol is sasl_plaintext: the password crosses the "
        "network in clear text");
  }
  return warnings;
}

std::vector<ConfigEntry> Config::describe() const {
  static const Config defaults;
  std::vector<ConfigEntry> entries;
  for (const Setting& setting : settings()) {
    std::string value = setting.text(*this);
    std::string origin = origin_of(*this, setting.key, value);
    if (origin == "program" && value == setting.text(defaults)) origin = "default";
    if (value.empty()) value = derived(*this, setting.key);
    if (setting.is_secret && !value.empty()) value = kHidden;
    entries.push_back({setting.key, std::move(value), std::move(origin)});
  }
  for (const SettingGroup& group : setting_groups()) {
    for (const auto& [name, value] : this->*group.field) {
      const std::string key = group.prefix + name;
      const bool hidden = group.field == &Config::kafka && is_secret(name);
      entries.push_back({key, hidden ? std::string{kHidden} : value, origin_of(*this, key, value)});
    }
  }
  return entries;
}

}  // namespace millrace

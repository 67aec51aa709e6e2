// SPDX-License-Identifier: Apache-2.0
#include "runtime/config_table.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

#include "millrace/engine.h"
#include "stores/remote_address.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kHour = 3'600'000;
constexpr std::int64_t kDay = 24 * kHour;
constexpr std::int64_t kKibibyte = 1024;
constexpr std::int64_t kMebibyte = 1024 * kKibibyte;
constexpr std::int64_t kTebibyte = std::int64_t{1} << 40;
constexpr std::size_t kNameMax = 249;  // Kafka's limit for topic names.

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

// Numbers of every kind pass through int64, so that one check of bounds serves all.
std::int64_t to_number(milliseconds value) { return value.count(); }
std::int64_t to_number(std::size_t value) {
  return value > static_cast<std::size_t>(INT64_MAX) ? INT64_MAX : static_cast<std::int64_t>(value);
}

struct Bounds {
  std::int64_t min;
  std::int64_t max;
  std::string_view unit;

  [[nodiscard]] std::string check(std::int64_t value) const {
    if (value >= min && value <= max) return {};
    return rule();
  }
  [[nodiscard]] std::string rule() const {
    std::string text = "must be a whole number";
    if (!unit.empty()) text += " of " + std::string{unit};
    return text + " from " + std::to_string(min) + " to " + std::to_string(max);
  }
};

template <class T>
Setting number(std::string key, T Config::*field, Bounds bounds) {
  return {std::move(key),
          [=](Config& config, std::string_view text) {
            const auto value = parse_number(text);
            if (!value) return bounds.rule();
            std::string wrong = bounds.check(*value);
            if (wrong.empty()) config.*field = static_cast<T>(*value);
            return wrong;
          },
          [=](const Config& config) { return std::to_string(to_number(config.*field)); },
          [=](const Config& config) { return bounds.check(to_number(config.*field)); }};
}

Setting optional_duration(std::string key, std::optional<milliseconds> Config::*field,
                          Bounds bounds) {
  return {std::move(key),
          [=](Config& config, std::string_view text) {
            const auto value = parse_number(text);
            if (!value) return bounds.rule();
            std::string wrong = bounds.check(*value);
            if (wrong.empty()) config.*field = milliseconds{*value};
            return wrong;
          },
          [=](const Config& config) {
            const auto& value = config.*field;
            return value ? std::to_string(value->count()) : std::string{};
          },
          [=](const Config& config) {
            const auto& value = config.*field;
            return value ? bounds.check(value->count()) : std::string{};
          }};
}

using Check = std::string (*)(std::string_view);

Setting string(std::string key, std::string Config::*field, Check rule) {
  return {std::move(key),
          [=](Config& config, std::string_view text) {
            std::string wrong = rule(text);
            if (wrong.empty()) config.*field = text;
            return wrong;
          },
          [=](const Config& config) { return config.*field; },
          [=](const Config& config) { return rule(config.*field); }};
}

// A setting with a few named values; `at` gives the field, since one of them lies in a nested
// struct.
template <class T, std::size_t kCount, class At>
Setting choice(std::string key, const std::array<T, kCount>& values, At at) {
  std::string allowed = "must be one of";
  for (const T value : values) {
    allowed += (value == values[0] ? " " : ", ") + std::string{to_string(value)};
  }
  return {std::move(key),
          [=](Config& config, std::string_view text) -> std::string {
            for (const T value : values) {
              if (to_string(value) != text) continue;
              at(config) = value;
              return {};
            }
            return allowed;
          },
          [=](const Config& config) { return std::string{to_string(at(config))}; },
          [=](const Config& config) -> std::string {
            const auto is_set = [&](T value) { return value == at(config); };
            return std::ranges::any_of(values, is_set) ? "" : allowed;
          }};
}

Setting boolean(std::string key, bool Config::*field) {
  return {std::move(key),
          [=](Config& config, std::string_view text) -> std::string {
            if (text != "true" && text != "false") return "must be true or false";
            config.*field = text == "true";
            return {};
          },
          [=](const Config& config) -> std::string { return config.*field ? "true" : "false"; },
          [](const Config&) { return std::string{}; }};
}

std::string anything(std::string_view) { return {}; }

Setting secret(std::string key, std::string Config::*field) {
  Setting setting = string(std::move(key), field, &anything);
  setting.is_secret = true;
  return setting;
}

std::string not_empty(std::string_view text) { return text.empty() ? "must not be empty" : ""; }

std::string check_name(std::string_view name) {
  constexpr auto is_legal = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
  };
  if (!name.empty() && name.size() <= kNameMax && name != "." && name != ".." &&
      std::ranges::all_of(name, is_legal)) {
    return {};
  }
  return "must be 1 to " + std::to_string(kNameMax) + " characters of [a-zA-Z0-9._-], not . or ..";
}

std::string check_optional_name(std::string_view name) {
  return name.empty() ? "" : check_name(name);
}

std::string check_engine(std::string_view engine) {
  std::string allowed = "must be one of";
  for (const std::string_view name : engines::names()) {
    if (engine == name) return {};
    allowed += (name == engines::names().front() ? " " : ", ") + std::string{name};
  }
  return allowed + " (lmdb and redis: where they were built in)";
}

std::string check_redis_address(std::string_view address) {
  const auto parsed = parse_remote_address(address);
  return parsed ? "" : "is wrong: " + parsed.error().message();
}

// "port", "host:port" or "[v6]:port".
std::string check_http(std::string_view address) {
  if (address.empty()) return {};
  constexpr std::int64_t kPortMax = 65535;
  const std::size_t colon = address.rfind(':');
  const bool has_host = colon != std::string_view::npos;
  const std::string_view host = has_host ? address.substr(0, colon) : "127.0.0.1";
  const auto port = parse_number(has_host ? address.substr(colon + 1) : address);
  const bool is_bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  const bool is_host = !host.empty() && (is_bracketed || host.find(':') == std::string_view::npos);
  if (is_host && port && *port >= 0 && *port <= kPortMax) return {};
  return "must be a port, host:port or [v6]:port (port 0 to 65535), or empty for no server";
}

// -1 leaves it to the broker, 0 means nothing.
std::string check_replication_factor(const Config& config) {
  constexpr int kMax = INT16_MAX;
  const int value = config.replication_factor;
  return value == -1 || (value >= 1 && value <= kMax)
             ? ""
             : "must be -1 (the broker's default) or from 1 to " + std::to_string(kMax);
}

Setting replication_factor() {
  return {"replication_factor",
          [](Config& config, std::string_view text) {
            Config tried;
            const auto value = parse_number(text);
            tried.replication_factor =
                value && *value >= -1 && *value <= INT16_MAX ? static_cast<int>(*value) : 0;
            std::string wrong = check_replication_factor(tried);
            if (wrong.empty()) config.replication_factor = tried.replication_factor;
            return wrong;
          },
          [](const Config& config) { return std::to_string(config.replication_factor); },
          &check_replication_factor};
}

constexpr std::array kGuarantees{Guarantee::kAtLeastOnce, Guarantee::kExactlyOnce};
constexpr std::array kResets{OffsetReset::kEarliest, OffsetReset::kLatest};
constexpr std::array kPolicies{ErrorPolicy::kFail, ErrorPolicy::kSkip, ErrorPolicy::kDeadLetter};
constexpr std::array kTaskPolicies{TaskFailurePolicy::kStop, TaskFailurePolicy::kPark};
constexpr std::array kValuePolicies{UnknownValuePolicy::kFail, UnknownValuePolicy::kAccept};
constexpr std::array kLostPolicies{LostRecordsPolicy::kFail, LostRecordsPolicy::kSkip};
constexpr std::array kLevels{LogLevel::kTrace, LogLevel::kDebug, LogLevel::kInfo,
                             LogLevel::kWarn,  LogLevel::kError, LogLevel::kOff};

template <auto kField>
constexpr auto field_of = [](auto& config) -> auto& {
  return config.*kField;
};

std::vector<Setting> make_settings() {
  constexpr Bounds kInterval{1, kHour, "milliseconds"};
  constexpr Bounds kTimeout{0, kDay, "milliseconds"};
  constexpr Bounds kMemory{64 * kKibibyte, kTebibyte, "bytes"};
  return {
      string("application_id", &Config::application_id, &check_application_id),
      string("bootstrap_servers", &Config::bootstrap_servers, &not_empty),
      string("client_id", &Config::client_id, &anything),
      string("group_instance_id", &Config::group_instance_id, &check_optional_name),
      string("state_dir", &Config::state_dir, &not_empty),
      number("state_cleanup_delay_ms", &Config::state_cleanup_delay,
             {1, 365 * kDay, "milliseconds"}),
      string("http", &Config::http, &check_http),
      choice("guarantee", kGuarantees, field_of<&Config::guarantee>),
      optional_duration("commit_interval_ms", &Config::commit_interval, kInterval),
      number("checkpoint_interval_ms", &Config::checkpoint_interval, kInterval),
      number("checkpoint_bytes_max", &Config::checkpoint_bytes_max,
             {kKibibyte, kTebibyte, "bytes"}),
      number("cache_bytes_max", &Config::cache_bytes_max, {0, kTebibyte, "bytes"}),
      number("rocksdb_block_cache_bytes", &Config::rocksdb_block_cache_bytes, kMemory),
      number("rocksdb_write_buffer_bytes", &Config::rocksdb_write_buffer_bytes, kMemory),
      string("engine", &Config::engine, &check_engine),
      number("lmdb_map_bytes_max", &Config::lmdb_map_bytes_max,
             {1024 * kKibibyte, kTebibyte, "bytes"}),
      string("redis_address", &Config::redis_address, &check_redis_address),
      string("redis_user", &Config::redis_user, &anything),
      secret("redis_password", &Config::redis_password),
      number("threads", &Config::threads, {0, 1024, ""}),
      number("restore_threads", &Config::restore_threads, {0, 64, ""}),
      number("restore_bytes_max", &Config::restore_bytes_max, {kMebibyte, kTebibyte, "bytes"}),
      number("batch_records_max", &Config::batch_records_max, {1, 100'000, ""}),
      choice("auto_offset_reset", kResets, field_of<&Config::auto_offset_reset>),
      replication_factor(),
      boolean("auto_create_topics", &Config::auto_create_topics),
      number("task_restart_limit", &Config::task_restart_limit, {0, 1'000'000, ""}),
      number("task_restart_backoff_ms", &Config::task_restart_backoff, kInterval),
      number("task_restart_backoff_max_ms", &Config::task_restart_backoff_max, kInterval),
      choice("on_task_failure", kTaskPolicies, field_of<&Config::on_task_failure>),
      choice("on_unknown_value", kValuePolicies, field_of<&Config::on_unknown_value>),
      choice("on_lost_records", kLostPolicies, field_of<&Config::on_lost_records>),
      number("handler_timeout_ms", &Config::handler_timeout, kTimeout),
      number("startup_timeout_ms", &Config::startup_timeout, kTimeout),
      number("shutdown_timeout_ms", &Config::shutdown_timeout, kTimeout),
      choice("on_decode_error", kPolicies, field_of<&Config::on_decode_error>),
      choice("on_error", kPolicies, field_of<&Config::on_error>),
      choice("on_produce_error", kPolicies, field_of<&Config::on_produce_error>),
      number("error_retries", &Config::error_retries, {0, 1'000'000, ""}),
      number("error_retry_backoff_ms", &Config::error_retry_backoff, kInterval),
      string("dead_letter_topic", &Config::dead_letter_topic, &check_optional_name),
      choice(
          "log_level", kLevels, [](auto& config) -> auto& { return config.log.level; }),
  };
}

}  // namespace

const std::vector<Setting>& settings() {
  static const std::vector<Setting> all = make_settings();
  return all;
}

const std::vector<SettingGroup>& setting_groups() {
  static const std::vector<SettingGroup> all{
      {"topic.", &Config::changelog_topic_configs, '.'},
      {"metric_labels.", &Config::metric_labels, '_'},
      {"kafka.", &Config::kafka, '.'},
      {"rocksdb.", &Config::rocksdb, '_'},
  };
  return all;
}

std::string environment_name(std::string_view key) {
  std::string name = "MILLRACE_";
  for (const char c : key) {
    name += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

std::string check_application_id(std::string_view id) { return check_name(id); }

}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
#include "runtime/config_source.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <string_view>
#include <vector>

#include "runtime/config_table.h"
#include "runtime/kafka/property_rules.h"
#include "runtime/suggestion.h"

namespace millrace {
namespace {

constexpr std::streamsize kFileBytesMax = 1 << 20;
constexpr std::string_view kPrefix = "MILLRACE_";

const Setting* find_setting(std::string_view key) {
  const auto found = std::ranges::find(settings(), key, &Setting::key);
  return found == settings().end() ? nullptr : &*found;
}

void set(Config& config, const Setting& setting, std::string_view value, const std::string& named,
         const std::string& origin) {
  const std::string wrong = setting.set(config, value);
  if (!wrong.empty()) {
    config.errors.push_back(named + " = '" + std::string{value} + "' (" + origin + ") " + wrong);
    return;
  }
  config.sources[setting.key] = {setting.key, setting.text(config), origin};
}

void set(Config& config, const SettingGroup& group, const std::string& name,
         const std::string& value, const std::string& origin) {
  (config.*group.field)[name] = value;
  config.sources[group.prefix + name] = {group.prefix + name, value, origin};
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

std::vector<std::string> all_keys() {
  std::vector<std::string> keys;
  for (const Setting& setting : settings()) keys.push_back(setting.key);
  return keys;
}

void read_line(Config& config, const std::string& key, const std::string& value,
               const std::string& origin) {
  if (const Setting* setting = find_setting(key)) {
    set(config, *setting, value, key, origin);
    return;
  }
  for (const SettingGroup& group : setting_groups()) {
    if (key.size() <= group.prefix.size() || !key.starts_with(group.prefix)) continue;
    set(config, group, key.substr(group.prefix.size()), value, origin);
    return;
  }
  const std::string hint =
      property_scope(key) ? "; did you mean kafka." + key + "?" : did_you_mean(key, all_keys());
  config.errors.push_back("unknown key " + key + " (" + origin + ")" + hint);
}

void read_file(Config& config, const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  std::string content(static_cast<std::size_t>(kFileBytesMax) + 1, '\0');
  if (file) file.read(content.data(), kFileBytesMax + 1);
  if (file.bad() || (!file && !file.eof())) {
    config.errors.push_back("cannot read the configuration file " + path +
                            " (MILLRACE_CONFIG): " + std::strerror(errno));
    return;
  }
  if (file.gcount() > kFileBytesMax) {
    config.errors.push_back("the configuration file " + path + " is larger than " +
                            std::to_string(kFileBytesMax) + " bytes");
    return;
  }
  content.resize(static_cast<std::size_t>(file.gcount()));

  std::set<std::string> seen;
  std::string_view rest = content;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = trimmed(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty() || line.front() == '#') continue;
    const std::string origin = path + ":" + std::to_string(number);
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) {
      config.errors.push_back("a line is not 'key = value' (" + origin + ")");
      continue;
    }
    const std::string key{trimmed(line.substr(0, equals))};
    if (!seen.insert(key).second) {
      config.errors.push_back("key " + key + " stands there twice (" + origin + ")");
      continue;
    }
    read_line(config, key, std::string{trimmed(line.substr(equals + 1))}, origin);
  }
}

// True if `name` belongs to a group: MILLRACE_KAFKA_SESSION_TIMEOUT_MS is session.timeout.ms.
bool read_group_variable(Config& config, const std::string& name, const std::string& value) {
  for (const SettingGroup& group : setting_groups()) {
    const std::string prefix = environment_name(group.prefix);
    if (name.size() <= prefix.size() || !name.starts_with(prefix)) continue;
    std::string property = name.substr(prefix.size());
    std::ranges::transform(property, property.begin(), [&](unsigned char c) {
      return c == '_' ? group.separator : static_cast<char>(std::tolower(c));
    });
    if (group.field == &Config::kafka && runs_code(property)) {
      config.errors.push_back(name + " (environment) is refused: " + property +
                              " makes librdkafka run other code, which only the configuration file "
                              "or the program may ask for");
    } else {
      set(config, group, property, value, "environment (" + name + ")");
    }
    return true;
  }
  return false;
}

void read_variables(Config& config, const Environment& environment) {
  std::map<std::string, const Setting*> by_name;
  std::vector<std::string> names;
  for (const Setting& setting : settings()) {
    names.push_back(environment_name(setting.key));
    by_name.emplace(names.back(), &setting);
  }
  if (const auto found = environment.find("KAFKA_BROKER");
      found != environment.end() && !environment.contains("MILLRACE_BOOTSTRAP_SERVERS")) {
    set(config, *find_setting("bootstrap_servers"), found->second, found->first,
        "environment (KAFKA_BROKER)");
  }
  for (const auto& [name, value] : environment) {
    if (!name.starts_with(kPrefix) || name == "MILLRACE_CONFIG" ||
        name.starts_with("MILLRACE_TEST_")) {
      continue;
    }
    if (const auto found = by_name.find(name); found != by_name.end()) {
      set(config, *found->second, value, name, "environment (" + name + ")");
    } else if (!read_group_variable(config, name, value)) {
      config.errors.push_back("unknown variable " + name + " (environment)" +
                              did_you_mean(name, names));
    }
  }
}

}  // namespace

Config read_config(const Environment& environment, const std::string& application_id) {
  Config config;
  config.application_id = application_id;
  if (const auto file = environment.find("MILLRACE_CONFIG");
      file != environment.end() && !file->second.empty()) {
    read_file(config, file->second);
  }
  read_variables(config, environment);
  return config;
}

}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/config.h"

namespace millrace {

/// One scalar field of Config: its key in the file and how text becomes its value and back. The
/// environment variable is "MILLRACE_" and the key in capitals.
struct Setting {
  std::string key;
  /// Sets the field, or leaves it and returns what is allowed ("must be ...").
  std::function<std::string(Config&, std::string_view)> set;
  /// The field as `set` takes it; empty for an optional without value.
  std::function<std::string(const Config&)> text;
  /// Empty, or what is allowed if the field's value is not.
  std::function<std::string(const Config&)> check;
  /// Its value is shown to nobody.
  bool is_secret = false;
};

/// All scalar settings, in the order of Config's fields. The one place that knows their keys.
[[nodiscard]] const std::vector<Setting>& settings();

/// A field of Config that is a map; its keys in the file begin with `prefix`.
struct SettingGroup {
  std::string prefix;  ///< "kafka."
  std::map<std::string, std::string> Config::*field;
  /// Environment: what follows the prefix, in lower case, has its underscores replaced by this.
  char separator;
};

[[nodiscard]] const std::vector<SettingGroup>& setting_groups();

/// "commit_interval_ms" -> "MILLRACE_COMMIT_INTERVAL_MS"; dots become underscores.
[[nodiscard]] std::string environment_name(std::string_view key);

/// The application id's rule, empty if `id` keeps it. It becomes part of topic and file names.
[[nodiscard]] std::string check_application_id(std::string_view id);

}  // namespace millrace

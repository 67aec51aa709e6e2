// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "millrace/config.h"

namespace millrace {

/// Environment variables by name.
using Environment = std::map<std::string, std::string>;

/// Defaults < the file that MILLRACE_CONFIG names < `environment`. What is wrong goes to
/// `Config::errors`, and the field keeps its value. `application_id` is used where neither has one.
[[nodiscard]] Config read_config(const Environment& environment, const std::string& application_id);

}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>

#include "millrace/key_layout.h"

namespace millrace {

/// With what a store's changelog is created, before the user's own configs (KF-24).
[[nodiscard]] std::map<std::string, std::string> changelog_configs(const KeyLayout& layout);

/// What is wrong with the configs that a changelog has: a line for the log, or nothing.
[[nodiscard]] std::optional<std::string> changelog_warning(
    const std::string& topic, const KeyLayout& layout,
    const std::map<std::string, std::string>& configs);

}  // namespace millrace

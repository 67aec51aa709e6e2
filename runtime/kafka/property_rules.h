// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

/// Which clients of librdkafka have a property.
enum class PropertyScope : std::uint8_t { kBoth, kConsumer, kProducer };

/// What this librdkafka says of `property`; nullopt if it does not know it (callbacks and other
/// pointers count as unknown). Thread-safe.
[[nodiscard]] std::optional<PropertyScope> property_scope(std::string_view property);

/// All properties this librdkafka knows, sorted.
[[nodiscard]] const std::vector<std::string>& property_names();

/// Why a user may not set `property`, empty if he may: Millrace's guarantees depend on it, or a
/// setting of its own has that meaning.
[[nodiscard]] std::string_view why_owned(std::string_view property);

/// True for properties that make librdkafka run or load foreign code: accepted from the
/// configuration file and the program, never from the environment.
[[nodiscard]] bool runs_code(std::string_view property);

/// What librdkafka, or we, have against `value`, empty if it is good. Never quotes a secret.
/// Properties that run code are not tried.
[[nodiscard]] std::string property_value_problem(const std::string& property,
                                                 const std::string& value);

/// True if values of `property` must not be shown.
[[nodiscard]] bool is_secret(std::string_view property);

}  // namespace millrace

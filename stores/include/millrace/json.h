// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "millrace/serde.h"

namespace millrace {

/// Types with nlohmann `to_json` and `from_json`.
template <class T>
concept JsonConvertible = requires(const T& value, const nlohmann::json& json) {
  nlohmann::json(value);
  json.template get<T>();
};

/// JSON text, UTF-8, without spaces, object members in alphabetic order. Opt-in by including this
/// header.
template <class T>
requires JsonConvertible<T>
struct Serde<T> {
  /// The encoded bytes are JSON text: HTTP shows them as they are.
  static constexpr bool kJson = true;

  static void encode(const T& value, std::string& out) { out.append(nlohmann::json(value).dump()); }

  static Result<T> decode(std::string_view bytes) {
    try {
      return nlohmann::json::parse(bytes).template get<T>();
    } catch (const std::exception& e) {
      return Status::invalid_argument(std::string{"not the expected JSON: "} + e.what());
    }
  }
};

}  // namespace millrace

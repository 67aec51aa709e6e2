// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>

#include "millrace/serde.h"

namespace millrace {

/// How the untyped state cache handles values of one type. One constant per type, for the life of
/// the process.
struct ValueOps {
  const std::type_info* type;
  std::size_t size;
  std::size_t align;
  bool trivially_copyable;
  void (*encode)(const void* value, std::string& out);
  /// Constructs a value at `where` (uninitialised, `size` bytes) unless it fails.
  Status (*decode)(std::string_view bytes, void* where);
  void (*copy)(const void* from, void* where);
  void (*destroy)(void* value);
  /// The value as JSON text; null if the type has no JSON form.
  std::string (*to_json)(const void* value);
};

/// How queries handle keys of one type.
struct KeyOps {
  const std::type_info* type;
  /// The encoded key for its text form (text as it is, decimal integers); nullopt if the text is no
  /// such key or the type has no text form.
  std::optional<std::string> (*from_text)(std::string_view text);
};

namespace detail {

/// `text` as a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string json_quoted(std::string_view text);
[[nodiscard]] std::string json_number(double value);

template <class T>
std::string value_to_json(const void* value) {
  const T& typed = *static_cast<const T*>(value);
  if constexpr (std::same_as<T, std::string>) {
    return json_quoted(typed);
  } else if constexpr (std::same_as<T, double>) {
    return json_number(typed);
  } else if constexpr (std::integral<T>) {
    return std::to_string(typed);
  } else {
    std::string out;
    Serde<T>::encode(typed, out);
    return out;
  }
}

template <class T>
inline constexpr bool kHasJson =
    std::same_as<T, std::string> || std::same_as<T, double> || std::integral<T> || requires {
  requires Serde<T>::kJson;
};

template <class K>
std::optional<std::string> key_from_text(std::string_view text) {
  std::string bytes;
  if constexpr (std::same_as<K, std::string>) {
    return std::string{text};
  } else if constexpr (std::same_as<K, std::int32_t> || std::same_as<K, std::int64_t>) {
    K number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    Serde<K>::encode(number, bytes);
    return bytes;
  } else {
    return std::nullopt;
  }
}

}  // namespace detail

/// The table of T's operations.
template <Serializable T>
const ValueOps& value_ops() {
  static_assert(!detail::kIsView<T>,
                "a store keeps its values: use a type that owns its bytes, such as std::string");
  static_assert(std::is_copy_constructible_v<T>, "a store's values must be copyable");
  static_assert(alignof(T) <= alignof(std::max_align_t),
                "over-aligned state types are not supported");
  static constexpr ValueOps ops{
      &typeid(T),
      sizeof(T),
      alignof(T),
      std::is_trivially_copyable_v<T>,
      [](const void* value, std::string& out) {
        Serde<T>::encode(*static_cast<const T*>(value), out);
      },
      [](std::string_view bytes, void* where) -> Status {
        auto value = Serde<T>::decode(bytes);
        if (!value) return value.error();
        std::construct_at(static_cast<T*>(where), *std::move(value));
        return {};
      },
      [](const void* from, void* where) {
        std::construct_at(static_cast<T*>(where), *static_cast<const T*>(from));
      },
      [](void* value) { std::destroy_at(static_cast<T*>(value)); },
      detail::kHasJson<T> ? &detail::value_to_json<T> : nullptr,
  };
  return ops;
}

/// The table of K's operations as a key.
template <Serializable K>
const KeyOps& key_ops() {
  static_assert(!detail::kIsView<K>,
                "a store keeps its keys: use a type that owns its bytes, such as std::string");
  static constexpr KeyOps ops{&typeid(K), &detail::key_from_text<K>};
  return ops;
}

}  // namespace millrace

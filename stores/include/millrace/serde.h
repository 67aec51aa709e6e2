// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/error.h"

namespace millrace {

/// Turns values of T into bytes and back. Specialise it for your own types:
///
///     template <> struct millrace::Serde<Order> {
///       static void encode(const Order& order, std::string& out);          // appends to `out`
///       static millrace::Result<Order> decode(std::string_view bytes);     // invalid_argument for
///       bad bytes
///     };
///
/// or include `millrace/json.h` and give the type `to_json` and `from_json`. `encode` must give
/// equal bytes for equal keys: stores look keys up by their bytes. Both are called on task threads,
/// concurrently.
template <class T>
struct Serde;

/// Whether T has a serde.
template <class T>
concept Serializable = requires(const T& value, std::string& out, std::string_view bytes) {
  Serde<T>::encode(value, out);
  { Serde<T>::decode(bytes) } -> std::same_as<Result<T>>;
};

/// Raw bytes, for values that a topology does not look into.
using Bytes = std::vector<std::byte>;

template <>
struct Serde<std::string> {
  static void encode(const std::string& value, std::string& out) { out.append(value); }
  static Result<std::string> decode(std::string_view bytes) { return std::string{bytes}; }
};

/// Borrows the bytes of the record: nothing is copied. Lives as long as the record; never as a
/// store's value.
template <>
struct Serde<std::string_view> {
  static void encode(std::string_view value, std::string& out) { out.append(value); }
  static Result<std::string_view> decode(std::string_view bytes) { return bytes; }
};

template <>
struct Serde<Bytes> {
  static void encode(const Bytes& value, std::string& out) {
    out.append(reinterpret_cast<const char*>(value.data()), value.size());
  }
  static Result<Bytes> decode(std::string_view bytes) {
    const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
    return Bytes(begin, begin + bytes.size());
  }
};

namespace detail {

/// Fixed-width big-endian numbers, byte for byte as Kafka's Integer, Long and Double serializers.
template <class T, class Unsigned>
struct BigEndianSerde {
  static_assert(sizeof(T) == sizeof(Unsigned));

  static void encode(const T& value, std::string& out) {
    auto bits = std::bit_cast<Unsigned>(value);
    char bytes[sizeof(T)];
    for (std::size_t i = sizeof(T); i-- > 0; bits = static_cast<Unsigned>(bits >> 8U)) {
      bytes[i] = static_cast<char>(bits & 0xffU);
    }
    out.append(bytes, sizeof(T));
  }

  static Result<T> decode(std::string_view bytes) {
    if (bytes.size() != sizeof(T)) {
      return Status::invalid_argument("expected " + std::to_string(sizeof(T)) + " bytes, got " +
                                      std::to_string(bytes.size()));
    }
    Unsigned bits = 0;
    for (const char byte : bytes)
      bits = static_cast<Unsigned>((bits << 8U) | static_cast<unsigned char>(byte));
    return std::bit_cast<T>(bits);
  }
};

}  // namespace detail

template <>
struct Serde<std::int32_t> : detail::BigEndianSerde<std::int32_t, std::uint32_t> {};
template <>
struct Serde<std::int64_t> : detail::BigEndianSerde<std::int64_t, std::uint64_t> {};
template <>
struct Serde<double> : detail::BigEndianSerde<double, std::uint64_t> {};

namespace detail {

/// Serdes whose `encode(decode(bytes))` gives the same bytes again, so that a record's key bytes
/// can be used as they are.
template <class T>
inline constexpr bool kCanonicalSerde =
    std::same_as<T, std::string> || std::same_as<T, std::string_view> || std::same_as<T, Bytes> ||
    std::same_as<T, std::int32_t> || std::same_as<T, std::int64_t>;

/// Types that only borrow their bytes and therefore cannot be kept in a store.
template <class T>
inline constexpr bool kIsView = std::same_as<T, std::string_view>;

}  // namespace detail
}  // namespace millrace

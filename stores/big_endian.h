// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace millrace {

/// Appends an integer with its most significant byte first: unsigned ones then sort as bytes.
template <std::integral T>
void append_big_endian(std::string& bytes, T value) {
  using Unsigned = std::make_unsigned_t<T>;
  for (std::size_t shift = sizeof(T) * 8; shift > 0; shift -= 8) {
    bytes.push_back(static_cast<char>(static_cast<Unsigned>(value) >> (shift - 8) & 0xff));
  }
}

/// The inverse. Takes the bytes off the front of `bytes`; precondition: it has that many.
template <std::integral T>
T take_big_endian(std::string_view& bytes) {
  using Unsigned = std::make_unsigned_t<T>;
  Unsigned value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<Unsigned>(value << 8 | static_cast<unsigned char>(bytes[i]));
  }
  bytes.remove_prefix(sizeof(T));
  return static_cast<T>(value);
}

}  // namespace millrace

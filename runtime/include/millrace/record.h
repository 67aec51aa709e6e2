// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/error.h"
#include "millrace/time.h"

namespace millrace {

/// A Kafka record header. No value is Kafka's null.
struct Header {
  std::string name;
  std::optional<std::string> value;

  friend bool operator==(const Header&, const Header&) = default;
};
using Headers = std::vector<Header>;

/// Decodes the headers of a record when somebody asks for them.
class HeaderSource {
 public:
  virtual ~HeaderSource() = default;
  [[nodiscard]] virtual Headers headers() const = 0;
};

/// Where a record stands in Kafka.
struct Origin {
  std::string_view topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
};

/// "topic-3@17", as every message about a record names it.
[[nodiscard]] std::string to_string(const Origin& origin);

/// A key, a value, a timestamp and headers on their way through a topology.
///
/// A view: it lives until the function that received it returns. Key and value may each be null.
template <class K, class V>
class Record {
 public:
  using Key = K;
  using Value = V;

  Record(const K* key, const V* value, Timestamp timestamp, const HeaderSource* headers = nullptr,
         std::string_view key_bytes = {})
      : key_(key), value_(value), timestamp_(timestamp), headers_(headers), key_bytes_(key_bytes) {}

  [[nodiscard]] bool has_key() const { return key_ != nullptr; }
  /// Precondition: `has_key()`. Functions of keyed operators are only called for records with a
  /// key.
  [[nodiscard]] const K& key() const { return *key_; }

  [[nodiscard]] bool has_value() const { return value_ != nullptr; }
  /// Throws NullValueError if the value is null.
  [[nodiscard]] const V& value() const {
    if (value_ == nullptr) throw NullValueError{};
    return *value_;
  }

  /// The event time.
  [[nodiscard]] Timestamp timestamp() const { return timestamp_; }

  /// Headers of the input record that led to this one; empty where no single record did.
  [[nodiscard]] Headers headers() const {
    return headers_ != nullptr ? headers_->headers() : Headers{};
  }

  // For operators: null pointers where null; the encoded key where it is known, else empty.
  [[nodiscard]] const K* key_or_null() const { return key_; }
  [[nodiscard]] const V* value_or_null() const { return value_; }
  [[nodiscard]] const HeaderSource* header_source() const { return headers_; }
  [[nodiscard]] std::string_view key_bytes() const { return key_bytes_; }

 private:
  const K* key_;
  const V* value_;
  Timestamp timestamp_;
  const HeaderSource* headers_;
  std::string_view key_bytes_;
};

}  // namespace millrace

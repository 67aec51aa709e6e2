// SPDX-License-Identifier: Apache-2.0
#include "millrace/key_layout.h"

#include <algorithm>
#include <limits>

#include "millrace/serde.h"
#include "stores/big_endian.h"

namespace millrace {
namespace {

// As in Kafka Streams: half the retention, so that a third more than asked for is kept at most, but
// never tiny ones.
constexpr std::int64_t kSegmentMillisMin = 60'000;

// What stands beside the observed time of a versioned store is negative: engines written when keys
// had no length before them have a positive number there.
constexpr std::int64_t kVersionsByLength = std::numeric_limits<std::int64_t>::min();

std::int64_t segment_length(std::chrono::milliseconds retention) {
  return std::max(static_cast<std::int64_t>(retention.count()) / 2, kSegmentMillisMin);
}

// Order-preserving: negative numbers sort first.
std::uint64_t ordered(std::int64_t number) {
  return static_cast<std::uint64_t>(number) ^ (std::uint64_t{1} << 63U);
}
std::int64_t unordered(std::uint64_t bits) {
  return static_cast<std::int64_t>(bits ^ (std::uint64_t{1} << 63U));
}

template <class T>
T read(std::string_view bytes, std::size_t at) {
  std::string_view rest = bytes.substr(at, sizeof(T));
  return take_big_endian<T>(rest);
}

}  // namespace

std::string_view to_string(StoreKind kind) {
  switch (kind) {
    case StoreKind::kKeyValue:
      return "key-value";
    case StoreKind::kWindow:
      return "window";
    case StoreKind::kSession:
      return "session";
    case StoreKind::kVersioned:
      return "versioned";
  }
  return "unknown";
}

KeyLayout KeyLayout::with_ttl(std::chrono::milliseconds ttl, TtlClock clock) {
  KeyLayout layout;
  layout.retention_ = ttl;
  layout.ttl_clock_ = clock;
  return layout;
}

KeyLayout KeyLayout::window(std::chrono::milliseconds size, std::chrono::milliseconds retention,
                            bool duplicates) {
  KeyLayout layout;
  layout.kind_ = StoreKind::kWindow;
  layout.duplicates_ = duplicates;
  layout.head_bytes_ = sizeof(std::int64_t);
  layout.detail_bytes_ = sizeof(std::int32_t);
  layout.window_size_ = size;
  layout.retention_ = retention;
  layout.segment_millis_ = segment_length(retention);
  return layout;
}

KeyLayout KeyLayout::session(std::chrono::milliseconds retention) {
  KeyLayout layout;
  layout.kind_ = StoreKind::kSession;
  layout.head_bytes_ = sizeof(std::int64_t);
  layout.detail_bytes_ = sizeof(std::int64_t);
  layout.retention_ = retention;
  layout.segment_millis_ = segment_length(retention);
  return layout;
}

KeyLayout KeyLayout::versioned(std::chrono::milliseconds retention) {
  KeyLayout layout;
  layout.kind_ = StoreKind::kVersioned;
  layout.head_bytes_ = sizeof(std::uint32_t);
  layout.tail_bytes_ = sizeof(std::int64_t);
  layout.retention_ = retention;
  return layout;
}

bool KeyLayout::engine_key(std::string_view log_key, Timestamp record_time,
                           std::string& out) const {
  out.clear();
  if (expires()) {
    const std::size_t behind = sizeof(std::int64_t) + detail_bytes_;
    if (log_key.size() < behind) return false;
    append_big_endian(out,
                      ordered(segment_of(read<std::int64_t>(log_key, log_key.size() - behind))));
  }
  if (kind_ == StoreKind::kVersioned)
    append_big_endian(out, static_cast<std::uint32_t>(log_key.size()));
  out += log_key;
  if (kind_ == StoreKind::kVersioned) append_big_endian(out, ~ordered(to_millis(record_time)));
  return true;
}

bool KeyLayout::engine_value(std::optional<std::string_view> log_value, Timestamp record_time,
                             std::string& out) const {
  const bool versioned = kind_ == StoreKind::kVersioned;
  if (!log_value && !versioned) return false;
  out.clear();
  Serde<std::int64_t>::encode(to_millis(record_time), out);
  if (versioned) out += log_value ? kPresentVersion : kDeletedVersion;
  if (log_value) out += *log_value;
  return true;
}

void KeyLayout::compose(std::string_view key, std::int64_t time, std::int64_t detail,
                        std::string& out) const {
  out.clear();
  if (kind_ == StoreKind::kVersioned) {
    append_big_endian(out, static_cast<std::uint32_t>(key.size()));
    out += key;
    append_big_endian(out, ~ordered(time));
    return;
  }
  append_big_endian(out, ordered(segment_of(time)));
  out += key;
  append_big_endian(out, time);
  if (kind_ == StoreKind::kWindow) {
    append_big_endian(out, static_cast<std::int32_t>(detail));
  } else {
    append_big_endian(out, detail);
  }
}

std::string_view KeyLayout::key_of(std::string_view engine_key) const {
  if (kind_ == StoreKind::kVersioned) return log_key(engine_key);
  return engine_key.substr(head_bytes_,
                           engine_key.size() - head_bytes_ - sizeof(std::int64_t) - detail_bytes_);
}

std::int64_t KeyLayout::time_of(std::string_view engine_key) const {
  const std::size_t at = engine_key.size() - sizeof(std::int64_t) - detail_bytes_;
  if (kind_ == StoreKind::kVersioned) return unordered(~read<std::uint64_t>(engine_key, at));
  return read<std::int64_t>(engine_key, at);
}

std::int64_t KeyLayout::detail_of(std::string_view engine_key) const {
  const std::size_t at = engine_key.size() - detail_bytes_;
  if (kind_ == StoreKind::kWindow) return read<std::int32_t>(engine_key, at);
  return kind_ == StoreKind::kSession ? read<std::int64_t>(engine_key, at) : 0;
}

std::int64_t KeyLayout::segment_of(std::int64_t time) const {
  const std::int64_t quotient = time / segment_millis_;
  return time % segment_millis_ < 0 ? quotient - 1 : quotient;
}

std::string KeyLayout::segment_prefix(std::int64_t segment) {
  std::string prefix;
  append_big_endian(prefix, ordered(segment));
  return prefix;
}

std::int64_t KeyLayout::live_from(std::int64_t observed) const {
  const std::int64_t back = retention_.count() - (kind_ == StoreKind::kVersioned ? 0 : 1);
  return observed < kNoTime + back ? kNoTime : observed - back;
}

// With another retention the engine is rebuilt: a longer one asks for what it has dropped, or shows
// again what it has left where it stood; and segments may have another length.
std::int64_t KeyLayout::beside_observed_time() const {
  return (kind_ == StoreKind::kVersioned ? kVersionsByLength : 0) + retention_.count();
}

std::string KeyLayout::time_record(std::int64_t observed) const {
  std::string record;
  append_big_endian(record, observed);
  append_big_endian(record, beside_observed_time());
  return record;
}

std::optional<std::int64_t> KeyLayout::observed_time(std::string_view record) const {
  if (record.size() != 2 * sizeof(std::int64_t) ||
      read<std::int64_t>(record, sizeof(std::int64_t)) != beside_observed_time()) {
    return std::nullopt;
  }
  return read<std::int64_t>(record, 0);
}

}  // namespace millrace

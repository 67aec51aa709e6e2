// SPDX-License-Identifier: Apache-2.0
#include "metrics/names.h"

#include <algorithm>
#include <stdexcept>

namespace millrace::metrics {
namespace {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_identifier(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';
  };
  return !name.empty() && !is_digit(name.front()) && std::all_of(name.begin(), name.end(), allowed);
}

bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> suffixes) {
  return std::any_of(suffixes.begin(), suffixes.end(),
                     [name](std::string_view suffix) { return name.ends_with(suffix); });
}

// Length of the valid UTF-8 sequence at the start of `text` (not empty); 0 if there is none.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t length = first < 0xE0 ? 2U : first < 0xF0 ? 3U : 4U;
  if (text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // The second byte is bounded where overlong forms, surrogates and the end of Unicode lie.
  const unsigned char second = byte(1);
  if (first == 0xE0 && second < 0xA0) return 0;
  if (first == 0xED && second > 0x9F) return 0;
  if (first == 0xF0 && second < 0x90) return 0;
  if (first == 0xF4 && second > 0x8F) return 0;
  return length;
}

}  // namespace

bool is_label_name(std::string_view name) {
  return is_identifier(name) && !name.starts_with("__") && name != "le" && name != "quantile";
}

void check_metric_name(std::string_view name, Kind kind) {
  const auto fail = [name](const char* why) {
    throw std::logic_error("metric '" + std::string{name} + "': " + why);
  };
  if (!is_identifier(name)) fail("a name is made of letters, digits and underscores");
  if (name.ends_with("_total") != (kind == Kind::kCounter)) {
    fail("a counter's name ends in _total, and no other name does");
  }
  if (ends_with_any(name, {"_count", "_sum", "_bucket"})) {
    fail("_count, _sum and _bucket belong to the parts of a histogram");
  }
}

Labels normalized(Labels labels, const Labels& constant) {
  const auto by_name = [](const auto& a, const auto& b) { return a.first < b.first; };
  const auto same_name = [](const auto& a, const auto& b) { return a.first == b.first; };
  std::sort(labels.begin(), labels.end(), by_name);
  if (std::adjacent_find(labels.begin(), labels.end(), same_name) != labels.end()) {
    throw std::logic_error("a label name is repeated");
  }
  Labels result;
  std::set_union(labels.begin(), labels.end(), constant.begin(), constant.end(),
                 std::back_inserter(result), by_name);  // Takes equal ones from the first range.
  for (auto& [name, value] : result) {
    if (!is_label_name(name)) throw std::logic_error("bad label name '" + name + "'");
    value = valid_utf8(value);
  }
  std::erase_if(result, [](const auto& label) { return label.second.empty(); });
  return result;
}

std::string valid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    result += length == 0 ? kReplacementCharacter : text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

}  // namespace millrace::metrics

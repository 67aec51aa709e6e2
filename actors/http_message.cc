// SPDX-License-Identifier: Apache-2.0
#include "actors/http_message.h"

#include <nlohmann/json.hpp>
#include <optional>

namespace millrace {
namespace {

enum class Plus { kLiteral, kSpace };

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

std::optional<std::string> percent_decoded(std::string_view text, Plus plus) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus == Plus::kSpace) {
      result += ' ';
    } else if (text[i] != '%') {
      result += text[i];
    } else {
      if (text.size() - i < 3) return std::nullopt;
      const auto high = hex_digit(text[i + 1]);
      const auto low = hex_digit(text[i + 2]);
      if (!high || !low) return std::nullopt;
      result += static_cast<char>(*high * 16 + *low);
      i += 2;
    }
  }
  return result;
}

// Cuts the part before `separator` (all of it if there is none) off the front of `text`.
std::string_view next_part(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

Status broken_escape(std::string_view part) {
  return Status::invalid_argument("broken percent escape in '" + std::string{part} + "'");
}

Status parse_path(std::string_view path, HttpRequest& request) {
  request.path = path;
  request.segments.clear();
  if (path == "/") return {};
  std::size_t begin = 1;
  while (begin != std::string_view::npos) {
    const std::size_t end = path.find('/', begin);
    const std::string_view part = path.substr(begin, end == path.npos ? path.npos : end - begin);
    auto segment = percent_decoded(part, Plus::kLiteral);
    if (!segment) return broken_escape(part);
    request.segments.push_back(std::move(*segment));
    begin = end == path.npos ? path.npos : end + 1;
  }
  return {};
}

Status parse_query(std::string_view query, HttpRequest& request) {
  request.query.clear();
  while (!query.empty()) {
    const std::string_view parameter = next_part(query, '&');
    if (parameter.empty()) continue;
    std::string_view rest = parameter;
    auto name = percent_decoded(next_part(rest, '='), Plus::kSpace);
    auto value = percent_decoded(rest, Plus::kSpace);
    if (!name || !value) return broken_escape(parameter);
    request.query[std::move(*name)] = std::move(*value);
  }
  return {};
}

}  // namespace

HttpResponse http_error(int status, std::string_view code, std::string_view message) {
  const nlohmann::ordered_json body{{"error", code}, {"message", message}};
  HttpResponse response;
  response.status = status;
  // A message may quote bytes of the request that are not UTF-8.
  response.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return response;
}

Status parse_http_target(std::string_view target, HttpRequest& request) {
  if (!target.starts_with('/')) {
    return Status::invalid_argument("the request target must start with a slash");
  }
  std::string_view query = target;
  const std::string_view path = next_part(query, '?');
  if (Status status = parse_path(path, request); !status.ok()) return status;
  return parse_query(query, request);
}

}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
#include "stores/remote_address.h"

#include <charconv>

namespace millrace {
namespace {

constexpr int kPortMax = 65535;

bool parse_port(std::string_view text, int& port) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  return error == std::errc{} && stop == end && port >= 1 && port <= kPortMax;
}

}  // namespace

Result<RemoteAddress> parse_remote_address(std::string_view address) {
  RemoteAddress result;
  if (address.starts_with('/')) {
    result.socket_path = address;
    return result;
  }
  std::string_view rest;
  if (address.starts_with('[')) {
    const std::size_t end = address.find(']');
    if (end != std::string_view::npos) {
      result.host = address.substr(1, end - 1);
      rest = address.substr(end + 1);
    }
  } else {
    result.host = address.substr(0, address.find(':'));
    rest = address.substr(result.host.size());
  }
  const bool is_right =
      !result.host.empty() &&
      (rest.empty() || (rest.starts_with(':') && parse_port(rest.substr(1), result.port)));
  if (is_right) return result;
  return Status::invalid_argument(
      "a Redis address must be host, host:port, [v6]:port (port 1 to 65535) or the path of a unix "
      "socket");
}

}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
#include "actors/http_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace millrace {
namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return port;
}

bool is_ipv4(const std::string& text) {
  in_addr address{};
  return inet_pton(AF_INET, text.c_str(), &address) == 1;
}

bool is_ipv6(const std::string& text) {
  in6_addr address{};
  return inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

bool is_bracketed(std::string_view host) {
  return host.size() > 2 && host.front() == '[' && host.back() == ']';
}

bool is_numeric(const std::string& host) {
  return is_ipv4(host) || (is_bracketed(host) && is_ipv6(host.substr(1, host.size() - 2)));
}

bool is_host(std::string_view host) {
  if (is_bracketed(host)) return is_ipv6(std::string{host.substr(1, host.size() - 2)});
  return !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
  });
}

bool is_loopback(const std::string& numeric) {
  return numeric == "::1" || (is_ipv4(numeric) && numeric.starts_with("127."));
}

// Lower case, without the dot that may end a complete name.
std::string canonical(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  std::string result{host};
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

// The host of "host", "host:port", "[v6]" or "[v6]:port"; empty when the port is none.
std::string_view without_port(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.ends_with(']')) return text;
  return parse_port(text.substr(colon + 1)) ? text.substr(0, colon) : std::string_view{};
}

}  // namespace

Result<std::pair<std::string, std::uint16_t>> parse_http_address(std::string_view text) {
  const auto fail = [text](std::string_view why) {
    return Status::invalid_argument("'" + std::string{text} +
                                    "' is no address to listen on: " + std::string{why});
  };
  if (const auto port = parse_port(text)) return std::pair{std::string{"127.0.0.1"}, *port};

  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.ends_with(']')) {
    return fail("give PORT (0 to 65535), HOST:PORT or [IPV6]:PORT");
  }
  std::string_view host = text.substr(0, colon);
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return fail("the port must be a number from 0 to 65535");
  if (host.empty()) return fail("write 0.0.0.0:PORT to listen on all addresses");
  if (host.find(':') != std::string_view::npos && !is_bracketed(host)) {
    return fail("write an IPv6 address in brackets, such as [::1]:8080");
  }
  if (!is_host(host)) return fail("the host is neither a name nor a numeric address");
  if (is_bracketed(host)) host = host.substr(1, host.size() - 2);
  return std::pair{std::string{host}, *port};
}

HostCheck::HostCheck(std::string_view bound_address, const std::vector<std::string>& allowed)
    : names_{"localhost", "127.0.0.1", "[::1]"} {
  const std::string bound{bound_address};
  names_.push_back(canonical(is_ipv6(bound) ? "[" + bound + "]" : bound));
  for (const auto& name : allowed) names_.push_back(canonical(name));
  if (!is_loopback(bound)) mode_ = allowed.empty() ? Mode::kAll : Mode::kNamedOrNumeric;
}

bool HostCheck::allows(std::string_view host) const {
  if (mode_ == Mode::kAll) return true;
  const std::string name = canonical(without_port(host));
  return std::find(names_.begin(), names_.end(), name) != names_.end() ||
         (mode_ == Mode::kNamedOrNumeric && is_numeric(name));
}

}  // namespace millrace

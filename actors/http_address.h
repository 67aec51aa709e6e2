// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/error.h"

namespace millrace {

/// Reads where to listen: "8080" (on 127.0.0.1), "host:port", "[::1]:8080"; port 0 means a free
/// one. The address is not looked up here. invalid_argument with a sentence for anything else.
[[nodiscard]] Result<std::pair<std::string, std::uint16_t>> parse_http_address(
    std::string_view text);

/// Decides which `Host` headers are answered, against DNS rebinding: a web page whose name an
/// attacker makes point to 127.0.0.1 reads from here with its own name in `Host`. Immutable.
class HostCheck {
 public:
  /// `bound_address` is numeric, IPv6 without brackets.
  ///
  /// On a loopback address: localhost, 127.0.0.1, [::1], the bound address and `allowed` (names
  /// without port) pass. On another one: everything passes if `allowed` is empty; else those named
  /// above and every numeric address, which rebinding cannot use, so that probes by address work.
  HostCheck(std::string_view bound_address, const std::vector<std::string>& allowed);

  /// True when a request with this `Host` header, with or without a port, may be answered.
  [[nodiscard]] bool allows(std::string_view host) const;

 private:
  enum class Mode { kAll, kNamed, kNamedOrNumeric };
  Mode mode_ = Mode::kNamed;
  std::vector<std::string> names_;  // Lower case, IPv6 in brackets.
};

}  // namespace millrace

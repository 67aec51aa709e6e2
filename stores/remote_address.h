// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "millrace/error.h"

namespace millrace {

/// Where the server of a remote engine listens: `RedisOptions::address` taken apart.
struct RemoteAddress {
  std::string socket_path;  ///< Empty: host and port count.
  std::string host;
  int port = 6379;
};

/// Errors: invalid_argument.
[[nodiscard]] Result<RemoteAddress> parse_remote_address(std::string_view address);

}  // namespace millrace

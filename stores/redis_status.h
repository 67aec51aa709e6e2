// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "millrace/error.h"

namespace millrace {

/// The one place that reads Redis's error codes: the first word of `error`, such as
/// "OOM command not allowed ...". `action` completes "cannot ...", `where` names server and task.
///
/// unavailable: the server cannot now (loading, out of memory, read-only replica).
/// invalid_argument: it will not let us (password, rights, cluster). corruption: something else is
/// under our names. internal: all else.
[[nodiscard]] Status redis_error(std::string_view error, std::string_view action,
                                 std::string_view where);

/// Whether another connection may lead to a server that can: after a fail-over.
[[nodiscard]] bool redis_must_reconnect(std::string_view error);

/// The same for an answer to AUTH, of which only the code is shown: servers that do not know the
/// command repeat its arguments.
[[nodiscard]] Status redis_login_error(std::string_view error, std::string_view where);

}  // namespace millrace

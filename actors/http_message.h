// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/error.h"

namespace millrace {

/// A request as a handler sees it.
struct HttpRequest {
  std::string method;  ///< "GET" or "HEAD"; the server leaves the body out of an answer to HEAD.
  std::string path;    ///< As it was sent, without the query.
  /// The parts of the path between slashes, each percent-decoded: "/" has none, "/a%2Fb/" has
  /// "a/b" and "". May hold any bytes; "." and ".." mean nothing special.
  std::vector<std::string> segments;
  /// Percent-decoded, and '+' is a space, as in HTML forms. The last one of a repeated name counts.
  std::map<std::string, std::string> query;
  std::map<std::string, std::string> headers;  ///< Lower-case names; repeated ones joined by ", ".
  std::string body;
};

/// An answer. The server adds the length, the connection's headers and `Cache-Control: no-store`
/// (which `headers` may replace); a status without body (204, 304) drops the body.
struct HttpResponse {
  int status = 200;  ///< 200 to 599.
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

/// The form of every error we answer: {"error": code, "message": message}. `code` is stable and for
/// programs, `message` a sentence for people.
[[nodiscard]] HttpResponse http_error(int status, std::string_view code, std::string_view message);

/// Fills in path, segments and query of a request target such as "/stores/a%20b?limit=10".
/// invalid_argument when it does not start with a slash or has a broken percent escape.
[[nodiscard]] Status parse_http_target(std::string_view target, HttpRequest& request);

}  // namespace millrace

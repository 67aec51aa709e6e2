// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/http_message.h"
#include "millrace/error.h"

namespace millrace {

/// Answers one request. May be called from any thread, before or after the handler returns, also
/// when the server is gone; only the first call counts. If it is never called, the server answers
/// 504 after HttpOptions::request_timeout.
using HttpRespond = std::function<void(HttpResponse)>;

/// Called for each well-formed GET and HEAD, whatever its path, on the server's thread: must not
/// block. The request is valid until it returns. An exception becomes a 500.
using HttpHandler = std::function<void(const HttpRequest&, HttpRespond)>;

struct HttpOptions {
  std::string address = "127.0.0.1";  ///< A numeric address or a name that resolves to one.
  std::uint16_t port = 0;             ///< 0: any free one.

  /// Bounds the request line, and again the header fields; more is answered 431.
  std::size_t header_bytes_max = 8192;
  std::size_t body_bytes_max = std::size_t{1} << 20U;  ///< More is answered 413.
  /// Of more, the one that has waited longest for a request is closed.
  std::size_t connections_max = 256;

  /// For the whole header of a request, from the connection or from its first byte on a kept one.
  std::chrono::milliseconds header_timeout{5'000};
  /// Between requests; also for sending an answer.
  std::chrono::milliseconds idle_timeout{30'000};
  /// For reading a body, and for the handler to respond.
  std::chrono::milliseconds request_timeout{10'000};

  /// Host names, without port, that are answered besides those HostCheck lets pass.
  std::vector<std::string> allowed_hosts;
  bool check_host = true;  ///< See HostCheck; a request that does not pass is answered 421.

  /// Told in a sentence when a handler threw or its answer could not be sent, on the server's
  /// thread. Optional.
  std::function<void(const std::string&)> on_error;
};

/// A small HTTP/1.1 server for operators and Prometheus: GET and HEAD, keep-alive, no TLS.
///
/// One thread of its own serves all connections; every buffer and wait is bounded by HttpOptions.
/// The functions may be called from any thread except the server's.
class HttpServer {
 public:
  /// Listens at once. invalid_argument when the address is unknown, not of this machine, taken or
  /// forbidden: the message names it, the caller adds the setting; unavailable when the process has
  /// no thread or descriptor left.
  [[nodiscard]] static Result<std::unique_ptr<HttpServer>> start(HttpOptions options,
                                                                 HttpHandler handler);

  /// Like stop().
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Where it listens: the port in use if 0 was asked for, the address in numbers.
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] const std::string& address() const;

  /// Closes all connections, answered or not, and joins the thread; takes less than a second as
  /// long as no handler blocks. The handler is not called afterwards. Idempotent.
  void stop();

 private:
  class Listener;
  explicit HttpServer(std::unique_ptr<Listener> listener);

  std::unique_ptr<Listener> listener_;
};

}  // namespace millrace

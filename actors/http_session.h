// SPDX-License-Identifier: Apache-2.0
#pragma once

// Included by http_session.cc and http_server.cc only: Boost.Beast goes no further.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "actors/http_address.h"
#include "actors/http_server.h"

namespace millrace {

class HttpSession;

/// What the sessions of one server share. Everything is used by the server's thread only, except
/// that any thread may post to `io`. A responder may hold the last reference, after stop().
struct HttpShared {
  HttpOptions options;
  HttpHandler handler;
  std::optional<HostCheck> host_check;
  std::unordered_set<HttpSession*> sessions;
  boost::asio::io_context io{1};  // Last: its destruction destroys sessions, which leave the set.

  void report(const std::string& message) const {
    if (options.on_error) options.on_error(message);
  }
};

/// One connection, from accept to close. Lives as long as one of its operations is under way, and
/// one always is.
///
///       +--------------------- await_request <--------------------+
///       v                                                         | kept alive
///   read_header -> read_body -> call_handler -> respond -> write -+
///       |              |             | 504, 500    ^              | not kept
///       +--------------+-------------+- refuse ----+              v
///                                                               drain -> closed
///
/// An answer of unknown length (server-sent events) would be another way from respond to drain.
/// Every function runs on the server's thread.
class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  /// `shared` outlives the session: it owns the io_context that holds it.
  HttpSession(const std::shared_ptr<HttpShared>& shared, boost::asio::ip::tcp::socket socket);
  ~HttpSession();
  HttpSession(const HttpSession&) = delete;
  HttpSession& operator=(const HttpSession&) = delete;

  void start() {
    waits_since_ = std::chrono::steady_clock::now();
    read_header();
  }

  /// Since when it has waited for a request, or for the rest of a first one; nullopt while one is
  /// being answered, and once it is closed.
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> idle_since() const {
    return closed_ ? std::nullopt : waits_since_;
  }

  /// Ends every operation; the session dies when they have returned.
  void close();

 private:
  using Error = boost::beast::error_code;
  using Body = boost::beast::http::string_body;

  void await_request();
  void read_header();
  void on_header(Error error);
  void on_request(Error error);
  void call_handler(const HttpRequest& request);
  void respond(std::uint64_t request_id, HttpResponse response);
  void refuse(HttpResponse response);
  void on_read_error(Error error);
  void write(HttpResponse response);
  void on_written(Error error);
  void drain(Error error);

  /// What stands against answering the request whose header has been read, if anything.
  [[nodiscard]] std::optional<HttpResponse> objection() const;

  /// A completion handler that keeps the session alive and calls `step` unless it was closed.
  auto then(void (HttpSession::*step)(Error));

  HttpShared& shared_;
  const std::weak_ptr<HttpShared> weak_shared_;  // For responders, which may outlive the server.
  boost::beast::tcp_stream stream_;
  boost::asio::steady_timer handler_deadline_;
  boost::beast::flat_buffer buffer_;
  bool closed_ = false;
  std::optional<std::chrono::steady_clock::time_point> waits_since_;

  // The request being served; the response refers to it by id.
  std::optional<boost::beast::http::request_parser<Body>> parser_;
  std::uint64_t request_id_ = 0;
  bool awaits_response_ = false;
  bool keep_alive_ = false;

  std::optional<boost::beast::http::response<Body>> response_;
  std::optional<boost::beast::http::response_serializer<Body>> serializer_;  // Of response_.
};

}  // namespace millrace

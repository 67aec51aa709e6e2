// SPDX-License-Identifier: Apache-2.0
#include "actors/http_session.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/beast/core/error.hpp>
#include <exception>
#include <limits>

namespace millrace {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

// How long a client may take to notice that we are done with the connection.
constexpr std::chrono::seconds kDrainTimeout{1};
// What is read at once beyond a header of full size.
constexpr std::size_t kReadAheadBytesMax = 4096;

constexpr unsigned kHttp11 = 11;

std::string lower_case(std::string_view name) {
  std::string result{name};
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

HttpRequest to_request(http::request<http::string_body>& message) {
  HttpRequest request;
  request.method = message.method_string();
  for (const auto& field : message) {
    std::string& value = request.headers[lower_case(field.name_string())];
    if (!value.empty()) value += ", ";
    value += field.value();
  }
  request.body = std::move(message.body());
  return request;
}

bool is_header_text(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}

// A line break in a header would let the rest of it pass for another header.
bool is_sendable(const HttpResponse& response) {
  return response.status >= 200 && response.status <= 599 &&
         is_header_text(response.content_type) &&
         std::all_of(response.headers.begin(), response.headers.end(), [](const auto& header) {
           return !header.first.empty() && is_header_text(header.first) &&
                  is_header_text(header.second);
         });
}

bool has_no_body(int status) { return status == 204 || status == 304; }

}  // namespace

HttpSession::HttpSession(const std::shared_ptr<HttpShared>& shared, asio::ip::tcp::socket socket)
    : shared_(*shared),
      weak_shared_(shared),
      stream_(std::move(socket)),
      handler_deadline_(shared->io),
      buffer_(2 * shared->options.header_bytes_max + kReadAheadBytesMax) {
  shared_.sessions.insert(this);
}

HttpSession::~HttpSession() { shared_.sessions.erase(this); }

void HttpSession::close() {
  closed_ = true;
  handler_deadline_.cancel();
  stream_.close();
}

auto HttpSession::then(void (HttpSession::*step)(Error)) {
  return [self = shared_from_this(), step](Error error, std::size_t) {
    if (!self->closed_) (self.get()->*step)(error);
  };
}

void HttpSession::await_request() {
  waits_since_ = std::chrono::steady_clock::now();
  if (buffer_.size() > 0) return read_header();  // The client did not wait for our answer.
  stream_.expires_after(shared_.options.idle_timeout);
  stream_.async_read_some(buffer_.prepare(kReadAheadBytesMax),
                          [self = shared_from_this()](Error error, std::size_t bytes) {
                            if (self->closed_ || error) return;
                            self->buffer_.commit(bytes);
                            self->read_header();
                          });
}

void HttpSession::read_header() {
  const auto& options = shared_.options;
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(
      std::min<std::size_t>(options.header_bytes_max, std::numeric_limits<std::uint32_t>::max())));
  parser_->body_limit(options.body_bytes_max);
  // Set once for all reads of the header: a client that sends a byte now and then gains nothing.
  stream_.expires_after(options.header_timeout);
  http::async_read_header(stream_, buffer_, *parser_, then(&HttpSession::on_header));
}

void HttpSession::on_header(Error error) {
  waits_since_.reset();
  if (error) return on_read_error(error);
  if (auto response = objection()) return refuse(std::move(*response));
  keep_alive_ = parser_->keep_alive();
  if (parser_->is_done()) return on_request({});
  stream_.expires_after(shared_.options.request_timeout);
  http::async_read(stream_, buffer_, *parser_, then(&HttpSession::on_request));
}

std::optional<HttpResponse> HttpSession::objection() const {
  const auto& message = parser_->get();
  const auto hosts = message.count(http::field::host);
  // HTTP/1.0 knows no Host, and no browser speaks it.
  if (hosts > 1 || (hosts == 0 && message.version() >= kHttp11)) {
    return http_error(400, "bad_request", "the request must have one Host header");
  }
  const std::string_view host = message[http::field::host];
  if (hosts == 1 && shared_.host_check && !shared_.host_check->allows(host)) {
    return http_error(421, "host_not_allowed",
                      "the host '" + std::string{host} +
                          "' is not served here: use localhost or the address itself, or add the "
                          "name to the allowed hosts");
  }
  if (message.method() != http::verb::get && message.method() != http::verb::head) {
    auto response = http_error(405, "method_not_allowed", "only GET and HEAD are answered");
    response.headers.emplace_back("Allow", "GET, HEAD");
    return response;
  }
  return std::nullopt;
}

void HttpSession::on_request(Error error) {
  if (error) return on_read_error(error);
  auto& message = parser_->get();
  HttpRequest request = to_request(message);
  if (const Status status = parse_http_target(message.target(), request); !status.ok()) {
    return refuse(http_error(400, "bad_request", status.message()));
  }
  call_handler(request);
}

void HttpSession::call_handler(const HttpRequest& request) {
  const std::uint64_t id = ++request_id_;
  awaits_response_ = true;
  stream_.expires_never();
  handler_deadline_.expires_after(shared_.options.request_timeout);
  handler_deadline_.async_wait([self = shared_from_this(), id](Error error) {
    if (!error) self->respond(id, http_error(504, "timeout", "no answer within the time limit"));
  });

  const auto respond_later = [weak_shared = weak_shared_, weak_self = weak_from_this(),
                              id](HttpResponse response) {
    const auto shared = weak_shared.lock();
    if (!shared) return;
    asio::post(shared->io, [weak_self, id, response = std::move(response)]() mutable {
      if (const auto self = weak_self.lock()) self->respond(id, std::move(response));
    });
  };
  try {
    shared_.handler(request, respond_later);
  } catch (const std::exception& exception) {
    shared_.report("the handler of " + request.path + " threw: " + exception.what());
    respond(id, http_error(500, "internal", "the handler failed; the log says why"));
  } catch (...) {
    shared_.report("the handler of " + request.path + " threw something unknown");
    respond(id, http_error(500, "internal", "the handler failed; the log says why"));
  }
}

void HttpSession::respond(std::uint64_t request_id, HttpResponse response) {
  if (closed_ || !awaits_response_ || request_id != request_id_) return;
  awaits_response_ = false;
  handler_deadline_.cancel();
  write(std::move(response));
}

void HttpSession::refuse(HttpResponse response) {
  keep_alive_ = false;  // Where the next request would start is unknown.
  write(std::move(response));
}

void HttpSession::on_read_error(Error error) {
  static const auto* http_category = &http::make_error_code(http::error::end_of_stream).category();
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    refuse(http_error(431, "header_too_large", "the header is larger than this server accepts"));
  } else if (error == http::error::body_limit) {
    refuse(http_error(413, "body_too_large", "the body is larger than this server accepts"));
  } else if (error != http::error::end_of_stream && error != http::error::partial_message &&
             error.category() == *http_category) {
    refuse(http_error(400, "bad_request", "malformed request: " + error.message()));
  }
  // Otherwise the client has gone or its time is up, and the session ends here.
}

void HttpSession::write(HttpResponse response) {
  if (!is_sendable(response)) {
    shared_.report("an answer with status " + std::to_string(response.status) +
                   " has a bad status or a control character in a header");
    response = http_error(500, "internal", "the answer could not be sent; the log says why");
  }
  if (has_no_body(response.status)) response.body.clear();
  const auto& request = parser_->get();
  serializer_.reset();
  response_.emplace(static_cast<http::status>(response.status),
                    request.version() == 0 ? kHttp11 : request.version());
  response_->set(http::field::cache_control, "no-store");
  response_->set("X-Content-Type-Options", "nosniff");
  if (!has_no_body(response.status)) {
    response_->set(http::field::content_type, response.content_type);
  }
  for (const auto& [name, value] : response.headers) response_->set(name, value);
  response_->body() = std::move(response.body);
  response_->prepare_payload();
  response_->keep_alive(keep_alive_);

  serializer_.emplace(*response_);
  stream_.expires_after(shared_.options.idle_timeout);
  if (request.method() == http::verb::head) {
    http::async_write_header(stream_, *serializer_, then(&HttpSession::on_written));
  } else {
    http::async_write(stream_, *serializer_, then(&HttpSession::on_written));
  }
}

void HttpSession::on_written(Error error) {
  if (error) return;
  response_->body() = {};  // A kept connection does not keep its last answer.
  if (keep_alive_) return await_request();
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, error);
  if (error) return;
  stream_.expires_after(kDrainTimeout);
  drain({});
}

// Closing while there is unread input resets the connection, and the client may lose our answer:
// read until it closes, or for a second.
void HttpSession::drain(Error error) {
  if (error) return;
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(kReadAheadBytesMax), then(&HttpSession::drain));
}

}  // namespace millrace

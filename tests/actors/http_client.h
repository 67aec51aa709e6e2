// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace millrace {

/// A connection to 127.0.0.1 that sends bytes as they are and reads answers one by one. Blocks, but
/// no read longer than kReadTimeoutSeconds, which fails the test. Not thread-safe.
class HttpClient {
 public:
  struct Answer {
    int status = 0;
    std::string head;  ///< Status line and headers, as sent.
    std::string body;

    [[nodiscard]] bool has(std::string_view header_line) const {
      return head.find("\r\n" + std::string{header_line} + "\r\n") != std::string::npos;
    }
  };

  explicit HttpClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval timeout{kReadTimeoutSeconds, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      ::close(socket_);
      throw std::runtime_error("cannot connect");
    }
  }

  ~HttpClient() { ::close(socket_); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// What the server has already closed to is lost silently: the test sees it when it reads.
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  /// Sends a well-formed request and reads the answer to it.
  Answer get(std::string_view target, std::string_view method = "GET") {
    send(std::string{method} + " " + std::string{target} + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    return read_answer(method == "HEAD" ? Expect::kHeadOnly : Expect::kBody);
  }

  enum class Expect { kBody, kHeadOnly };

  /// Throws std::runtime_error when the connection closes before the answer is complete.
  Answer read_answer(Expect expect = Expect::kBody) {
    std::size_t head_end = 0;
    while ((head_end = received_.find("\r\n\r\n")) == std::string::npos) require_more();
    Answer answer;
    answer.head = received_.substr(0, head_end + 2);
    answer.status = std::stoi(answer.head.substr(answer.head.find(' ') + 1));
    received_.erase(0, head_end + 4);
    if (expect == Expect::kHeadOnly) return answer;
    const std::size_t length = content_length(answer.head);
    while (received_.size() < length) require_more();
    answer.body = received_.substr(0, length);
    received_.erase(0, length);
    return answer;
  }

  /// Waits until the server closes the connection; true if it sent nothing more before.
  bool closes_without_a_word() {
    while (receive()) {
    }
    return received_.empty();
  }

 private:
  static constexpr int kReadTimeoutSeconds = 20;

  static std::size_t content_length(const std::string& head) {
    const std::string name = "Content-Length: ";
    const auto at = head.find(name);
    return at == std::string::npos ? 0 : std::stoul(head.substr(at + name.size()));
  }

  void require_more() {
    if (!receive()) throw std::runtime_error("closed before the answer; got: " + received_);
  }

  // False when the server has closed or reset the connection.
  bool receive() {
    char bytes[4096];
    const auto count = ::recv(socket_, bytes, sizeof bytes, 0);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      throw std::runtime_error("the server neither answered nor closed");
    }
    if (count <= 0) return false;
    received_.append(bytes, static_cast<std::size_t>(count));
    return true;
  }

  int socket_;
  std::string received_;
};

}  // namespace millrace

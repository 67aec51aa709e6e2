// SPDX-License-Identifier: Apache-2.0
#include "actors/http_server.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <mutex>
#include <system_error>
#include <thread>

#include "actors/http_session.h"

namespace millrace {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

// Before the next accept when the process is out of descriptors: a loop would only burn CPU.
constexpr std::chrono::milliseconds kAcceptPause{100};

std::string quoted(const std::string& address, std::uint16_t port) {
  const bool ipv6 = address.find(':') != std::string::npos;
  return (ipv6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

Result<tcp::endpoint> resolve(asio::io_context& io, const HttpOptions& options) {
  boost::system::error_code error;
  tcp::resolver resolver{io};
  const auto found = resolver.resolve(options.address, std::to_string(options.port),
                                      tcp::resolver::numeric_service, error);
  if (error || found.empty()) {
    return Status::invalid_argument("cannot listen on '" + options.address +
                                    "': no such address: " + error.message());
  }
  // A name such as localhost often has both kinds; clients try IPv4 in any case.
  const auto ipv4 = std::find_if(found.begin(), found.end(), [](const auto& entry) {
    return entry.endpoint().address().is_v4();
  });
  return (ipv4 != found.end() ? ipv4 : found.begin())->endpoint();
}

// Threads of the library leave signals to the threads of the program.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

/// The listening socket, and the thread that runs it and all sessions.
class HttpServer::Listener {
 public:
  Listener(HttpOptions options, HttpHandler handler) {
    shared_->options = std::move(options);
    shared_->handler = std::move(handler);
  }

  ~Listener() { stop(); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  Status start() {
    const auto endpoint = resolve(shared_->io, shared_->options);
    if (!endpoint) return endpoint.error();
    if (Status status = listen(*endpoint); !status.ok()) return status;
    if (shared_->options.check_host) {
      shared_->host_check.emplace(address_, shared_->options.allowed_hosts);
    }
    accept();
    try {
      const AllSignalsBlocked blocked;
      thread_ = std::thread{[this] { run(); }};
    } catch (const std::system_error& error) {
      return Status::unavailable(std::string{"no thread for the HTTP server: "} + error.what());
    }
    return {};
  }

  void stop() {
    const std::lock_guard lock{stop_mutex_};
    if (!thread_.joinable()) return;
    asio::post(shared_->io, [this] {
      boost::system::error_code ignored;
      acceptor_.close(ignored);
      pause_.cancel();
      for (HttpSession* session : shared_->sessions) session->close();
    });
    thread_.join();  // The io_context runs out of work.
  }

  // Constant after start().
  std::string address_;
  std::uint16_t port_ = 0;

 private:
  Status listen(const tcp::endpoint& endpoint) {
    boost::system::error_code error;
    acceptor_.open(endpoint.protocol(), error);
    if (error) return Status::unavailable("cannot open a socket: " + error.message());
    // Lets a restarted process have the port at once; it does not let two listen on it.
    acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (!error) port_ = acceptor_.local_endpoint(error).port();
    if (error) {
      return Status::invalid_argument("cannot listen on " +
                                      quoted(endpoint.address().to_string(), endpoint.port()) +
                                      ": " + error.message());
    }
    address_ = endpoint.address().to_string();
    return {};
  }

  void accept() {
    acceptor_.async_accept([this](boost::system::error_code error, tcp::socket socket) {
      if (!acceptor_.is_open()) return;
      if (error) return pause();
      accept();  // First, so that no trouble with this connection keeps others out.
      // Beyond the limit the socket just goes out of scope, which closes it; unless one that asks
      // for nothing makes room.
      if (shared_->sessions.size() >= shared_->options.connections_max && !close_longest_idle())
        return;
      socket.set_option(tcp::no_delay(true), error);  // A failure costs time, nothing else.
      std::make_shared<HttpSession>(shared_, std::move(socket))->start();
    });
  }

  // Closes the connection that has waited longest for a request; false if all are at work.
  bool close_longest_idle() {
    HttpSession* longest = nullptr;
    for (HttpSession* session : shared_->sessions) {
      const auto since = session->idle_since();
      if (since && (longest == nullptr || *since < *longest->idle_since())) longest = session;
    }
    if (longest == nullptr) return false;
    longest->close();
    return true;
  }

  void pause() {
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([this](boost::system::error_code error) {
      if (!error && acceptor_.is_open()) accept();
    });
  }

  void run() {
    pthread_setname_np(pthread_self(), "millrace-http");
    while (true) {
      try {
        shared_->io.run();
        return;
      } catch (const std::exception& error) {
        // Out of memory, in practice: the connection at fault is gone, the others go on.
        shared_->report(std::string{"the HTTP server lost a connection: "} + error.what());
      }
    }
  }

  const std::shared_ptr<HttpShared> shared_ = std::make_shared<HttpShared>();
  tcp::acceptor acceptor_{shared_->io};
  asio::steady_timer pause_{shared_->io};
  std::mutex stop_mutex_;
  std::thread thread_;  // Protected by stop_mutex_ after start().
};

HttpServer::HttpServer(std::unique_ptr<Listener> listener) : listener_(std::move(listener)) {}

HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpOptions options, HttpHandler handler) {
  auto listener = std::make_unique<Listener>(std::move(options), std::move(handler));
  if (Status status = listener->start(); !status.ok()) return status;
  return std::unique_ptr<HttpServer>{new HttpServer{std::move(listener)}};
}

std::uint16_t HttpServer::port() const { return listener_->port_; }

const std::string& HttpServer::address() const { return listener_->address_; }

void HttpServer::stop() { listener_->stop(); }

}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
//
// The proxy against a server that frames as Kafka does and answers each request with its own bytes:
// what a test injects is what happens, and nothing else.
#include "tests/faults/proxy.h"

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstdio>
#include <list>
#include <mutex>
#include <thread>

#include "tests/support/process.h"

namespace millrace::testing {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::string bytes_of(std::uint32_t value, int size) {
  std::string bytes;
  for (int i = size - 1; i >= 0; --i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

std::uint32_t number_of(const std::string& bytes) {
  std::uint32_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

/// One side of a connection. A read waits for 20 s at most.
class Line {
 public:
  explicit Line(tcp::socket socket) : socket_(std::move(socket)) {
    const timeval patience{20, 0};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }

  void write(const std::string& frame) {
    asio::write(socket_, asio::buffer(bytes_of(static_cast<std::uint32_t>(frame.size()), 4)));
    asio::write(socket_, asio::buffer(frame));
  }
  // nullopt: the connection has ended, in whatever way.
  std::optional<std::string> read() {
    const auto size = raw(4);
    if (size.size() < 4) return std::nullopt;
    auto frame = raw(number_of(size));
    if (frame.size() < number_of(size)) return std::nullopt;
    return frame;
  }
  // What comes until so many are there or the connection ends.
  std::string raw(std::size_t size) {
    std::string bytes(size, '\0');
    boost::system::error_code ignored;
    bytes.resize(asio::read(socket_, asio::buffer(bytes), ignored));
    return bytes;
  }
  void end() {
    boost::system::error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_both, ignored);
  }

 private:
  tcp::socket socket_;
};

/// Answers each request with its correlation id and its body, and remembers it.
class FramingServer {
 public:
  FramingServer() {
    thread_ = std::thread{[this] { accept(); }};
  }
  ~FramingServer() {
    stopping_ = true;
    boost::system::error_code ignored;
    tcp::socket{io_}.connect(acceptor_.local_endpoint(), ignored);  // Wakes accept().
    thread_.join();
    for (auto& line : lines_) line.end();
    for (auto& server : servers_) server.join();
  }
  std::uint16_t port() { return acceptor_.local_endpoint().port(); }
  /// Correlation ids in the order in which they came.
  std::vector<std::uint32_t> seen() {
    const std::lock_guard lock{mutex_};
    return seen_;
  }

 private:
  void accept() {
    for (;;) {
      auto socket = acceptor_.accept();
      if (stopping_) return;
      auto& line = lines_.emplace_back(std::move(socket));
      servers_.emplace_back([this, &line] { serve(line); });
    }
  }
  void serve(Line& line) {
    while (const auto frame = line.read()) {
      {
        const std::lock_guard lock{mutex_};
        seen_.push_back(number_of(frame->substr(4, 4)));
      }
      try {
        line.write(frame->substr(4));
      } catch (const boost::system::system_error&) {
        return;  // A client that is gone.
      }
    }
  }

  asio::io_context io_;
  tcp::acceptor acceptor_{io_, {asio::ip::address_v4::loopback(), 0}};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::vector<std::uint32_t> seen_;
  std::list<Line> lines_;
  std::list<std::thread> servers_;
  std::thread thread_;
};

struct Fixture {
  Fixture() { proxy.forward_to(server.port()); }

  Line connect() {
    tcp::socket socket{io};
    socket.connect({asio::ip::address_v4::loopback(), proxy.port()});
    return Line{std::move(socket)};
  }
  static std::string request(Api api, std::uint32_t correlation, const std::string& body = "body") {
    return bytes_of(static_cast<std::uint32_t>(api), 2) + bytes_of(0, 2) +
           bytes_of(correlation, 4) + body;
  }
  static std::string response(std::uint32_t correlation, const std::string& body = "body") {
    return bytes_of(correlation, 4) + body;
  }
  using Seen = std::vector<std::uint32_t>;
  bool server_sees(const Seen& expected) {
    return wait_until([&] { return server.seen() == expected; }, seconds{20});
  }

  asio::io_context io;
  FramingServer server;
  std::vector<std::string> log;  // Read after the proxy has answered a call: its thread is idle.
  FaultProxy proxy{7, [this](const std::string& line) { log.push_back(line); }};
};

BOOST_FIXTURE_TEST_SUITE(proxy, Fixture)

BOOST_AUTO_TEST_CASE(frames_pass_unchanged_and_are_counted_by_api) {
  auto line = connect();
  const std::string large(3'000'000, 'x');
  line.write(request(Api::kProduce, 1, large));
  line.write(request(Api::kFetch, 2, ""));
  BOOST_TEST((line.read() == response(1, large)));
  BOOST_TEST((line.read() == response(2, "")));
  BOOST_TEST(proxy.requests(Api::kProduce) == 1);
  BOOST_TEST(proxy.requests(Api::kFetch) == 1);
  BOOST_TEST(proxy.injected() == 0);
}

BOOST_AUTO_TEST_CASE(a_dropped_request_never_reaches_the_broker) {
  proxy.add({Api::kHeartbeat, Harm::kDropRequest, 1, 1, 1});
  auto line = connect();
  for (const std::uint32_t i : {1, 2, 3, 4}) line.write(request(Api::kHeartbeat, i));
  for (const std::uint32_t i : {1, 3, 4}) BOOST_TEST((line.read() == response(i)));
  BOOST_TEST((server.seen() == Seen{1, 3, 4}));
  BOOST_TEST(proxy.injected() == 1);
  BOOST_TEST(log.at(0) == "fault 1: Heartbeat: request dropped");
}

BOOST_AUTO_TEST_CASE(a_rule_that_names_bytes_strikes_only_requests_with_them) {
  proxy.add({.api = Api::kProduce, .harm = Harm::kDropRequest, .mentions = "-changelog"});
  auto line = connect();
  line.write(request(Api::kProduce, 1, "app-out"));
  line.write(request(Api::kProduce, 2, "app-counts-changelog"));
  line.write(request(Api::kProduce, 3, ""));
  BOOST_TEST((line.read() == response(1, "app-out")));
  BOOST_TEST((line.read() == response(3, "")));
  BOOST_TEST((server.seen() == Seen{1, 3}));
  BOOST_TEST(proxy.injected() == 1);
}

BOOST_AUTO_TEST_CASE(a_dropped_response_belongs_to_a_request_that_was_served) {
  proxy.add({Api::kEndTxn, Harm::kDropResponse});
  auto line = connect();
  line.write(request(Api::kEndTxn, 1));
  line.write(request(Api::kMetadata, 2));
  BOOST_TEST((line.read() == response(2)));
  BOOST_TEST((server.seen() == Seen{1, 2}));
}

BOOST_AUTO_TEST_CASE(a_duplicate_is_served_twice_and_answered_once) {
  proxy.add({Api::kOffsetCommit, Harm::kDuplicate, 1, 0, 1});
  auto line = connect();
  for (const std::uint32_t i : {1, 2}) line.write(request(Api::kOffsetCommit, i));
  for (const std::uint32_t i : {1, 2}) BOOST_TEST((line.read() == response(i)));
  BOOST_TEST((server.seen() == Seen{1, 1, 2}));
}

BOOST_AUTO_TEST_CASE(delays_hold_back_what_they_say_and_keep_the_order) {
  for (const auto harm : {Harm::kDelayRequest, Harm::kDelayResponse})
    proxy.add({Api::kFetch, harm, 1, 0, 1, milliseconds{100}});
  auto line = connect();
  const auto began = std::chrono::steady_clock::now();
  for (const std::uint32_t i : {1, 2}) line.write(request(Api::kFetch, i));
  line.write(request(Api::kProduce, 3));
  for (const std::uint32_t i : {1, 2, 3}) BOOST_TEST((line.read() == response(i)));
  BOOST_TEST((std::chrono::steady_clock::now() - began >= milliseconds{200}));
}

BOOST_AUTO_TEST_CASE(a_cut_before_after_or_in_the_middle_of_a_response_ends_the_connection) {
  proxy.add({Api::kJoinGroup, Harm::kCutBefore});
  proxy.add({Api::kSyncGroup, Harm::kCutAfter});
  proxy.add({Api::kLeaveGroup, Harm::kCutInMidResponse});
  auto before = connect();
  before.write(request(Api::kJoinGroup, 1));
  BOOST_TEST(!before.read().has_value());
  auto after = connect();
  after.write(request(Api::kSyncGroup, 2));
  BOOST_TEST(!after.read().has_value());
  auto within = connect();
  within.write(request(Api::kLeaveGroup, 3, "12345678"));
  BOOST_TEST(within.raw(16).size() == 8);  // Of 4 + 4 + 8 bytes.
  BOOST_TEST((server.seen() == Seen{2, 3}));
}

BOOST_AUTO_TEST_CASE(a_moved_coordinator_is_said_of_each_partition_and_of_nothing_else) {
  proxy.add({Api::kOffsetCommit, Harm::kMoved});
  const auto answer = [](std::uint32_t error) {
    std::string body = bytes_of(0, 4) + bytes_of(2, 4);  // Throttle time; topics.
    for (const std::string name : {"in", "other"}) {
      body += bytes_of(static_cast<std::uint32_t>(name.size()), 2) + name + bytes_of(2, 4);
      for (const std::uint32_t partition : {0, 7})
        body += bytes_of(partition, 4) + bytes_of(error, 2);
    }
    return body;
  };
  auto line = connect();
  line.write(request(Api::kOffsetCommit, 1, answer(0)));
  BOOST_TEST((line.read() == response(1, answer(16))));
  line.write(request(Api::kHeartbeat, 2, answer(0)));
  BOOST_TEST((line.read() == response(2, answer(0))));
}

BOOST_AUTO_TEST_CASE(a_member_is_said_to_be_unknown_where_its_heartbeat_is_answered) {
  proxy.add({.api = Api::kHeartbeat, .harm = Harm::kUnknown, .mentions = "worker-1"});
  const auto answer = [](std::uint32_t error) { return bytes_of(0, 4) + bytes_of(error, 2); };
  auto line = connect();
  // The server answers with what it is sent, of which the name is no part here.
  line.write(request(Api::kHeartbeat, 1, answer(0) + "worker-1"));
  BOOST_TEST((line.read() == response(1, answer(25) + "worker-1")));
  line.write(request(Api::kHeartbeat, 2, answer(0) + "worker-2"));
  BOOST_TEST((line.read() == response(2, answer(0) + "worker-2")));
}

// The hole that Jepsen found in transactions: an EndTxn that arrives after the next begin.
BOOST_AUTO_TEST_CASE(an_overtaken_request_arrives_after_what_the_client_did_meanwhile) {
  proxy.add({Api::kEndTxn, Harm::kOvertaken, 1, 0, 1, milliseconds{300}});
  auto line = connect();
  line.write(request(Api::kEndTxn, 1));
  BOOST_TEST(!line.read().has_value());
  auto next = connect();
  next.write(request(Api::kEndTxn, 2));
  BOOST_TEST((next.read() == response(2)));
  BOOST_TEST(server_sees({2, 1}));
}

BOOST_AUTO_TEST_CASE(a_black_hole_takes_all_and_gives_it_back_when_it_ends) {
  auto line = connect();
  line.write(request(Api::kMetadata, 1));
  BOOST_TEST((line.read() == response(1)));
  proxy.black_hole(true);
  line.write(request(Api::kMetadata, 2));
  auto other = connect();
  other.write(request(Api::kMetadata, 3));
  BOOST_TEST(wait_until([&] { return proxy.requests(Api::kMetadata) == 3; }, seconds{20}));
  BOOST_TEST((server.seen() == Seen{1}));
  proxy.heal();
  BOOST_TEST((line.read() == response(2)));
  BOOST_TEST((other.read() == response(3)));
}

BOOST_AUTO_TEST_CASE(refused_connections_are_accepted_again_on_the_same_port) {
  auto open = connect();
  open.write(request(Api::kMetadata, 1));
  BOOST_TEST((open.read() == response(1)));  // Now the proxy has it, not only the kernel.
  proxy.refuse(true);
  BOOST_CHECK_THROW(connect(), boost::system::system_error);
  open.write(request(Api::kMetadata, 2));
  BOOST_TEST((open.read() == response(2)));
  proxy.refuse(false);
  auto line = connect();
  line.write(request(Api::kMetadata, 3));
  BOOST_TEST((line.read() == response(3)));
  proxy.cut_all();
  BOOST_TEST(!line.read().has_value());
  BOOST_TEST(!open.read().has_value());
}

// A worker is started while the proxy runs.
BOOST_AUTO_TEST_CASE(a_process_started_meanwhile_holds_nothing_open) {
  auto line = connect();
  line.write(request(Api::kMetadata, 1));
  BOOST_TEST((line.read() == response(1)));
  // As a broker is started.
  FILE* const shell = ::popen("echo $$; exec sleep 60", "r");
  BOOST_TEST_REQUIRE(shell != nullptr);
  int pid = 0;
  BOOST_TEST(std::fscanf(shell, "%d", &pid) == 1);
  proxy.refuse(true);
  BOOST_CHECK_THROW(connect(), boost::system::system_error);
  proxy.refuse(false);
  proxy.cut_all();
  BOOST_TEST(!line.read().has_value());
  if (pid > 0) ::kill(pid, SIGKILL);
  ::pclose(shell);
}

BOOST_AUTO_TEST_CASE(slow_lines_are_as_slow_as_they_are_told_to_be) {
  proxy.shape({milliseconds{50}, milliseconds{50}, 100'000});
  auto line = connect();
  const auto began = std::chrono::steady_clock::now();
  const std::string body(20'000, 'x');
  line.write(request(Api::kProduce, 1, body));
  BOOST_TEST((line.read() == response(1, body)));
  BOOST_TEST((std::chrono::steady_clock::now() - began >= milliseconds{400}));
}

BOOST_AUTO_TEST_CASE(the_seed_decides_which_requests_are_struck) {
  const auto struck = [&](std::uint64_t seed) {
    FaultProxy seeded{seed};
    seeded.forward_to(server.port());
    seeded.add({Api::kProduce, Harm::kDropResponse, 0.5});
    tcp::socket socket{io};
    socket.connect({asio::ip::address_v4::loopback(), seeded.port()});
    Line line{std::move(socket)};
    constexpr std::uint32_t kRequests = 64;
    for (std::uint32_t i = 1; i <= kRequests; ++i) line.write(request(Api::kProduce, i));
    line.write(request(Api::kMetadata, kRequests + 1));
    Seen passed;
    do passed.push_back(number_of(line.read().value().substr(0, 4)));
    while (passed.back() != kRequests + 1);
    return passed;
  };
  const auto first = struck(1);
  BOOST_TEST((struck(1) == first));
  BOOST_TEST((struck(2) != first));
  BOOST_TEST(first.size() > 16);
  BOOST_TEST(first.size() < 48);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing

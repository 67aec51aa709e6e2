// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/proxy.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <deque>
#include <fstream>
#include <future>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>

namespace millrace::testing {
namespace {

namespace asio = boost::asio;
using asio::use_awaitable;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using Ms = std::chrono::milliseconds;

constexpr std::size_t kFrameMax = 200U << 20U;  // Larger than any that Kafka's defaults allow.
constexpr std::size_t kSizeBytes = 4;
constexpr std::size_t kRequestHead = 8;  // Api, version and correlation id.
constexpr Ms kSlice{50};                 // A limited line passes its bytes in steps of this.
constexpr std::size_t kApis = 128;

std::uint32_t big_endian_32(const char* bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// In an answer: behind the correlation id and the throttle time.
constexpr std::size_t kErrorAt = kSizeBytes + 4 + 4;
constexpr char kUnknownMemberId = 25;

// In an answer to OffsetCommit of version 3 to 7, NOT_COORDINATOR for each partition.
void say_moved(std::string& frame) {
  constexpr char kNotCoordinator = 16;
  std::size_t at = kErrorAt;
  const auto count = [&] {
    at += 4;
    return big_endian_32(&frame.at(at - 4));
  };
  for (auto topics = count(); topics > 0; --topics) {
    at += 2U + (big_endian_32(&frame.at(at)) >> 16U);  // The name behind its length.
    for (auto partitions = count(); partitions > 0; --partitions) {
      frame.at(at + 5) = kNotCoordinator;  // Two bytes behind the partition's four.
      at += 6;
    }
  }
}

// A process that is started meanwhile must not hold a socket open that is closed here.
template <class Socket>
void keep_to_ourselves(Socket& socket) {
  ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
}

tcp::endpoint loopback(std::uint16_t port) { return {asio::ip::address_v4::loopback(), port}; }

asio::awaitable<bool> read_frame(tcp::socket& socket, std::string& frame) {
  error_code error;
  frame.resize(kSizeBytes);
  co_await asio::async_read(socket, asio::buffer(frame),
                            asio::redirect_error(use_awaitable, error));
  if (error) co_return false;
  const std::size_t size = big_endian_32(frame.data());
  if (size > kFrameMax) co_return false;
  frame.resize(kSizeBytes + size);
  co_await asio::async_read(socket, asio::buffer(frame.data() + kSizeBytes, size),
                            asio::redirect_error(use_awaitable, error));
  co_return !error;
}

}  // namespace

std::string to_string(Api api) {
  switch (api) {
    case Api::kProduce:
      return "Produce";
    case Api::kFetch:
      return "Fetch";
    case Api::kListOffsets:
      return "ListOffsets";
    case Api::kMetadata:
      return "Metadata";
    case Api::kOffsetCommit:
      return "OffsetCommit";
    case Api::kOffsetFetch:
      return "OffsetFetch";
    case Api::kFindCoordinator:
      return "FindCoordinator";
    case Api::kJoinGroup:
      return "JoinGroup";
    case Api::kHeartbeat:
      return "Heartbeat";
    case Api::kLeaveGroup:
      return "LeaveGroup";
    case Api::kSyncGroup:
      return "SyncGroup";
    case Api::kApiVersions:
      return "ApiVersions";
    case Api::kInitProducerId:
      return "InitProducerId";
    case Api::kAddPartitionsToTxn:
      return "AddPartitionsToTxn";
    case Api::kAddOffsetsToTxn:
      return "AddOffsetsToTxn";
    case Api::kEndTxn:
      return "EndTxn";
    case Api::kTxnOffsetCommit:
      return "TxnOffsetCommit";
  }
  return "api " + std::to_string(static_cast<int>(api));
}

std::string to_string(Harm harm) {
  switch (harm) {
    case Harm::kDropRequest:
      return "request dropped";
    case Harm::kDropResponse:
      return "response dropped";
    case Harm::kDelayRequest:
      return "request delayed";
    case Harm::kDelayResponse:
      return "response delayed";
    case Harm::kDuplicate:
      return "request duplicated";
    case Harm::kCutBefore:
      return "connection cut before the request";
    case Harm::kCutAfter:
      return "connection cut after the request";
    case Harm::kCutInMidResponse:
      return "connection cut in mid response";
    case Harm::kOvertaken:
      return "request overtaken";
    case Harm::kMoved:
      return "response says that the coordinator has moved";
    case Harm::kUnknown:
      return "response says that the member is unknown";
  }
  return "?";
}

std::uint16_t free_port() {
  // Below the range of outgoing ports: otherwise a client that keeps trying to reach a closed
  // listener may be given the listener's own port.
  std::ifstream range{"/proc/sys/net/ipv4/ip_local_port_range"};
  int first = 32'768;
  range >> first;
  std::mt19937 random{std::random_device{}()};
  asio::io_context io;
  for (int tries = 0; tries < 1'000; ++tries) {
    const auto port = static_cast<std::uint16_t>(
        std::uniform_int_distribution{10'000, std::max(first, 11'000) - 1}(random));
    tcp::acceptor acceptor{io, tcp::v4()};
    error_code error;
    acceptor.set_option(tcp::acceptor::reuse_address{true});
    acceptor.bind(loopback(port), error);
    if (!error) return port;
  }
  throw std::runtime_error("no free port found");
}

struct FaultProxy::State {
  struct ActiveRule {
    Rule rule;
    int seen = 0;
    int done = 0;
  };

  explicit State(std::uint64_t seed) : random(seed) {}

  void note(const std::string& what) {
    const auto number = injected + 1;
    if (log) log("fault " + std::to_string(number) + ": " + what);
    injected = number;  // Behind the line: who has seen the number may read it.
  }

  void listen() {
    acceptor.open(tcp::v4());
    keep_to_ourselves(acceptor);
    acceptor.set_option(tcp::acceptor::reuse_address{true});
    acceptor.bind(loopback(port));
    acceptor.listen();
  }

  // The rule that strikes this request, if one does.
  std::optional<Rule> decide(Api api, const std::string& frame) {
    for (auto& active : rules) {
      const Rule& rule = active.rule;
      if (rule.api ? *rule.api != api : api == Api::kApiVersions) continue;
      if (frame.find(rule.mentions) == std::string::npos) continue;
      if (++active.seen <= rule.after || active.done >= rule.times) continue;
      if (rule.probability < 1 &&
          std::uniform_real_distribution<double>{}(random) >= rule.probability) {
        continue;
      }
      ++active.done;
      note(to_string(api) + ": " + to_string(rule.harm) +
           (rule.delay.count() > 0 ? " by " + std::to_string(rule.delay.count()) + " ms" : ""));
      return rule;
    }
    return std::nullopt;
  }

  Ms latency() {
    if (line.jitter.count() == 0) return line.latency;
    return line.latency +
           Ms{std::uniform_int_distribution<std::int64_t>{0, line.jitter.count()}(random)};
  }

  // Runs `action` in the proxy's thread and waits until it has.
  void run(const std::function<void()>& action) {
    std::promise<void> done;
    asio::post(io, [&] {
      action();
      done.set_value();
    });
    done.get_future().wait();
  }

  asio::awaitable<void> accept();
  asio::awaitable<void> deliver_late(std::string frame, Ms delay);

  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(io);
  tcp::acceptor acceptor{io};
  std::uint16_t port = 0;
  std::uint16_t upstream = 0;
  Log log;
  std::mt19937_64 random;
  std::vector<ActiveRule> rules;
  Shape line;
  bool holding = false;
  std::set<std::shared_ptr<Connection>> connections;
  std::atomic<std::uint64_t> injected{0};
  std::array<std::atomic<std::uint64_t>, kApis> requests{};
  std::thread thread;
};

/// A client's connection with its counterpart to the broker: two readers that decide, two writers
/// that are slow where they are told to.
class FaultProxy::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(State& state, tcp::socket client)
      : state_(state),
        client_(std::move(client)),
        server_(state.io),
        up_(state.io),
        down_(state.io) {}

  void start() {
    spawn([](std::shared_ptr<Connection> self) -> asio::awaitable<void> {
      co_await self->connect();
    });
  }

  void reset() {
    error_code ignored;
    // No FIN: the other side learns at once, and loses what was on its way.
    client_.set_option(asio::socket_base::linger{true, 0}, ignored);
    close();
  }

  // The state has changed: whoever waits looks again.
  void wake() {
    up_.changed.cancel();
    down_.changed.cancel();
  }

 private:
  struct Chunk {
    std::string bytes;
    Clock::time_point due;
    bool cut_behind = false;
  };
  struct Pipe {
    explicit Pipe(asio::io_context& io) : changed(io) {}
    std::deque<Chunk> chunks;
    Clock::time_point last_due{};
    bool finished = false;
    asio::steady_timer changed;
  };

  // The coroutine keeps this alive: it holds the pointer among its parameters.
  template <class F>
  void spawn(F f) {
    asio::co_spawn(state_.io, f(shared_from_this()), asio::detached);
  }

  void close() {
    if (closed_) return;
    closed_ = true;
    error_code ignored;
    client_.close(ignored);
    server_.close(ignored);
    wake();
    state_.connections.erase(shared_from_this());
  }

  asio::awaitable<void> connect() {
    error_code error;
    server_.open(tcp::v4());
    keep_to_ourselves(server_);
    co_await server_.async_connect(loopback(state_.upstream),
                                   asio::redirect_error(use_awaitable, error));
    if (error || closed_) {
      reset();
      co_return;
    }
    client_.set_option(tcp::no_delay{true}, error);
    server_.set_option(tcp::no_delay{true}, error);
    spawn([](std::shared_ptr<Connection> self) -> asio::awaitable<void> {
      co_await self->read_client();
    });
    spawn([](std::shared_ptr<Connection> self) -> asio::awaitable<void> {
      co_await self->read_server();
    });
    spawn([](std::shared_ptr<Connection> self) -> asio::awaitable<void> {
      co_await self->write(self->up_, self->server_);
    });
    spawn([](std::shared_ptr<Connection> self) -> asio::awaitable<void> {
      co_await self->write(self->down_, self->client_);
    });
  }

  void push(Pipe& pipe, std::string bytes, Ms delay, bool cut_behind = false) {
    pipe.last_due = std::max(pipe.last_due, Clock::now() + state_.latency() + delay);
    pipe.chunks.push_back({std::move(bytes), pipe.last_due, cut_behind});
    pipe.changed.cancel();
  }

  void finish(Pipe& pipe) {
    pipe.finished = true;
    pipe.changed.cancel();
  }

  asio::awaitable<void> read_client() {
    std::string frame;
    while (co_await read_frame(client_, frame)) on_request(frame);
    finish(up_);
  }

  void on_request(std::string& frame) {
    if (frame.size() < kSizeBytes + kRequestHead) return reset();
    const auto api = static_cast<Api>(big_endian_32(frame.data() + kSizeBytes) >> 16U);
    const auto correlation = big_endian_32(frame.data() + kSizeBytes + 4);
    if (const auto place = static_cast<std::size_t>(api); place < kApis) ++state_.requests[place];
    const auto rule = state_.decide(api, frame);
    if (!rule) return push(up_, std::move(frame), Ms{0});
    switch (rule->harm) {
      case Harm::kDropRequest:
        return;
      case Harm::kCutBefore:
        return reset();
      case Harm::kOvertaken:
        asio::co_spawn(state_.io, state_.deliver_late(std::move(frame), rule->delay),
                       asio::detached);
        return reset();
      case Harm::kDelayRequest:
        return push(up_, std::move(frame), rule->delay);
      case Harm::kDuplicate:
        push(up_, frame, Ms{0});
        fates_[correlation].push_back({});
        break;
      case Harm::kDropResponse:
      case Harm::kDelayResponse:
      case Harm::kCutAfter:
      case Harm::kCutInMidResponse:
      case Harm::kMoved:
      case Harm::kUnknown:
        break;
    }
    fates_[correlation].push_back(rule);
    push(up_, std::move(frame), Ms{0});
  }

  asio::awaitable<void> read_server() {
    std::string frame;
    while (co_await read_frame(server_, frame)) on_response(frame);
    finish(down_);
  }

  void on_response(std::string& frame) {
    if (frame.size() < kSizeBytes + 4) return reset();
    const auto fate = fates_.find(big_endian_32(frame.data() + kSizeBytes));
    std::optional<Rule> rule;
    if (fate != fates_.end()) {
      rule = fate->second.front();
      fate->second.pop_front();
      if (fate->second.empty()) fates_.erase(fate);
    }
    if (!rule) return push(down_, std::move(frame), Ms{0});
    switch (rule->harm) {
      case Harm::kDropResponse:
      case Harm::kDuplicate:
        return;
      case Harm::kCutAfter:
        return reset();
      case Harm::kCutInMidResponse:
        frame.resize((frame.size() + 1) / 2);
        return push(down_, std::move(frame), Ms{0}, true);
      case Harm::kMoved:
        say_moved(frame);
        return push(down_, std::move(frame), Ms{0});
      case Harm::kUnknown:
        frame.at(kErrorAt + 1) = kUnknownMemberId;
        return push(down_, std::move(frame), Ms{0});
      default:
        return push(down_, std::move(frame), rule->delay);
    }
  }

  asio::awaitable<void> write(Pipe& pipe, tcp::socket& socket) {
    error_code error;
    while (!closed_ && !error) {
      if (pipe.chunks.empty() && pipe.finished && !state_.holding) break;
      const bool due = !pipe.chunks.empty() && !state_.holding;
      if (!due || pipe.chunks.front().due > Clock::now()) {
        pipe.changed.expires_at(due ? pipe.chunks.front().due : Clock::time_point::max());
        error_code woken;
        co_await pipe.changed.async_wait(asio::redirect_error(use_awaitable, woken));
        continue;
      }
      Chunk& chunk = pipe.chunks.front();
      const auto rate = state_.line.bytes_per_second;
      const auto slice =
          rate == 0
              ? chunk.bytes.size()
              : static_cast<std::size_t>(std::max<std::int64_t>(1, rate * kSlice.count() / 1'000));
      const std::string part = chunk.bytes.substr(0, slice);
      chunk.bytes.erase(0, slice);
      if (rate != 0) chunk.due = pipe.last_due = Clock::now() + kSlice;
      const bool whole = chunk.bytes.empty();
      const bool cut = whole && chunk.cut_behind;
      if (whole) pipe.chunks.pop_front();
      co_await asio::async_write(socket, asio::buffer(part),
                                 asio::redirect_error(use_awaitable, error));
      if (cut) reset();
    }
    // One direction at its end is passed on as such; after both, and after an error, all is over.
    socket.shutdown(tcp::socket::shutdown_send, error);
    if (error || ++ended_ == 2) close();
  }

  State& state_;
  tcp::socket client_;
  tcp::socket server_;
  Pipe up_;
  Pipe down_;
  std::map<std::uint32_t, std::deque<std::optional<Rule>>> fates_;  // By correlation id.
  int ended_ = 0;
  bool closed_ = false;
};

asio::awaitable<void> FaultProxy::State::accept() {
  while (acceptor.is_open()) {
    error_code error;
    tcp::socket socket{io};
    co_await acceptor.async_accept(socket, asio::redirect_error(use_awaitable, error));
    if (error) continue;
    keep_to_ourselves(socket);
    const auto connection = std::make_shared<Connection>(*this, std::move(socket));
    connections.insert(connection);
    connection->start();
  }
}

asio::awaitable<void> FaultProxy::State::deliver_late(std::string frame, Ms delay) {
  asio::steady_timer timer{io, delay};
  co_await timer.async_wait(use_awaitable);
  tcp::socket socket{io};
  error_code error;
  co_await socket.async_connect(loopback(upstream), asio::redirect_error(use_awaitable, error));
  if (error) co_return;
  co_await asio::async_write(socket, asio::buffer(frame),
                             asio::redirect_error(use_awaitable, error));
  if (!error) co_await read_frame(socket, frame);
}

FaultProxy::FaultProxy(std::uint64_t seed, Log log) : state_(std::make_unique<State>(seed)) {
  state_->log = std::move(log);
  state_->port = free_port();
  state_->listen();
  asio::co_spawn(state_->io, state_->accept(), asio::detached);
  state_->thread = std::thread{[this] { state_->io.run(); }};
}

FaultProxy::~FaultProxy() {
  cut_all();
  state_->io.stop();
  state_->thread.join();
}

std::uint16_t FaultProxy::port() const { return state_->port; }

void FaultProxy::forward_to(std::uint16_t port) {
  state_->run([&] { state_->upstream = port; });
}

void FaultProxy::add(const Rule& rule) {
  state_->run([&] { state_->rules.push_back({rule, 0, 0}); });
}

void FaultProxy::heal() {
  state_->run([&] {
    state_->rules.clear();
    state_->line = {};
  });
  black_hole(false);
  refuse(false);
}

void FaultProxy::shape(const Shape& shape) {
  state_->run([&] {
    state_->line = shape;
    state_->note("lines of " + std::to_string(shape.latency.count()) + " ms + up to " +
                 std::to_string(shape.jitter.count()) + " ms, " +
                 std::to_string(shape.bytes_per_second) + " bytes/s");
  });
}

void FaultProxy::black_hole(bool on) {
  state_->run([&] {
    if (state_->holding == on) return;
    state_->holding = on;
    if (on) state_->note("black hole");
    for (const auto& connection : state_->connections) connection->wake();
  });
}

void FaultProxy::refuse(bool on) {
  state_->run([&] {
    if (state_->acceptor.is_open() != on) return;
    if (on) {
      state_->note("connections refused");
      state_->acceptor.close();
    } else {
      state_->listen();
      asio::co_spawn(state_->io, state_->accept(), asio::detached);
    }
  });
}

void FaultProxy::cut_all() {
  state_->run([&] {
    if (state_->connections.empty()) return;
    state_->note("all connections cut");
    for (const auto& connection : std::set{state_->connections}) connection->reset();
  });
}

std::uint64_t FaultProxy::injected() const { return state_->injected; }

std::uint64_t FaultProxy::requests(Api api) const {
  return state_->requests.at(static_cast<std::size_t>(api));
}

}  // namespace millrace::testing

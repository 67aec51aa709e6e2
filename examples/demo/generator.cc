// SPDX-License-Identifier: Apache-2.0
#include "generator.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <utility>

namespace demo {
namespace {

using Steady = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTick{10};
constexpr double kBurstSeconds = 0.1;  // What a late thread may catch up on at once.
constexpr int kPollMs = 10;
constexpr int kFlushMs = 30'000;

std::string account_name(std::uint32_t number) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "account-%04u", static_cast<unsigned>(number));
  return text.data();
}

}  // namespace

Generator::Generator(Options options)
    : options_(std::move(options)),
      client_(make_producer({{"bootstrap.servers", options_.bootstrap_servers},
                             {"client.id", "demo-generator"},
                             {"enable.idempotence", "true"},      // In order and once, or an error.
                             {"partitioner", "murmur2_random"}},  // As Java's producers do.
                            &Generator::on_delivery, this)) {}

void Generator::on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* self) {
  auto& generator = *static_cast<Generator*>(self);
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    ++generator.acknowledged_;
  } else if (generator.error_.empty()) {
    generator.error_ = rd_kafka_err2str(message->err);
  }
}

void Generator::start() {
  thread_ = std::jthread{[this](const std::stop_token& stop) { run(stop); }};
}

void Generator::run(const std::stop_token& stop) {
  auto last = Steady::now();
  double owed = 0;
  std::unique_lock lock{mutex_};
  while (!stop.stop_requested()) {
    const auto now = Steady::now();
    owed += options_.records_per_second * std::chrono::duration<double>(now - last).count();
    owed = std::min(owed, options_.records_per_second * kBurstSeconds + 1);
    last = now;
    while (owed >= 1 && written() - committed_.load(std::memory_order_relaxed) < kUncommittedMax &&
           write_one()) {
      owed -= 1;
    }
    rd_kafka_poll(client_.get(), 0);
    wake_.wait_for(lock, stop, kTick, [] { return false; });
  }
}

// False if there is no room for it now.
bool Generator::write_one() {
  // Nine of ten payments are small and come in, one is large and goes out: balances grow slowly and
  // fall below 0 now and then.
  constexpr std::int64_t kInMax = 100;
  constexpr std::int64_t kOutMax = 800;
  const bool comes_in = random_() % 10 != 0;
  const auto size = static_cast<std::int64_t>(random_() % (comes_in ? kInMax : kOutMax)) + 1;
  const Payment payment{comes_in ? size : -size};
  const std::string key = account_name(static_cast<std::uint32_t>(random_() % options_.accounts));
  value_.clear();
  millrace::Serde<Payment>::encode(payment, value_);
  const auto error = rd_kafka_producev(client_.get(), RD_KAFKA_V_TOPIC(options_.topic.c_str()),
                                       RD_KAFKA_V_KEY(key.data(), key.size()),
                                       RD_KAFKA_V_VALUE(value_.data(), value_.size()),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
  if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
    rd_kafka_poll(client_.get(), kPollMs);
    return false;
  }
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    if (error_.empty()) error_ = rd_kafka_err2str(error);
    return false;
  }
  Account& account = books_[key];
  account.balance += payment.amount;
  ++account.payments;
  written_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void Generator::stop() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  rd_kafka_flush(client_.get(), kFlushMs);
  if (error_.empty() && acknowledged_ != written()) error_ = "no answer from the broker";
  if (!error_.empty()) {
    throw std::runtime_error("only " + std::to_string(acknowledged_) + " of " +
                             std::to_string(written()) + " payments reached the topic: " + error_);
  }
}

}  // namespace demo

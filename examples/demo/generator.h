// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>
#include <thread>

#include "bank.h"
#include "kafka_client.h"

namespace demo {

/// Writes random payments at a steady rate and keeps its own books, for the check at the end.
class Generator {
 public:
  struct Options {
    std::string bootstrap_servers;
    std::string topic;
    double records_per_second = 0;
    std::uint32_t accounts = 0;
  };

  /// Payments that may be written and not yet committed by the reader: beyond it the generator
  /// waits. The embedded broker keeps 5 MiB of each partition; this many payments are less.
  static constexpr std::int64_t kUncommittedMax = 50'000;

  /// Throws std::runtime_error.
  explicit Generator(Options options);

  void start();
  /// Ends writing and waits until the broker has acknowledged everything. Throws
  /// std::runtime_error if it did not.
  void stop();

  /// How many payments the application has committed.
  void set_committed(std::int64_t count) { committed_.store(count, std::memory_order_relaxed); }

  /// Payments handed to the producer so far. Any thread.
  [[nodiscard]] std::int64_t written() const { return written_.load(std::memory_order_relaxed); }

  /// What each account must hold. After stop().
  [[nodiscard]] const std::map<std::string, Account>& books() const { return books_; }

 private:
  static void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* self);
  void run(const std::stop_token& stop);
  bool write_one();

  const Options options_;
  std::atomic<std::int64_t> written_{0};
  std::atomic<std::int64_t> committed_{0};
  std::map<std::string, Account> books_;  // Of the generator's thread until stop().
  std::int64_t acknowledged_ = 0;         // Of whoever polls: the thread, then stop().
  std::string error_;
  std::mt19937_64 random_{std::random_device{}()};
  std::string value_;
  Client client_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // Last: it uses the others.
};

}  // namespace demo

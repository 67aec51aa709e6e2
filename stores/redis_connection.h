// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <hiredis/hiredis.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "millrace/engine.h"
#include "millrace/error.h"

namespace millrace {

struct FreeRedisReply {
  void operator()(redisReply* reply) const { ::freeReplyObject(reply); }
};
using RedisReply = std::unique_ptr<redisReply, FreeRedisReply>;

/// The bytes of a string reply; also of an error.
[[nodiscard]] inline std::string_view redis_bytes(const redisReply& reply) {
  return {reply.str, static_cast<std::size_t>(reply.len)};
}

/// A connection that sends commands one after the other and then reads their answers.
///
/// After an `unavailable` it is of no more use. Not thread-safe: one call at a time, from changing
/// threads.
class RedisConnection {
 public:
  /// Connects and logs in, within the options' time-outs. `where` names the server in messages.
  static Result<std::unique_ptr<RedisConnection>> connect(const RedisOptions& options,
                                                          std::string where);

  /// Queues a command; sends what waits when it is much. `arguments` are copied.
  Status send(std::span<const std::string_view> arguments);
  Status send(std::initializer_list<std::string_view> arguments) {
    return send(std::span{arguments.begin(), arguments.size()});
  }

  /// The answer to the next command, errors of the server included.
  Result<RedisReply> receive();

  /// Whether it can take the next command: nothing failed, and every answer was received.
  [[nodiscard]] bool is_usable() const { return !is_lost_ && pending_ == 0; }
  /// Whether it was lost by waiting too long.
  [[nodiscard]] bool has_timed_out() const { return has_timed_out_; }
  /// Commands sent whose answers were not received.
  [[nodiscard]] std::size_t pending() const { return pending_; }

  /// How often it waited for the server: each time that it read after it had written.
  [[nodiscard]] std::uint64_t round_trips() const { return round_trips_; }

 private:
  struct FreeContext {
    void operator()(redisContext* context) const { ::redisFree(context); }
  };

  RedisConnection(redisContext* context, std::string where, const RedisOptions& options)
      : context_(context), where_(std::move(where)), call_timeout_(options.call_timeout) {}

  Status log_in(const RedisOptions& options);
  Status flush();
  Status lost(int error, std::string_view why);

  std::unique_ptr<redisContext, FreeContext> context_;
  const std::string where_;
  const std::chrono::milliseconds call_timeout_;
  std::string output_;
  std::size_t pending_ = 0;
  bool has_sent_ = false;
  bool is_lost_ = false;
  bool has_timed_out_ = false;
  std::uint64_t round_trips_ = 0;
};

}  // namespace millrace

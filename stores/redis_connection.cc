// SPDX-License-Identifier: Apache-2.0
#include "stores/redis_connection.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "stores/redis_status.h"
#include "stores/remote_address.h"

namespace millrace {
namespace {

// What is sent at once: bounds the copy of a checkpoint that is made for the wire.
constexpr std::size_t kOutputBytesMax = std::size_t{1} << 20;

timeval to_timeval(std::chrono::milliseconds duration) {
  constexpr std::int64_t kPerSecond = 1000;
  const std::int64_t millis = duration.count();
  timeval result{};
  result.tv_sec = static_cast<time_t>(millis / kPerSecond);
  result.tv_usec = static_cast<suseconds_t>(millis % kPerSecond * kPerSecond);
  return result;
}

void append_length(std::string& output, char kind, std::size_t length) {
  output += kind;
  output += std::to_string(length);
  output += "\r\n";
}

bool timed_out(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == ETIMEDOUT; }

}  // namespace

Result<std::unique_ptr<RedisConnection>> RedisConnection::connect(const RedisOptions& options,
                                                                  std::string where) {
  const auto address = parse_remote_address(options.address);
  if (!address) return address.error();
  const timeval timeout = to_timeval(options.connect_timeout);
  redisContext* const context =
      (*address).socket_path.empty()
          ? ::redisConnectWithTimeout((*address).host.c_str(), (*address).port, timeout)
          : ::redisConnectUnixWithTimeout((*address).socket_path.c_str(), timeout);
  if (context == nullptr) return Status::unavailable("no memory for a connection to " + where);
  std::unique_ptr<RedisConnection> connection{
      new RedisConnection(context, std::move(where), options)};
  if (context->err != 0) {
    return Status::unavailable("cannot connect to " + connection->where_ + ": " + context->errstr);
  }
  ::fcntl(context->fd, F_SETFD, FD_CLOEXEC);
  if (::redisSetTimeout(context, to_timeval(options.call_timeout)) != REDIS_OK) {
    return connection->lost(0, context->errstr);
  }
  if (auto status = connection->log_in(options); !status.ok()) return status;
  return connection;
}

Status RedisConnection::log_in(const RedisOptions& options) {
  if (options.password.empty()) return {};
  // Servers before 6 know the password alone.
  Status sent = options.user.empty() ? send({"AUTH", options.password})
                                     : send({"AUTH", options.user, options.password});
  if (!sent.ok()) return sent;
  const auto reply = receive();
  if (!reply) return reply.error();
  if ((*reply)->type != REDIS_REPLY_ERROR) return {};
  return redis_login_error(redis_bytes(**reply), where_);
}

Status RedisConnection::send(std::span<const std::string_view> arguments) {
  append_length(output_, '*', arguments.size());
  for (const std::string_view argument : arguments) {
    append_length(output_, '$', argument.size());
    output_ += argument;
    output_ += "\r\n";
  }
  ++pending_;
  return output_.size() < kOutputBytesMax ? Status{} : flush();
}

// Not by hiredis, whose write() would end the process with SIGPIPE once the server has gone.
Status RedisConnection::flush() {
  for (std::size_t sent = 0; sent < output_.size();) {
    const ssize_t count =
        ::send(context_->fd, output_.data() + sent, output_.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return lost(errno, std::strerror(errno));
    sent += static_cast<std::size_t>(count);
  }
  has_sent_ = has_sent_ || !output_.empty();
  output_.clear();
  return {};
}

Result<RedisReply> RedisConnection::receive() {
  if (auto status = flush(); !status.ok()) return status;
  if (std::exchange(has_sent_, false)) ++round_trips_;
  void* reply = nullptr;
  errno = 0;
  if (::redisGetReply(context_.get(), &reply) != REDIS_OK) {
    return lost(errno, context_->errstr);
  }
  --pending_;
  return RedisReply{static_cast<redisReply*>(reply)};
}

Status RedisConnection::lost(int error, std::string_view why) {
  is_lost_ = true;
  has_timed_out_ = timed_out(error);
  const std::string what = "lost the connection to " + where_ + ": ";
  if (!has_timed_out_) return Status::unavailable(what + std::string{why});
  return Status::unavailable(what + "no answer within " + std::to_string(call_timeout_.count()) +
                             " ms");
}

}  // namespace millrace

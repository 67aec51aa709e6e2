// SPDX-License-Identifier: Apache-2.0
#include "stores/redis_session.h"

#include <array>
#include <charconv>
#include <random>
#include <utility>

#include "stores/redis_status.h"

namespace millrace {
namespace {

constexpr std::string_view kEpoch = "epoch";
constexpr std::string_view kToken = "token";
constexpr std::string_view kWrites = "writes";
// Somebody else may write to the owner's record at the same moment, but hardly three times.
constexpr int kTakeOverAttempts = 3;

std::string random_token() {
  constexpr std::string_view kDigits = "0123456789abcdef";
  constexpr int kTokenDigits = 32;
  std::random_device random;
  std::string token;
  for (int i = 0; i < kTokenDigits; ++i) token += kDigits[random() % kDigits.size()];
  return token;
}

// Of a number, or of a string that is one; 0 for all else.
std::uint64_t number(const redisReply& reply) {
  if (reply.type == REDIS_REPLY_INTEGER) return static_cast<std::uint64_t>(reply.integer);
  std::uint64_t value = 0;
  if (reply.type != REDIS_REPLY_STRING) return value;
  const std::string_view text = redis_bytes(reply);
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

const redisReply& element(const redisReply& reply, std::size_t index) {
  return *reply.element[index];
}

}  // namespace

RedisSession::RedisSession(RedisOptions options, std::string prefix)
    : options_(std::move(options)),
      prefix_(std::move(prefix)),
      owner_(prefix_ + "owner"),
      token_(random_token()),
      where_("Redis at " + options_.address + " ('" + prefix_ + "')") {}

Status RedisSession::open() { return connected(); }

std::uint64_t RedisSession::round_trips() const {
  return earlier_round_trips_ + (connection_ == nullptr ? 0 : connection_->round_trips());
}

void RedisSession::drop_connection() {
  earlier_round_trips_ = round_trips();
  connection_.reset();
}

Status RedisSession::connected() {
  if (!ended_.ok()) return ended_;
  if (connection_ != nullptr) return {};
  auto connection = RedisConnection::connect(options_, where_);
  if (!connection) return connection.error();
  connection_ = *std::move(connection);
  Status taken = epoch_ == 0 ? take_first_epoch() : take_next_epoch();
  if (!taken.ok()) drop_connection();
  return taken;
}

Status RedisSession::take_first_epoch() {
  RedisConnection& connection = *connection_;
  for (const RedisCommand& command :
       {RedisCommand{"MULTI"}, RedisCommand{"HINCRBY", owner_, kEpoch, "1"},
        RedisCommand{"HSET", owner_, kToken, token_}, RedisCommand{"HINCRBY", owner_, kWrites, "0"},
        RedisCommand{"EXEC"}}) {
    if (auto status = connection.send(command); !status.ok()) return status;
  }
  const auto taken = receive_transaction("become the owner");
  if (!taken) return taken.error();
  epoch_ = number(element(**taken, 0));
  writes_ = number(element(**taken, 2));
  return {};
}

// What the old connection has sent and the server has not yet looked at must never count: it
// watches the owner's record, which changes here.
Status RedisSession::take_next_epoch() {
  RedisConnection& connection = *connection_;
  for (int attempt = 0; attempt < kTakeOverAttempts; ++attempt) {
    if (auto status = watch_owner(); !status.ok()) return status;
    for (const RedisCommand& command :
         {RedisCommand{"MULTI"}, RedisCommand{"HINCRBY", owner_, kEpoch, "1"},
          RedisCommand{"EXEC"}}) {
      if (auto status = connection.send(command); !status.ok()) return status;
    }
    const auto taken = receive_transaction("stay the owner");
    if (!taken) return taken.error();
    if ((*taken)->type != REDIS_REPLY_ARRAY) continue;
    epoch_ = number(element(**taken, 0));
    in_doubt_ = false;
    return {};
  }
  return Status::unavailable("the owner of the state in " + where_ + " keeps changing");
}

Status RedisSession::watch_owner() {
  RedisConnection& connection = *connection_;
  if (auto status = connection.send({"WATCH", owner_}); !status.ok()) return status;
  auto status = connection.send({"HMGET", owner_, kEpoch, kToken, kWrites});
  if (!status.ok()) return status;
  const auto watched = connection.receive();
  if (!watched) return watched.error();
  const auto owner = connection.receive();
  if (!owner) return owner.error();
  for (const RedisReply* reply : {&*watched, &*owner}) {
    if ((*reply)->type == REDIS_REPLY_ERROR) return failed(**reply, "look for the owner");
  }
  return check_owner(**owner);
}

Status RedisSession::check_owner(const redisReply& owner) {
  const bool is_record = owner.type == REDIS_REPLY_ARRAY && owner.elements == 3;
  const std::uint64_t epoch = is_record ? number(element(owner, 0)) : 0;
  if (is_record && element(owner, 1).type == REDIS_REPLY_STRING &&
      redis_bytes(element(owner, 1)) == token_) {
    const std::uint64_t writes = number(element(owner, 2));
    if (in_doubt_ && writes == writes_ + 1) writes_ = writes;
    if (writes == writes_) return {};
  } else if (epoch > epoch_) {
    ended_ =
        Status::fenced("the state in " + where_ + " has a newer owner (epoch " +
                       std::to_string(epoch) + ", this one had " + std::to_string(epoch_) + ")");
    return ended_;
  }
  // Not corruption: what is there is an older checkpoint, or nothing, and good to begin from.
  ended_ = Status::unavailable(where_ +
                               " has lost writes (emptied, restarted or failed over); the state "
                               "has to be opened again and caught up from its changelogs");
  return ended_;
}

// Receives all answers of MULTI ... EXEC and returns the last; nil if a watched record has changed.
Result<RedisReply> RedisSession::receive_transaction(std::string_view action) {
  RedisReply refused;
  while (connection_->pending() > 1) {
    auto reply = connection_->receive();
    if (!reply) return reply.error();
    if ((*reply)->type == REDIS_REPLY_ERROR && refused == nullptr) refused = *std::move(reply);
  }
  auto executed = connection_->receive();
  if (!executed) return executed.error();
  // EXEC says only that something was refused; that answer says what.
  if (refused != nullptr) return failed(*refused, action);
  if ((*executed)->type == REDIS_REPLY_ERROR) return failed(**executed, action);
  return executed;
}

Status RedisSession::failed(const redisReply& error, std::string_view action) {
  if (redis_must_reconnect(redis_bytes(error))) drop_connection();
  return redis_error(redis_bytes(error), action, where_);
}

// An idle connection may have been closed by the server or by something on the way: that shows only
// now, and is no reason to fail.
template <class Attempt>
auto RedisSession::with_retry(Attempt&& attempt) {
  const bool is_old = connection_ != nullptr;
  auto result = attempt();
  if (connection_ == nullptr || connection_->is_usable()) return result;
  const bool again = is_old && !connection_->has_timed_out();
  drop_connection();
  if (!again) return result;
  result = attempt();
  if (connection_ != nullptr && !connection_->is_usable()) drop_connection();
  return result;
}

Result<RedisReply> RedisSession::read(std::span<const RedisCommand> commands,
                                      std::string_view action) {
  return with_retry([&] { return read_once(commands, action); });
}

Result<RedisReply> RedisSession::read_once(std::span<const RedisCommand> commands,
                                           std::string_view action) {
  if (auto status = connected(); !status.ok()) return status;
  RedisConnection& connection = *connection_;
  if (auto status = connection.send({"MULTI"}); !status.ok()) return status;
  auto status = connection.send({"HMGET", owner_, kEpoch, kToken, kWrites});
  for (const RedisCommand& command : commands) {
    if (status.ok()) status = connection.send(command);
  }
  if (status.ok()) status = connection.send({"EXEC"});
  if (!status.ok()) return status;
  auto answers = receive_transaction(action);
  if (!answers) return answers.error();
  if ((*answers)->type != REDIS_REPLY_ARRAY ||
      (*answers)->elements != commands.size() + kFirstAnswer) {
    return Status::internal(where_ + " answered a transaction with something else");
  }
  if (auto owner = check_owner(element(**answers, 0)); !owner.ok()) return owner;
  for (std::size_t i = 0; i < (*answers)->elements; ++i) {
    const redisReply& answer = element(**answers, i);
    if (answer.type == REDIS_REPLY_ERROR) return failed(answer, action);
  }
  return answers;
}

Status RedisSession::write(const std::function<Status(RedisConnection&)>& queue,
                           std::string_view action) {
  return with_retry([&] { return write_once(queue, action); });
}

Status RedisSession::write_once(const std::function<Status(RedisConnection&)>& queue,
                                std::string_view action) {
  if (auto status = connected(); !status.ok()) return status;
  if (auto status = watch_owner(); !status.ok()) return status;
  RedisConnection& connection = *connection_;
  Status sent = connection.send({"MULTI"});
  if (sent.ok()) sent = queue(connection);
  if (sent.ok()) sent = connection.send({"HINCRBY", owner_, kWrites, "1"});
  // From here on it may happen though we never hear of it.
  in_doubt_ = sent.ok();
  if (sent.ok()) sent = connection.send({"EXEC"});
  if (!sent.ok()) return sent;
  const auto executed = receive_transaction(action);
  if (!executed) {
    if (connection_ == nullptr || connection_->is_usable()) in_doubt_ = false;
    return executed.error();
  }
  in_doubt_ = false;
  if ((*executed)->type != REDIS_REPLY_ARRAY) {
    // The owner has changed after we looked.
    if (auto status = watch_owner(); !status.ok()) return status;
    return Status::unavailable("cannot " + std::string{action} + " in " + where_ +
                               ": the owner's record was changed meanwhile");
  }
  ++writes_;
  for (std::size_t i = 0; i < (*executed)->elements; ++i) {
    const redisReply& answer = element(**executed, i);
    if (answer.type == REDIS_REPLY_ERROR) return half_written(failed(answer, action));
  }
  return {};
}

// Redis does not undo the commands of a transaction before a failed one. It fails only where
// somebody has put something else under our names; without positions all is rebuilt.
Status RedisSession::half_written(const Status& why) {
  if (connection_ != nullptr && connection_->send({"DEL", name("positions")}).ok()) {
    static_cast<void>(connection_->receive());
  }
  ended_ = Status::corruption(why.message());
  return ended_;
}

}  // namespace millrace

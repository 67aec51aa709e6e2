// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/engine.h"
#include "millrace/error.h"
#include "stores/redis_connection.h"

namespace millrace {

// What a task has in Redis; all names share the hash tag {application:task}:
//
//   millrace:{bank:0_3}:owner            hash: epoch, token of the owner, number of the last write
//   millrace:{bank:0_3}:positions        hash: store -> position record; source offsets
//   millrace:{bank:0_3}:values:accounts  hash: key -> value
//   millrace:{bank:0_3}:keys:accounts    sorted set of the keys, all with score 0: in byte order

/// A command as Redis takes it. The bytes are borrowed.
using RedisCommand = std::vector<std::string_view>;

/// The ownership of a task's state in Redis, over one connection at a time.
///
/// Each call is one transaction that looks at the owner first: of another session, it is fenced;
/// without an owner, or with an older write than this session's last, Redis has lost writes, and
/// all calls are unavailable until the state is opened again. Both are final. A lost connection is
/// made anew by the next call, which takes the next epoch, so that nothing of the old connection
/// can still take effect. Not thread-safe.
class RedisSession {
 public:
  /// `prefix` is "millrace:{application:task}:".
  RedisSession(RedisOptions options, std::string prefix);

  /// Before all other calls: connects and becomes the owner.
  Status open();

  /// The name of something of this task's.
  [[nodiscard]] std::string name(std::string_view rest) const {
    return prefix_ + std::string{rest};
  }

  /// Runs commands that change nothing, at once. The answers of `commands` are the elements from
  /// `kFirstAnswer` on, none of them an error. Tried once more if the connection was lost.
  Result<RedisReply> read(std::span<const RedisCommand> commands, std::string_view action);
  static constexpr std::size_t kFirstAnswer = 1;

  /// Runs the commands that `queue` sends, all or none.
  Status write(const std::function<Status(RedisConnection&)>& queue, std::string_view action);

  [[nodiscard]] std::uint64_t round_trips() const;

 private:
  Status connected();
  Status take_first_epoch();
  Status take_next_epoch();
  Status check_owner(const redisReply& owner);
  Status watch_owner();
  Result<RedisReply> read_once(std::span<const RedisCommand> commands, std::string_view action);
  Status write_once(const std::function<Status(RedisConnection&)>& queue, std::string_view action);
  Result<RedisReply> receive_transaction(std::string_view action);
  Status half_written(const Status& why);
  Status failed(const redisReply& error, std::string_view action);
  template <class Attempt>
  auto with_retry(Attempt&& attempt);
  void drop_connection();

  const RedisOptions options_;
  const std::string prefix_;
  const std::string owner_;
  const std::string token_;
  const std::string where_;
  std::unique_ptr<RedisConnection> connection_;
  std::uint64_t epoch_ = 0;
  std::uint64_t writes_ = 0;  ///< Number of the last write known to be in Redis.
  bool in_doubt_ = false;     ///< One more write may be there: its answer was lost.
  Status ended_;              ///< Why there is no way on: fenced, or state lost.
  std::uint64_t earlier_round_trips_ = 0;
};

}  // namespace millrace

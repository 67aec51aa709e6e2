// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/commit.h"
#include "runtime/kafka/client_config.h"
#include "runtime/kafka/handles.h"
#include "runtime/kafka/producer.h"
#include "runtime/topic_partition.h"

namespace millrace {

/// What happened to this process's membership.
struct GroupEvent {
  enum class Kind : std::uint8_t {
    kNone,
    kAssigned,  ///< `partitions` came; answer with answer_assigned(). Often empty.
    kRevoked,   ///< `partitions` go; stop their tasks, commit, then answer_revoked(). The group
                ///< waits for it.
    kLost,      ///< `partitions` are gone already: no commit is possible. Answer all the same.
    kFatal,     ///< This member is done for; no further event comes. `error` says why.
  };
  Kind kind = Kind::kNone;
  std::vector<TopicPartition> partitions;
  Status error;
};

/// The consumer M: the group membership of this process. Its fetch assignment stays empty, so it
/// never reads a record.
///
/// Used by one thread, but for `joining`.
class GroupMember {
 public:
  /// JoinGroup requests: whether one is under way, and whether there ever was one.
  struct Joins {
    std::atomic<bool> under_way{false};
    std::atomic<bool> ever{false};
    /// When the last heartbeat was answered, since the clock's epoch. The answer may be that the
    /// group rebalances, upon which librdkafka joins at once.
    std::atomic<std::chrono::steady_clock::duration> heartbeat{};
    /// Held while offsets are added to a transaction: until then an answer to a heartbeat waits.
    std::timed_mutex sending;
  };
  /// How long after a heartbeat's answer a JoinGroup may follow it.
  static constexpr std::chrono::milliseconds kJoinDelayMax{5};

  /// Subscribes to the topics; does not wait for a broker.
  static Result<std::unique_ptr<GroupMember>> create(const Config& config, KafkaLog log,
                                                     const std::vector<std::string>& topics);
  ~GroupMember();
  GroupMember(const GroupMember&) = delete;
  GroupMember& operator=(const GroupMember&) = delete;

  /// Waits up to `timeout` for the next event. Errors that pass are logged.
  GroupEvent poll(std::chrono::milliseconds timeout);
  Status answer_assigned();
  Status answer_revoked();

  /// Whether a JoinGroup is under way: a commit sent now would wait for it and then cost the whole
  /// assignment (librdkafka before 2.10).
  [[nodiscard]] bool joining() const;
  /// Whether this is the member that the group has given its partitions to: false before the first
  /// assignment and from the moment on at which the membership is lost, which may be before the
  /// news of it, and while a rebalance is going on may come without any.
  [[nodiscard]] bool is_member() const;

  /// Commits all offsets in one request, and if one of them is refused for good each by itself; the
  /// result per partition, in order. At least one. Blocks for the broker's answers.
  std::vector<Status> commit(const std::vector<OffsetCommit>& offsets);

  /// Makes all offsets part of the producer's transaction, in the name of this member: refused by
  /// the broker if it is one no more. kUnavailable: not definite, or not a member any more, to
  /// be called again; after any other failure the transaction is void.
  Status send_offsets(Producer& producer, const std::vector<OffsetCommit>& offsets,
                      std::chrono::milliseconds timeout);

  /// The group's committed offsets once they are stable (no transaction pending on them).
  Result<std::vector<CommittedOffset>> committed(const std::vector<TopicPartition>& inputs,
                                                 std::chrono::milliseconds timeout);

  /// Leaves the group (a static member does not). Blocks a few milliseconds, where brokers do not
  /// answer 4 s.
  void close();

  [[nodiscard]] const std::vector<std::string>& topics() const { return topics_; }

  /// Whether an assignment has been answered, be it of nothing.
  [[nodiscard]] bool was_assigned() const { return assigned_once_; }

 private:
  GroupMember() = default;
  Status subscribe();
  rd_kafka_resp_err_t commit_whole(const std::vector<OffsetCommit>& offsets);
  static void watch_requests(rd_kafka_conf_t* conf, GroupMember* self);
  [[nodiscard]] std::string member_id() const;
  void answer_any(EventPtr event);
  GroupEvent look_for_missing();
  [[nodiscard]] std::optional<bool> is_known(const std::string& topic) const;

  // On the heap: librdkafka's threads write to it, of a client that is never destroyed too.
  std::unique_ptr<Joins> joins_ = std::make_unique<Joins>();
  KafkaClient client_;
  std::string group_;
  QueuePtr queue_;
  EventPtr rebalance_;  // Kept until it is answered.
  std::vector<std::string> topics_;
  std::string owner_;  // The member's id when the group last gave it something.
  bool assigned_once_ = false;
  // A topic that was there is not known to a broker: since when, when it was last looked for, and
  // what librdkafka has said.
  struct Missing {
    std::chrono::steady_clock::time_point since;
    std::chrono::steady_clock::time_point looked;
    Status error;
  };
  std::optional<Missing> missing_;
  bool closed_ = false;
  bool is_stuck_ = false;  // Waits for an answer that it would not take.
};

}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "millrace/config.h"
#include "millrace/error.h"
#include "millrace/time.h"
#include "runtime/kafka/ack_tracker.h"
#include "runtime/kafka/client_config.h"
#include "runtime/kafka/error_map.h"
#include "runtime/kafka/handles.h"

namespace millrace {

/// Writes records to chosen partitions and reports their acknowledgement through AckTrackers.
///
/// Thread-safe. Some thread must call poll() all the time: delivery reports are served there, and
/// in flush() and await().
class Producer {
 public:
  /// How long produce() waits for room in librdkafka's queue before it gives up.
  static constexpr std::chrono::seconds kQueueFullWaitMax{60};
  /// The step of that wait, in which delivery reports are served.
  static constexpr std::chrono::milliseconds kQueueFullStep{1};
  /// The step in which await() looks whether its tracker is done while others go on writing.
  static constexpr std::chrono::milliseconds kAwaitStep{2};
  /// How long the destructor serves the reports of what it drops.
  static constexpr std::chrono::milliseconds kCloseWaitMax{1000};
  /// The pause before metadata without leaders is asked for again.
  static constexpr std::chrono::milliseconds kMetadataRetryStep{50};
  /// Topics one producer may write to.
  static constexpr std::size_t kTopicsMax = 4096;

  /// Names a topic of this producer on the hot path.
  struct TopicId {
    std::uint32_t index = 0;

    bool operator==(const TopicId&) const = default;
  };

  /// Names with values; an empty optional is a null value. Order and repeats are kept.
  using Headers = std::vector<std::pair<std::string, std::optional<std::string>>>;

  /// Makes an idempotent producer, a transactional one if `transactional_id` is given, which must
  /// be opened before it can write. Does not wait for a broker.
  static Result<std::unique_ptr<Producer>> create(const Config& config, KafkaLog log,
                                                  std::string transactional_id = {});

  /// Drops what is still queued: flush first what must not be lost. Trackers of dropped records
  /// become done with a kCancelled status.
  ~Producer();

  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  /// The id of `name`, the same for the same name. Does not ask the broker.
  /// kInvalidArgument for a bad name or beyond kTopicsMax.
  Result<TopicId> topic(const std::string& name);

  /// Partitions of `name`, asked of the broker. May create the topic where the broker creates
  /// topics on demand: ask TopicAdmin for topics that may be missing.
  Result<std::int32_t> partition_count(const std::string& name, std::chrono::milliseconds timeout);

  /// Fetches the metadata of `topics` in one request, so that no first record waits for it (up to
  /// a second in librdkafka 2.0.2). kInvalidArgument names a topic that is still
  /// unknown after `timeout`.
  Status warm_metadata(const std::vector<TopicId>& topics, std::chrono::milliseconds timeout);

  /// A tracker for `produce`, kept alive here until all its records are reported.
  [[nodiscard]] std::shared_ptr<AckTracker> new_tracker();

  /// Queues one record; key, value and headers are copied. An empty optional is null.
  ///
  /// `tracker` (may be null) must come from this producer and be held by the caller; only records
  /// that were queued count in it. Waits in steps while the queue is full: kUnavailable after
  /// kQueueFullWaitMax, kCancelled after interrupt(), and when the transaction has failed before
  /// by another record. kInvalidArgument names topic-partition and size when the record is too
  /// large, or the partition when there is none of that number.
  Status produce(TopicId topic, std::int32_t partition, std::optional<std::string_view> key,
                 std::optional<std::string_view> value, Timestamp timestamp,
                 const Headers* headers = nullptr, AckTracker* tracker = nullptr);

  /// Serves delivery reports for at most `timeout`; the number of events served.
  int poll(std::chrono::milliseconds timeout);

  /// Sends everything queued without lingering and waits for the reports of all of it, by whomever
  /// it was produced. kUnavailable when records are left after `timeout`. Success does not mean
  /// that they were delivered: the trackers say so.
  Status flush(std::chrono::milliseconds timeout);

  /// The same for the records of one tracker, and its status: other writers going on do not delay
  /// it. kUnavailable after `timeout`.
  Status await(const AckTracker& tracker, std::chrono::milliseconds timeout);

  /// Ends waits in produce() and await() with kCancelled, from now on. Any thread.
  void interrupt() { interrupted_.store(true, std::memory_order_release); }

  /// Drops everything queued or in flight and goes on as a new client: what an owner that has lost
  /// its partitions had queued must not be written after the new owner's records. Trackers become
  /// done as with the destructor; ids stay valid. No other thread may use this object meanwhile.
  Status renew();

  // --- Transactions, of a producer with a transactional id; by one thread ---

  /// Once for a new or renewed producer, before its first record: ends the transaction that an
  /// earlier producer of the same id has left open, fences that producer off, fetches the metadata
  /// of all topics named so far and begins the first transaction. kUnavailable after `timeout`:
  /// call it again. Nothing to do without a transactional id.
  Status open(std::chrono::milliseconds timeout);

  /// Adds the offsets of processed inputs to the transaction, for the member of a group that
  /// `group` describes (KIP-447: the broker refuses one that has been replaced). kUnavailable: the
  /// same call again, with the same offsets. Any other failure: the transaction is void.
  Status send_offsets(const rd_kafka_topic_partition_list_t* offsets,
                      const rd_kafka_consumer_group_metadata_t* group, AccessList access,
                      std::chrono::milliseconds timeout);

  /// Commits the transaction and begins the next. kUnavailable: the outcome is not known, call it
  /// again. Any other failure: renew() and read the commit point, which tells the outcome. No
  /// other thread may produce meanwhile.
  Status commit_transaction(std::chrono::milliseconds timeout);

  /// The error after which this producer can only be renewed, ok if there is none.
  [[nodiscard]] Status fatal_error() const;

  /// Records queued or in flight.
  [[nodiscard]] std::size_t queued() const;

  /// Whether they, or their bytes, are more than half of what librdkafka takes before it lets
  /// produce() wait (`queue.buffering.max.messages` and `.kbytes`).
  [[nodiscard]] bool half_full() const;

  /// The name behind an id.
  [[nodiscard]] std::string_view name(TopicId topic) const {
    return rd_kafka_topic_name(topics_[topic.index].get());
  }

 private:
  struct Trackers;

  explicit Producer(std::shared_ptr<Trackers> trackers) : trackers_(std::move(trackers)) {}

  Status connect();
  void disconnect();
  Status begin_transaction(const std::string& what);
  Result<TopicPtr> open_topic(const std::string& name) const;
  static void on_delivery(rd_kafka_t* client, const rd_kafka_message_t* message, void* opaque);

  Status refused(rd_kafka_resp_err_t error, TopicId topic, std::int32_t partition,
                 std::size_t bytes) const;

  const std::shared_ptr<Trackers> trackers_;
  std::string transactional_id_;
  // A request about the present transaction was given up without an answer; set by librdkafka's
  // threads.
  std::atomic<bool> unanswered_{false};
  std::function<Result<KafkaClient>()> make_client_;
  KafkaClient client_;
  std::atomic<bool> interrupted_{false};

  std::size_t half_of_records_ = 0;
  std::int64_t half_of_bytes_ = 0;
  // Keys and values queued or in flight; on a cache line of its own, as each record changes it
  // twice.
  alignas(64) std::atomic<std::int64_t> queued_bytes_{0};

  std::mutex topics_mutex_;  // Guards ids_ and creation.
  std::unordered_map<std::string, std::uint32_t> ids_;
  // A slot is written once, before its id is handed out, and read without a lock afterwards.
  std::array<TopicPtr, kTopicsMax> topics_;
};

}  // namespace millrace

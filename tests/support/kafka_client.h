// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/kafka/admin.h"
#include "runtime/kafka/handles.h"

namespace millrace::testing {

/// The broker that all integration tests share: MILLRACE_TEST_KAFKA. Throws where it is not set.
[[nodiscard]] std::string shared_broker();

/// A record to write. No partition: where Java's partitioner puts the key. No timestamp: now.
struct NewRecord {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::optional<std::int32_t> partition{};
  std::optional<std::int64_t> timestamp{};
  std::vector<std::pair<std::string, std::string>> headers{};
};

/// A record as a reader with isolation.level=read_committed sees it.
struct StoredRecord {
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::int64_t timestamp = 0;
  std::vector<std::pair<std::string, std::string>> headers;
};

struct PartitionEnds {
  std::int64_t low = 0;
  std::int64_t high = 0;

  friend bool operator==(const PartitionEnds&, const PartitionEnds&) = default;
};

/// Where a partition is: numbers of brokers.
struct PartitionPlace {
  std::int32_t leader = -1;  ///< -1: there is none.
  std::vector<std::int32_t> replicas;
  std::vector<std::int32_t> in_sync;
};

struct GroupOffset {
  std::optional<std::int64_t> offset;
  std::string metadata;
};

/// A plain client of a broker, independent of the code under test: writes, reads, asks. Every call
/// is bounded and throws std::runtime_error when it fails. Not thread-safe; cheap to make.
class KafkaClientForTests {
 public:
  explicit KafkaClientForTests(std::string address = shared_broker());

  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] TopicAdmin& admin() { return *admin_; }

  /// `replication`: copies of each partition, -1: as many as the broker makes by default.
  void create_topic(const std::string& topic, std::int32_t partitions,
                    const std::map<std::string, std::string>& configs = {},
                    std::int32_t replication = -1);
  /// Also those that are not there.
  void delete_topics(const std::vector<std::string>& topics);
  /// Deletes all records that are there, as retention would.
  void delete_records(const std::string& topic);
  /// `count`: the new number of partitions.
  void add_partitions(const std::string& topic, std::int32_t count);
  [[nodiscard]] std::map<std::string, std::string> configs(const std::string& topic);
  /// 0: there is no such topic.
  [[nodiscard]] std::int32_t partitions(const std::string& topic);

  /// By partition; empty: there is no such topic, or nobody to say.
  [[nodiscard]] std::vector<PartitionPlace> places(const std::string& topic);

  /// Returns when all are acknowledged.
  void produce(const std::string& topic, const std::vector<NewRecord>& records);
  /// In one transaction, which ends with a marker in each partition written to.
  enum class Outcome { kCommit, kAbort };
  void produce_transaction(const std::string& topic, const std::vector<NewRecord>& records,
                           Outcome outcome = Outcome::kCommit);

  /// Low and high watermark of each partition.
  [[nodiscard]] std::vector<PartitionEnds> ends(const std::string& topic);
  /// The same with the last stable offset as `high`: up to where no transaction is open.
  [[nodiscard]] std::vector<PartitionEnds> stable_ends(const std::string& topic);
  /// Calls `see` for each record that a read_committed reader finds, up to the end.
  void read(const std::string& topic, const std::function<void(const StoredRecord&)>& see);
  [[nodiscard]] std::vector<StoredRecord> read_all(const std::string& topic);
  /// The newest value of each key; deleted keys are absent.
  [[nodiscard]] std::map<std::string, std::string> table(const std::string& topic);
  /// The same for 8 bytes big-endian.
  [[nodiscard]] std::map<std::string, std::int64_t> counts(const std::string& topic);

  /// What a group has committed for each partition of a topic.
  [[nodiscard]] std::vector<GroupOffset> committed(const std::string& group,
                                                   const std::string& topic);
  /// Commits for a group without members.
  void commit(const std::string& group, const std::string& topic, std::int32_t partition,
              const GroupOffset& offset);

 private:
  rd_kafka_t* producer();
  std::vector<PartitionEnds> ends(const std::string& topic, rd_kafka_t* client);
  std::vector<PartitionPlace> places(const std::string& topic, rd_kafka_t* client);
  void administer(
      const std::string& what, rd_kafka_admin_op_t operation,
      const std::function<void(const rd_kafka_AdminOptions_t*, rd_kafka_queue_t*)>& ask);
  void send(rd_kafka_t* client, const std::string& topic, const std::vector<NewRecord>& records);

  std::string address_;
  std::unique_ptr<TopicAdmin> admin_;
  std::uint64_t failed_ = 0;
  std::string last_failure_;
  ClientPtr producer_;
};

/// As Kafka Streams' Long serde.
[[nodiscard]] std::string big_endian(std::int64_t value);
[[nodiscard]] std::int64_t from_big_endian(const std::string& bytes);

}  // namespace millrace::testing

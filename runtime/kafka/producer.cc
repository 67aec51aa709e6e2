// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/producer.h"

#include <algorithm>
#include <thread>

#include "runtime/kafka/error_map.h"
#include "runtime/kafka/topic_metadata.h"
#include "runtime/topic_partition.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr std::size_t kTopicNameMax = 249;  // Kafka's.

milliseconds time_left(SteadyClock::time_point deadline) {
  return std::chrono::duration_cast<milliseconds>(deadline - SteadyClock::now());
}

// librdkafka tells null from empty by the pointer.
const char* data_of(const std::optional<std::string_view>& bytes) {
  if (!bytes) return nullptr;
  return bytes->data() == nullptr ? "" : bytes->data();
}

std::size_t size_of(const std::optional<std::string_view>& bytes) {
  return bytes ? bytes->size() : 0;
}

// librdkafka takes 0 for "now"; the nearest time it writes as given is one millisecond later.
std::int64_t wire_timestamp(Timestamp timestamp) {
  const std::int64_t millis = to_millis(timestamp);
  return millis == 0 ? 1 : millis;
}

HeadersPtr wire_headers(const Producer::Headers& headers) {
  HeadersPtr wire{rd_kafka_headers_new(headers.size())};
  for (const auto& [name, value] : headers) {
    // Fails only for a read-only list, which a new one is not.
    (void)rd_kafka_header_add(wire.get(), name.data(), static_cast<ssize_t>(name.size()),
                              value ? value->data() : nullptr,
                              value ? static_cast<ssize_t>(value->size()) : 0);
  }
  return wire;
}

// Numbers of Kafka's protocol: what ends a transaction, or adds to it, when it arrives once more.
bool is_about_transactions(std::int16_t api_key) {
  constexpr std::int16_t kAddPartitions = 24;
  constexpr std::int16_t kAddOffsets = 25;
  constexpr std::int16_t kEndTxn = 26;
  constexpr std::int16_t kTxnOffsetCommit = 28;
  return api_key == kAddPartitions || api_key == kAddOffsets || api_key == kEndTxn ||
         api_key == kTxnOffsetCommit;
}

// Called for each request that is answered or, with an error, given up; of some twice.
rd_kafka_resp_err_t on_response_received(rd_kafka_t*, int, const char*, std::int32_t,
                                         std::int16_t api_key, std::int16_t, std::int32_t,
                                         std::size_t, std::int64_t, rd_kafka_resp_err_t error,
                                         void* unanswered) {
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR && is_about_transactions(api_key))
    *static_cast<std::atomic<bool>*>(unanswered) = true;
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t on_new(rd_kafka_t* client, const rd_kafka_conf_t*, void* unanswered, char*,
                           std::size_t) {
  return rd_kafka_interceptor_add_on_response_received(client, "millrace", on_response_received,
                                                       unanswered);
}

std::string describe(std::string_view topic, std::int32_t partition, std::size_t bytes) {
  return "cannot write a record of " + std::to_string(bytes) + " bytes to " +
         to_string(TopicPartition{std::string{topic}, partition});
}

}  // namespace

// Outlives the producer while a tracker has an owner.
struct Producer::Trackers {
  std::mutex mutex;
  std::vector<std::unique_ptr<AckTracker>> live;  // Guarded by mutex.

  // Frees what nobody owns and no delivery report will touch any more.
  void sweep() {
    std::erase_if(live, [](const std::unique_ptr<AckTracker>& tracker) {
      return tracker->released_.load(std::memory_order_acquire) && tracker->done();
    });
  }

  void abandon() {
    const std::lock_guard lock{mutex};
    for (const auto& tracker : live) tracker->abandon();
  }
};

Result<std::unique_ptr<Producer>> Producer::create(const Config& config, KafkaLog log,
                                                   std::string transactional_id) {
  std::unique_ptr<Producer> producer{new Producer{std::make_shared<Trackers>()}};
  producer->transactional_id_ = transactional_id;
  const auto half_of = [&](const std::string& property) {
    return number_property(config, ClientRole::kProducer, property) / 2;
  };
  producer->half_of_records_ = static_cast<std::size_t>(half_of("queue.buffering.max.messages"));
  producer->half_of_bytes_ = half_of("queue.buffering.max.kbytes") * 1024;
  ClientOptions options;
  options.role = ClientRole::kProducer;
  options.log = std::move(log);
  options.owner = producer.get();
  options.transactional_id = std::move(transactional_id);
  options.configure = [self = producer.get()](rd_kafka_conf_t* conf) {
    rd_kafka_conf_set_dr_msg_cb(conf, &Producer::on_delivery);
    if (self->transactional_id_.empty()) return;
    rd_kafka_conf_interceptor_add_on_new(conf, "millrace", on_new, &self->unanswered_);
  };
  producer->make_client_ = [config, options = std::move(options)] {
    return create_client(config, options);
  };
  if (auto status = producer->connect(); !status.ok()) return status;
  return producer;
}

Producer::~Producer() { disconnect(); }

Status Producer::connect() {
  auto client = make_client_();
  if (!client) return client.error();
  client_ = std::move(*client);
  return {};
}

void Producer::disconnect() {
  if (client_) {
    rd_kafka_purge(client_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(client_.get(), timeout_ms(kCloseWaitMax));
    for (TopicPtr& topic : topics_) topic.reset();
    client_.reset();
  }
  queued_bytes_.store(0, std::memory_order_relaxed);
  trackers_->abandon();
}

// Not by purging alone: the purged records leave a hole in the sequence that the broker expects of
// an idempotent producer.
Status Producer::renew() {
  const std::lock_guard lock{topics_mutex_};
  auto client = make_client_();
  if (!client) return client.error();  // The old one stays, broken as it is.
  disconnect();
  client_ = std::move(*client);
  for (const auto& [name, index] : ids_) {
    auto topic = open_topic(name);
    if (!topic) return topic.error();
    topics_[index] = *std::move(topic);
  }
  return {};
}

Result<TopicPtr> Producer::open_topic(const std::string& name) const {
  TopicPtr topic{rd_kafka_topic_new(client_.get(), name.c_str(), nullptr)};
  if (!topic) return kafka_status(rd_kafka_last_error(), "cannot write to topic '" + name + "'");
  return topic;
}

// --- Transactions ---

namespace {

// The move that an error of the transactional API demands, as a code: kUnavailable is the same call
// again and nothing else is.
Status transaction_status(const rd_kafka_error_t* error, const std::string& what,
                          AccessList access = {}) {
  Status status = kafka_status(error, what, access);
  if (status.ok() || transaction_move(error) == TransactionMove::kRetry) return status;
  if (status.code() != Code::kUnavailable) return status;
  return Status::fenced(status.message());
}

}  // namespace

Status Producer::open(milliseconds timeout) {
  if (transactional_id_.empty()) return {};
  const std::string what = "cannot begin transactions as " + transactional_id_;
  const KafkaErrorPtr opened{rd_kafka_init_transactions(client_.get(), timeout_ms(timeout))};
  if (auto status = transaction_status(opened.get(), what); !status.ok()) return status;
  std::vector<TopicId> topics;
  {
    const std::lock_guard lock{topics_mutex_};
    for (const auto& [name, index] : ids_) topics.push_back({index});
  }
  // Records of unknown topics would wait up to a second for a timer of librdkafka's. Not a reason
  // to fail: they do get there.
  if (!topics.empty()) static_cast<void>(warm_metadata(topics, timeout));
  return begin_transaction(what);
}

Status Producer::begin_transaction(const std::string& what) {
  unanswered_ = false;
  const KafkaErrorPtr begun{rd_kafka_begin_transaction(client_.get())};
  return transaction_status(begun.get(), what);
}

Status Producer::send_offsets(const rd_kafka_topic_partition_list_t* offsets,
                              const rd_kafka_consumer_group_metadata_t* group, AccessList access,
                              milliseconds timeout) {
  const KafkaErrorPtr error{
      rd_kafka_send_offsets_to_transaction(client_.get(), offsets, group, timeout_ms(timeout))};
  return transaction_status(
      error.get(), "cannot add offsets to the transaction of " + transactional_id_, access);
}

Status Producer::commit_transaction(milliseconds timeout) {
  const std::string what = "cannot commit the transaction of " + transactional_id_;
  const KafkaErrorPtr committed{rd_kafka_commit_transaction(client_.get(), timeout_ms(timeout))};
  if (auto status = transaction_status(committed.get(), what); !status.ok()) return status;
  // librdkafka repeats requests when a connection breaks or an answer does not come in time. It is
  // committed; but a copy that was not answered may yet arrive, and would end the next transaction
  // in the middle or take its offsets back. The broker refuses it once there is a newer producer.
  if (unanswered_) {
    return Status::fenced("the transaction of " + transactional_id_ +
                          " is committed, but a copy of one of its requests was not answered (a "
                          "connection broke, or a broker was slow)");
  }
  return begin_transaction(what);
}

Result<Producer::TopicId> Producer::topic(const std::string& name) {
  const std::lock_guard lock{topics_mutex_};
  if (const auto found = ids_.find(name); found != ids_.end()) return TopicId{found->second};
  if (ids_.size() == kTopicsMax) {
    return Status::invalid_argument("cannot write to topic " + name +
                                    ": the application writes to " + std::to_string(kTopicsMax) +
                                    " topics already");
  }
  if (name.empty() || name.size() > kTopicNameMax) {
    return Status::invalid_argument("cannot write to topic '" + name + "': a name has 1 to " +
                                    std::to_string(kTopicNameMax) + " characters");
  }
  auto opened = open_topic(name);
  if (!opened) return opened.error();
  const auto index = static_cast<std::uint32_t>(ids_.size());
  topics_[index] = *std::move(opened);
  ids_.emplace(name, index);
  return TopicId{index};
}

Result<std::int32_t> Producer::partition_count(const std::string& name, milliseconds timeout) {
  const auto id = topic(name);
  if (!id) return id.error();
  const std::string what = "cannot read the metadata of topic " + name;
  const auto deadline = SteadyClock::now() + timeout;
  for (;;) {
    const auto [error, partitions] = topic_metadata(
        client_.get(), topics_[id->index].get(), std::max(time_left(deadline), kMetadataRetryStep));
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return partitions;
    if (kafka_code(error) != Code::kUnavailable || time_left(deadline) <= milliseconds::zero()) {
      return kafka_status(error, what, {}, {Access::on_topic("Describe", name)});
    }
    std::this_thread::sleep_for(kMetadataRetryStep);
  }
}

Status Producer::warm_metadata(const std::vector<TopicId>& topics, milliseconds timeout) {
  const auto deadline = SteadyClock::now() + timeout;
  for (;;) {
    // Without a topic the request is for all topics this client knows, which are at least `topics`.
    const rd_kafka_metadata_t* raw = nullptr;
    const rd_kafka_resp_err_t error =
        rd_kafka_metadata(client_.get(), 0, nullptr, &raw,
                          timeout_ms(std::max(time_left(deadline), kMetadataRetryStep)));
    const MetadataPtr metadata{raw};
    Status status = kafka_status(error, "cannot read the metadata of output topics");
    // A topic created a moment ago may still be unknown to the broker that answers.
    bool is_worth_waiting = status.code() == Code::kUnavailable;
    for (const TopicId topic : topics) {
      if (!status.ok()) break;
      const auto* const begin = metadata->topics;
      const auto* const end = begin + metadata->topic_cnt;
      const auto* const found = std::find_if(
          begin, end, [&](const rd_kafka_metadata_topic_t& t) { return name(topic) == t.topic; });
      const rd_kafka_resp_err_t answer =
          found == end ? RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC : found->err;
      status = kafka_status(answer, "cannot write to topic " + std::string{name(topic)}, {},
                            {Access::on_topic("Write", name(topic))});
      is_worth_waiting = status.code() == Code::kUnavailable || is_unknown_topic(answer);
    }
    if (!is_worth_waiting || time_left(deadline) <= milliseconds::zero()) return status;
    std::this_thread::sleep_for(kMetadataRetryStep);
  }
}

std::shared_ptr<AckTracker> Producer::new_tracker() {
  auto owned = std::make_unique<AckTracker>();
  AckTracker* const tracker = owned.get();
  {
    const std::lock_guard lock{trackers_->mutex};
    trackers_->sweep();
    trackers_->live.push_back(std::move(owned));
  }
  // The owner's last reference only marks it: reports of its records may still come.
  return {tracker, [trackers = trackers_](AckTracker* released) {
            released->released_.store(true, std::memory_order_release);
          }};
}

Status Producer::produce(TopicId topic, std::int32_t partition, std::optional<std::string_view> key,
                         std::optional<std::string_view> value, Timestamp timestamp,
                         const Headers* headers, AckTracker* tracker) {
  rd_kafka_topic_t* const handle = topics_[topic.index].get();
  HeadersPtr wire = headers != nullptr && !headers->empty() ? wire_headers(*headers) : nullptr;
  // Counted before the call: the report may come before it returns.
  if (tracker != nullptr) tracker->on_produced();
  const auto bytes = static_cast<std::int64_t>(size_of(key) + size_of(value));
  queued_bytes_.fetch_add(bytes, std::memory_order_relaxed);

  SteadyClock::time_point deadline{};
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
  for (;;) {
    error = rd_kafka_producev(
        client_.get(), RD_KAFKA_V_RKT(handle), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(data_of(key), size_of(key)),
        RD_KAFKA_V_VALUE(const_cast<char*>(data_of(value)), size_of(value)),
        RD_KAFKA_V_TIMESTAMP(wire_timestamp(timestamp)), RD_KAFKA_V_OPAQUE(tracker),
        RD_KAFKA_V_HEADERS(wire.get()), RD_KAFKA_V_END);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
      wire.release();  // librdkafka's, once the record is queued.
      return {};
    }
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL || interrupted_.load(std::memory_order_acquire)) {
      break;
    }
    const auto now = SteadyClock::now();
    if (deadline == SteadyClock::time_point{}) deadline = now + kQueueFullWaitMax;
    if (now >= deadline) break;
    rd_kafka_poll(client_.get(), timeout_ms(kQueueFullStep));
  }
  if (tracker != nullptr) tracker->on_refused();
  queued_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  return refused(error, topic, partition, static_cast<std::size_t>(bytes));
}

Status Producer::refused(rd_kafka_resp_err_t error, TopicId topic, std::int32_t partition,
                         std::size_t bytes) const {
  const std::string what = describe(name(topic), partition, bytes);
  if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL && interrupted_.load(std::memory_order_acquire)) {
    return Status::cancelled(what + ": interrupted while the producer's queue was full");
  }
  if (error == RD_KAFKA_RESP_ERR__FATAL) return kafka_fatal_status(client_.get(), what);
  // Of a transaction in which the brokers have refused something for good. Not this record's fault.
  if (error == RD_KAFKA_RESP_ERR__STATE) {
    return Status::cancelled(what + ": the transaction has failed before it (_STATE)");
  }
  if (error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
    return kafka_status(error, what, "larger than kafka.message.max.bytes allows");
  }
  // Topics do not lose partitions: there never was this one.
  if (error == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) return kafka_status(error, what);
  return kafka_status_of_known_topic(error, what, {}, {});
}

void Producer::on_delivery(rd_kafka_t* client, const rd_kafka_message_t* message, void* opaque) {
  auto* const tracker = static_cast<AckTracker*>(message->_private);
  auto* const self = static_cast<Producer*>(static_cast<KafkaContext*>(opaque)->owner);
  self->queued_bytes_.fetch_sub(static_cast<std::int64_t>(message->key_len + message->len),
                                std::memory_order_relaxed);
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    if (tracker != nullptr) tracker->on_delivered(message->offset);
    return;
  }
  const std::string_view topic{rd_kafka_topic_name(message->rkt)};
  const std::string what = describe(topic, message->partition, message->key_len + message->len);
  Status status =
      message->err == RD_KAFKA_RESP_ERR__FATAL
          ? kafka_fatal_status(client, what)
          : kafka_status_of_known_topic(message->err, what, {}, {Access::on_topic("Write", topic)});
  if (tracker != nullptr) {
    tracker->on_failed(std::move(status));
    return;
  }
  constexpr int kSyslogError = 3;
  static_cast<KafkaContext*>(opaque)->log(kSyslogError, "DELIVERY", status.message());
}

int Producer::poll(milliseconds timeout) {
  return rd_kafka_poll(client_.get(), timeout_ms(timeout));
}

Status Producer::flush(milliseconds timeout) {
  return kafka_status(rd_kafka_flush(client_.get(), timeout_ms(timeout)),
                      "cannot flush the producer");
}

Status Producer::await(const AckTracker& tracker, milliseconds timeout) {
  const auto deadline = SteadyClock::now() + timeout;
  while (!tracker.done()) {
    if (interrupted_.load(std::memory_order_acquire)) {
      return Status::cancelled("interrupted while waiting for acknowledgements");
    }
    if (SteadyClock::now() >= deadline) {
      return Status::unavailable("the broker has acknowledged " +
                                 std::to_string(tracker.reported()) + " of " +
                                 std::to_string(tracker.produced()) + " records in " +
                                 std::to_string(timeout.count()) + " ms");
    }
    // A short flush: it ends the linger time, serves reports, and returns while others still write.
    rd_kafka_flush(client_.get(), timeout_ms(kAwaitStep));
  }
  return tracker.status();
}

Status Producer::fatal_error() const {
  return kafka_fatal_status(client_.get(), "the producer failed for good");
}

std::size_t Producer::queued() const {
  return static_cast<std::size_t>(std::max(0, rd_kafka_outq_len(client_.get())));
}

bool Producer::half_full() const {
  return queued_bytes_.load(std::memory_order_relaxed) > half_of_bytes_ ||
         queued() > half_of_records_;
}

}  // namespace millrace

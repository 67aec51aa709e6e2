// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/group_member.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "runtime/kafka/error_map.h"
#include "runtime/kafka/topic_metadata.h"

namespace millrace {
namespace {

using Joins = GroupMember::Joins;

constexpr int kSyslogWarning = 4;

// librdkafka answers sooner: when the session is over at the latest.
constexpr std::chrono::minutes kCommitMax{5};

// Brokers that do not answer need not know: the session ends by itself.
constexpr std::chrono::seconds kCloseMax{4};
constexpr int kCloseStepMs = 10;

// For so long may a broker not know a topic that was there; it is asked so often, and waited for so
// long.
constexpr std::chrono::seconds kMissingMax{30};
constexpr std::chrono::milliseconds kMissingLookInterval{2'000};
constexpr std::chrono::milliseconds kMissingLookTimeout{500};

// Numbers of Kafka's protocol.
constexpr std::int16_t kJoinGroup = 11;
constexpr std::int16_t kHeartbeat = 12;
constexpr std::int16_t kSyncGroup = 14;

// Called before librdkafka sees the answer, in the thread of the coordinator's connection. A join
// would make another generation, and the broker refuse the offsets of this one.
void wait_for_offsets(Joins& joins) {
  constexpr std::chrono::seconds kWaitMax{2};
  const bool locked = joins.sending.try_lock_for(kWaitMax);
  joins.heartbeat = std::chrono::steady_clock::now().time_since_epoch();
  if (locked) joins.sending.unlock();  // Last: who sends next sees that a join may follow.
}

rd_kafka_resp_err_t on_request_sent(rd_kafka_t*, int, const char*, std::int32_t,
                                    std::int16_t api_key, std::int16_t, std::int32_t, std::size_t,
                                    void* joins) {
  if (api_key == kJoinGroup) {
    static_cast<Joins*>(joins)->under_way = true;
    static_cast<Joins*>(joins)->ever = true;
  }
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t on_response_received(rd_kafka_t*, int, const char*, std::int32_t,
                                         std::int16_t api_key, std::int16_t, std::int32_t,
                                         std::size_t, std::int64_t, rd_kafka_resp_err_t,
                                         void* joins) {
  if (api_key == kSyncGroup) static_cast<Joins*>(joins)->under_way = false;
  if (api_key == kHeartbeat) wait_for_offsets(*static_cast<Joins*>(joins));
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t on_new(rd_kafka_t* client, const rd_kafka_conf_t*, void* joins, char*,
                           std::size_t) {
  rd_kafka_interceptor_add_on_request_sent(client, "millrace", on_request_sent, joins);
  return rd_kafka_interceptor_add_on_response_received(client, "millrace", on_response_received,
                                                       joins);
}

std::vector<TopicPartition> partitions_of(const rd_kafka_topic_partition_list_t* list) {
  std::vector<TopicPartition> partitions;
  for (int i = 0; list != nullptr && i < list->cnt; ++i) {
    partitions.push_back({list->elems[i].topic, list->elems[i].partition});
  }
  return partitions;
}

void keep_for_ever(KafkaClient client, std::unique_ptr<Joins> joins) {
  using Kept = std::pair<KafkaClient, std::unique_ptr<Joins>>;
  client.context().silence();  // Its threads go on when the App that it logged to has gone.
  static std::mutex mutex;
  static auto* const kept =
      new std::vector<Kept>;  // Not destroyed at the end of the process either.
  const std::lock_guard lock{mutex};
  kept->emplace_back(std::move(client), std::move(joins));
}

PartitionListPtr offset_list(const std::vector<OffsetCommit>& offsets) {
  PartitionListPtr list{rd_kafka_topic_partition_list_new(static_cast<int>(offsets.size()))};
  for (const auto& offset : offsets) {
    auto* entry = rd_kafka_topic_partition_list_add(list.get(), offset.input.topic.c_str(),
                                                    offset.input.partition);
    entry->offset = offset.offset;
    entry->metadata = strdup(offset.metadata.c_str());  // Freed with the list, by free().
    entry->metadata_size = offset.metadata.size();
  }
  return list;
}

// Whether the metadata is that of a member. librdkafka 2.0.2 tells in serialised form only.
bool names(const rd_kafka_consumer_group_metadata_t* group, const std::string& member) {
  void* raw = nullptr;
  std::size_t size = 0;
  const KafkaErrorPtr error{rd_kafka_consumer_group_metadata_write(group, &raw, &size)};
  if (error || raw == nullptr) return false;
  const bool found =
      std::string_view{static_cast<const char*>(raw), size}.find(member) != std::string_view::npos;
  rd_kafka_mem_free(nullptr, raw);
  return found;
}

PartitionListPtr empty_list() { return PartitionListPtr{rd_kafka_topic_partition_list_new(0)}; }

}  // namespace

void GroupMember::watch_requests(rd_kafka_conf_t* conf, GroupMember* self) {
  rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR);
  rd_kafka_conf_interceptor_add_on_new(conf, "millrace", on_new, self->joins_.get());
}

Result<std::unique_ptr<GroupMember>> GroupMember::create(const Config& config, KafkaLog log,
                                                         const std::vector<std::string>& topics) {
  std::unique_ptr<GroupMember> member{new GroupMember};
  ClientOptions options;
  options.role = ClientRole::kMembership;
  options.log = std::move(log);
  options.configure = [self = member.get()](rd_kafka_conf_t* conf) { watch_requests(conf, self); };
  auto client = create_client(config, std::move(options));
  if (!client) return client.error();
  member->client_ = *std::move(client);
  member->group_ = group_id(config, ClientRole::kMembership);
  rd_kafka_poll_set_consumer(member->client_.get());
  member->queue_.reset(rd_kafka_queue_get_consumer(member->client_.get()));
  member->topics_ = topics;
  if (auto status = member->subscribe(); !status.ok()) return status;
  return member;
}

GroupMember::~GroupMember() {
  close();
  rebalance_.reset();
  queue_.reset();
  // librdkafka before 2.3 ends the process when a client is destroyed between its first JoinGroup
  // and its first assignment (librdkafka issue 4312), and waits for ever for one that is stuck.
  // What remains of it is a few idle threads, until the process ends.
  if (is_stuck_ || (joins_->ever && !assigned_once_))
    keep_for_ever(std::move(client_), std::move(joins_));
}

Status GroupMember::subscribe() {
  const PartitionListPtr list{rd_kafka_topic_partition_list_new(static_cast<int>(topics_.size()))};
  for (const auto& topic : topics_) {
    rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
  }
  return kafka_status(rd_kafka_subscribe(client_.get(), list.get()), "cannot subscribe");
}

GroupEvent GroupMember::poll(std::chrono::milliseconds timeout) {
  EventPtr event{rd_kafka_queue_poll(queue_.get(), static_cast<int>(timeout.count()))};
  if (!event) return look_for_missing();
  switch (rd_kafka_event_type(event.get())) {
    case RD_KAFKA_EVENT_REBALANCE: {
      const bool assigned =
          rd_kafka_event_error(event.get()) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
      const bool lost = !assigned && rd_kafka_assignment_lost(client_.get()) != 0;
      GroupEvent result;
      result.kind = assigned ? GroupEvent::Kind::kAssigned
                    : lost   ? GroupEvent::Kind::kLost
                             : GroupEvent::Kind::kRevoked;
      result.partitions = partitions_of(rd_kafka_event_topic_partition_list(event.get()));
      rebalance_ = std::move(event);
      return result;
    }
    case RD_KAFKA_EVENT_ERROR: {
      const auto error = rd_kafka_event_error(event.get());
      GroupEvent result;
      result.error =
          kafka_status(error, "group membership", rd_kafka_event_error_string(event.get()),
                       {Access::on_group("Read", group_)});
      // A fatal error, such as a static member's fencing, comes under a code of its own.
      if (!kafka_fatal_status(client_.get(), "group membership").ok()) {
        result.kind = GroupEvent::Kind::kFatal;
        result.error = kafka_fatal_status(client_.get(), "group membership");
      } else if (is_forbidden_group(error)) {
        // librdkafka would ask again for ever, and the instance wait for an assignment.
        result.kind = GroupEvent::Kind::kFatal;
      } else if (is_unknown_topic(error) && assigned_once_) {
        // librdkafka goes on without the topic, and says so once.
        const auto now = std::chrono::steady_clock::now();
        if (!missing_) missing_ = Missing{now, now, result.error};
        client_.context().log(kSyslogWarning, "MEMBER",
                              result.error.message() + "; looking for it");
      } else {
        client_.context().log(kSyslogWarning, "MEMBER", result.error.message());
      }
      return result;
    }
    default:
      return {};
  }
}

// A broker that has just started may not know its topics yet. Without a source topic that has been
// deleted the instance would call itself ready with nothing to do.
GroupEvent GroupMember::look_for_missing() {
  const auto now = std::chrono::steady_clock::now();
  if (!missing_ || now - missing_->looked < kMissingLookInterval) return {};
  missing_->looked = now;
  bool all_known = true;
  for (const auto& topic : topics_) {
    const auto known = is_known(topic);
    // Brokers that are down have deleted nothing, and one of them may be the next to start.
    if (!known) missing_->since = now;
    all_known = all_known && known.value_or(false);
  }
  if (all_known) {
    missing_.reset();
  } else if (now - missing_->since >= kMissingMax) {
    auto error = std::move(missing_->error);
    missing_.reset();
    return {GroupEvent::Kind::kFatal, {}, std::move(error)};
  }
  return {};
}

// Whether a broker says that it has the topic; nullopt: none has answered.
std::optional<bool> GroupMember::is_known(const std::string& topic) const {
  const TopicPtr handle{rd_kafka_topic_new(client_.get(), topic.c_str(), nullptr)};
  const auto error = topic_metadata(client_.get(), handle.get(), kMissingLookTimeout).error;
  if (is_unknown_topic(error)) return false;
  return error == RD_KAFKA_RESP_ERR_NO_ERROR ? std::optional{true} : std::nullopt;
}

Status GroupMember::answer_assigned() {
  assigned_once_ = true;
  owner_ = member_id();
  // An empty list: the group keeps what it has given us apart from what this consumer fetches,
  // which is nothing.
  const KafkaErrorPtr error{rd_kafka_incremental_assign(client_.get(), empty_list().get())};
  rebalance_.reset();
  // Of a client that has failed for good librdkafka takes it for the answer to a revocation, and
  // goes on waiting for this one's.
  is_stuck_ = rd_kafka_fatal_error(client_.get(), nullptr, 0) != RD_KAFKA_RESP_ERR_NO_ERROR;
  return kafka_status(error.get(), "cannot answer an assignment");
}

Status GroupMember::answer_revoked() {
  joins_->under_way = true;  // A JoinGroup follows a revocation at once; waiting to see it leave
                             // would lose the race.
  const KafkaErrorPtr error{rd_kafka_incremental_unassign(client_.get(), empty_list().get())};
  rebalance_.reset();
  return kafka_status(error.get(), "cannot answer a revocation");
}

bool GroupMember::joining() const {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return joins_->under_way || now - joins_->heartbeat.load() < kJoinDelayMax;
}

std::string GroupMember::member_id() const {
  char* raw = rd_kafka_memberid(client_.get());
  if (raw == nullptr) return {};
  std::string id{raw};
  rd_kafka_mem_free(client_.get(), raw);
  return id;
}

bool GroupMember::is_member() const { return !owner_.empty() && member_id() == owner_; }

std::vector<Status> GroupMember::commit(const std::vector<OffsetCommit>& offsets) {
  const auto whole = commit_whole(offsets);
  // librdkafka gives the error of one partition to all that were committed with it.
  const auto code = kafka_code(whole);
  const bool one_by_one = offsets.size() > 1 && code != Code::kOk && code != Code::kUnavailable &&
                          code != Code::kFenced;
  std::vector<Status> results;
  for (const auto& offset : offsets) {
    if (one_by_one && joining()) {
      results.push_back(Status::unavailable("the group is rebalancing"));
      continue;
    }
    const auto error = one_by_one ? commit_whole({offset}) : whole;
    auto status = kafka_status(
        error, "cannot commit offsets of " + to_string(offset.input), {},
        {Access::on_group("Read", group_), Access::on_topic("Read", offset.input.topic)});
    // Definite: it must not hold up the commits of others. Not final: a broker that has just
    // started may not know the topic yet.
    if (is_unknown_topic(error)) status = Status::internal(status.message());
    results.push_back(std::move(status));
  }
  return results;
}

rd_kafka_resp_err_t GroupMember::commit_whole(const std::vector<OffsetCommit>& offsets) {
  const QueuePtr queue{rd_kafka_queue_new(client_.get())};
  const auto error = rd_kafka_commit_queue(client_.get(), offset_list(offsets).get(), queue.get(),
                                           nullptr, nullptr);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return error;
  const EventPtr event{rd_kafka_queue_poll(queue.get(), timeout_ms(kCommitMax))};
  return event ? rd_kafka_event_error(event.get()) : RD_KAFKA_RESP_ERR__TIMED_OUT;
}

Status GroupMember::send_offsets(Producer& producer, const std::vector<OffsetCommit>& offsets,
                                 std::chrono::milliseconds timeout) {
  const std::lock_guard hold{joins_->sending};
  if (joining()) return Status::unavailable("the group is rebalancing");
  // As it is now: each rebalance makes another generation.
  const GroupMetadataPtr self{rd_kafka_consumer_group_metadata(client_.get())};
  if (!names(self.get(), owner_)) return Status::unavailable("the membership is lost");
  return producer.send_offsets(offset_list(offsets).get(), self.get(),
                               {Access::on_group("Read", group_)}, timeout);
}

Result<std::vector<CommittedOffset>> GroupMember::committed(
    const std::vector<TopicPartition>& inputs, std::chrono::milliseconds timeout) {
  const PartitionListPtr list{rd_kafka_topic_partition_list_new(static_cast<int>(inputs.size()))};
  for (const auto& input : inputs) {
    rd_kafka_topic_partition_list_add(list.get(), input.topic.c_str(), input.partition);
  }
  const auto error =
      rd_kafka_committed(client_.get(), list.get(), static_cast<int>(timeout.count()));
  auto status = kafka_status(error, "cannot read committed offsets", {},
                             {Access::on_group("Describe", group_)});
  if (!status.ok()) return status;
  std::vector<CommittedOffset> result;
  for (int i = 0; i < list->cnt; ++i) {
    const auto& entry = list->elems[i];
    const auto& input = inputs[static_cast<std::size_t>(i)];
    status = kafka_status(entry.err, "cannot read the committed offset of " + to_string(input), {},
                          {Access::on_topic("Describe", input.topic)});
    if (!status.ok()) return status;
    CommittedOffset offset{input, std::nullopt, {}};
    if (entry.offset >= 0) offset.offset = entry.offset;
    if (entry.metadata != nullptr) {
      offset.metadata.assign(static_cast<const char*>(entry.metadata), entry.metadata_size);
    }
    result.push_back(std::move(offset));
  }
  return result;
}

// librdkafka waits for the answers to all rebalances, and while it closes takes none for that of an
// assignment.
void GroupMember::close() {
  if (closed_ || !client_) return;
  closed_ = true;
  if (rebalance_) answer_any(std::move(rebalance_));
  while (EventPtr event{rd_kafka_queue_poll(queue_.get(), 0)}) answer_any(std::move(event));
  const QueuePtr queue{rd_kafka_queue_new(client_.get())};
  const KafkaErrorPtr error{rd_kafka_consumer_close_queue(client_.get(), queue.get())};
  if (error) return;  // It has failed for good, and is no member.
  const auto deadline = std::chrono::steady_clock::now() + kCloseMax;
  while (rd_kafka_consumer_closed(client_.get()) == 0) {
    if (std::chrono::steady_clock::now() >= deadline) {
      is_stuck_ = true;
      return;
    }
    if (EventPtr event{rd_kafka_queue_poll(queue.get(), kCloseStepMs)})
      answer_any(std::move(event));
  }
}

void GroupMember::answer_any(EventPtr event) {
  if (rd_kafka_event_type(event.get()) != RD_KAFKA_EVENT_REBALANCE) return;
  const bool assigned = rd_kafka_event_error(event.get()) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
  rebalance_ = std::move(event);
  static_cast<void>(assigned ? answer_assigned() : answer_revoked());
}

}  // namespace millrace

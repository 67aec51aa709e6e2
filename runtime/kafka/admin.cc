// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/admin.h"

#include <array>
#include <span>
#include <utility>

#include "runtime/kafka/error_map.h"
#include "runtime/kafka/handles.h"
#include "runtime/kafka/topic_metadata.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;

// How much longer than the broker's own time-out an answer is waited for.
constexpr milliseconds kAnswerSlack{1000};

class KafkaAdmin final : public TopicAdmin {
 public:
  explicit KafkaAdmin(KafkaClient client) : client_(std::move(client)) {}

  Status ping(milliseconds timeout) override {
    auto all = topics(timeout);
    return all ? Status{} : all.error();
  }

  Result<std::string> cluster_id(milliseconds timeout) override {
    char* const id = rd_kafka_clusterid(client_.get(), timeout_ms(timeout));
    if (id == nullptr) {
      return explained(RD_KAFKA_RESP_ERR__TIMED_OUT, "cannot read the cluster id", {});
    }
    std::string copy{id};
    rd_kafka_mem_free(client_.get(), id);
    return copy;
  }

  Result<std::map<std::string, std::int32_t>> topics(milliseconds timeout) override {
    const rd_kafka_metadata_t* raw = nullptr;
    const auto error = rd_kafka_metadata(client_.get(), 1, nullptr, &raw, timeout_ms(timeout));
    const MetadataPtr metadata{raw};
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return explained(error, "cannot list topics", {});
    std::map<std::string, std::int32_t> counts;
    for (const auto& topic :
         std::span{metadata->topics, static_cast<std::size_t>(metadata->topic_cnt)}) {
      if (!is_unknown_topic(topic.err)) counts.emplace(topic.topic, topic.partition_cnt);
    }
    settle();
    return counts;
  }

  Result<std::optional<std::int32_t>> partition_count(const std::string& topic,
                                                      milliseconds timeout) override {
    const std::string what = "cannot read the metadata of topic " + topic;
    const TopicPtr handle{rd_kafka_topic_new(client_.get(), topic.c_str(), nullptr)};
    if (!handle) return kafka_status(rd_kafka_last_error(), what);
    const auto [error, partitions] = topic_metadata(client_.get(), handle.get(), timeout);
    if (is_unknown_topic(error)) return std::optional<std::int32_t>{};
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return explained(error, what, {Access::on_topic("Describe", topic)});
    }
    return std::optional{partitions};
  }

  Result<TopicCreation> create_topic(const TopicSpec& topic, milliseconds timeout) override {
    const std::string what = "cannot create topic " + topic.name;
    std::array<char, 512> text{};
    const NewTopicPtr wanted{rd_kafka_NewTopic_new(
        topic.name.c_str(), topic.partitions, topic.replication_factor, text.data(), text.size())};
    if (!wanted) return Status::invalid_argument(what + ": " + text.data());
    for (const auto& [name, value] : topic.configs) {
      const auto error = rd_kafka_NewTopic_set_config(wanted.get(), name.c_str(), value.c_str());
      if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return kafka_status(error, what);
    }
    rd_kafka_NewTopic_t* list = wanted.get();
    const EventPtr event =
        ask(RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout,
            [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
              rd_kafka_CreateTopics(client_.get(), &list, 1, options, queue);
            });
    if (Status status = failure(event.get(), what); !status.ok()) return status;
    std::size_t count = 0;
    const auto* const results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result(event.get()), &count);
    for (const auto* result : std::span{results, count}) {
      const auto error = rd_kafka_topic_result_error(result);
      if (error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) return TopicCreation::kAlreadyExists;
      if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_status(error, what, text_of(rd_kafka_topic_result_error_string(result)),
                            {Access::on_topic("Create", topic.name)});
      }
    }
    return TopicCreation::kCreated;
  }

  Result<std::map<std::string, std::string>> topic_configs(const std::string& topic,
                                                           milliseconds timeout) override {
    const std::string what = "cannot read the configuration of topic " + topic;
    const ConfigResourcePtr wanted{
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str())};
    rd_kafka_ConfigResource_t* list = wanted.get();
    const EventPtr event =
        ask(RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout,
            [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
              rd_kafka_DescribeConfigs(client_.get(), &list, 1, options, queue);
            });
    if (Status status = failure(event.get(), what); !status.ok()) return status;
    std::size_t count = 0;
    const auto* const results = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event.get()), &count);
    std::map<std::string, std::string> configs;
    for (const auto* result : std::span{results, count}) {
      if (const auto error = rd_kafka_ConfigResource_error(result);
          error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_status(error, what, text_of(rd_kafka_ConfigResource_error_string(result)),
                            {Access::on_topic("DescribeConfigs", topic)});
      }
      std::size_t entry_count = 0;
      const auto* const entries = rd_kafka_ConfigResource_configs(result, &entry_count);
      for (const auto* entry : std::span{entries, entry_count}) {
        const char* const value = rd_kafka_ConfigEntry_value(entry);
        if (value != nullptr) configs.emplace(rd_kafka_ConfigEntry_name(entry), value);
      }
    }
    return configs;
  }

  Status delete_topics(const std::vector<std::string>& topics, milliseconds timeout) override {
    if (topics.empty()) return {};
    std::vector<DeleteTopicPtr> owned;
    std::vector<rd_kafka_DeleteTopic_t*> list;
    for (const std::string& topic : topics) {
      owned.emplace_back(rd_kafka_DeleteTopic_new(topic.c_str()));
      list.push_back(owned.back().get());
    }
    const EventPtr event =
        ask(RD_KAFKA_ADMIN_OP_DELETETOPICS, timeout,
            [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
              rd_kafka_DeleteTopics(client_.get(), list.data(), list.size(), options, queue);
            });
    if (Status status = failure(event.get(), "cannot delete topics"); !status.ok()) return status;
    std::size_t count = 0;
    const auto* const results = rd_kafka_DeleteTopics_result_topics(
        rd_kafka_event_DeleteTopics_result(event.get()), &count);
    for (const auto* result : std::span{results, count}) {
      const auto error = rd_kafka_topic_result_error(result);
      if (error == RD_KAFKA_RESP_ERR_NO_ERROR || is_unknown_topic(error)) continue;
      const std::string name{rd_kafka_topic_result_name(result)};
      return kafka_status(error, "cannot delete topic " + name,
                          text_of(rd_kafka_topic_result_error_string(result)),
                          {Access::on_topic("Delete", name)});
    }
    return {};
  }

  Status delete_group(const std::string& group, milliseconds timeout) override {
    const std::string what = "cannot delete group " + group;
    const DeleteGroupPtr wanted{rd_kafka_DeleteGroup_new(group.c_str())};
    rd_kafka_DeleteGroup_t* list = wanted.get();
    const EventPtr event =
        ask(RD_KAFKA_ADMIN_OP_DELETEGROUPS, timeout,
            [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
              rd_kafka_DeleteGroups(client_.get(), &list, 1, options, queue);
            });
    if (Status status = failure(event.get(), what); !status.ok()) return status;
    std::size_t count = 0;
    const auto* const results = rd_kafka_DeleteGroups_result_groups(
        rd_kafka_event_DeleteGroups_result(event.get()), &count);
    for (const auto* result : std::span{results, count}) {
      const rd_kafka_error_t* const error = rd_kafka_group_result_error(result);
      if (error == nullptr || rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) {
        continue;
      }
      return kafka_status(error, what, {Access::on_group("Delete", group)});
    }
    return {};
  }

  Result<std::optional<std::vector<TopicPartition>>> group_assignment(
      const std::string& group, milliseconds timeout) override {
    const std::string what = "cannot describe group " + group;
    const char* list = group.c_str();
    const EventPtr event =
        ask(RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, timeout,
            [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
              rd_kafka_DescribeConsumerGroups(client_.get(), &list, 1, options, queue);
            });
    if (Status status = failure(event.get(), what); !status.ok()) return status;
    std::size_t count = 0;
    const auto* const results = rd_kafka_DescribeConsumerGroups_result_groups(
        rd_kafka_event_DescribeConsumerGroups_result(event.get()), &count);
    if (count != 1) return Status::internal(what + ": it is not in the answer");
    const rd_kafka_ConsumerGroupDescription_t* const found = results[0];
    if (const auto* error = rd_kafka_ConsumerGroupDescription_error(found); error != nullptr)
      return kafka_status(error, what, {Access::on_group("Describe", group)});
    if (rd_kafka_ConsumerGroupDescription_state(found) != RD_KAFKA_CONSUMER_GROUP_STATE_STABLE)
      return std::optional<std::vector<TopicPartition>>{};
    std::vector<TopicPartition> assigned;
    for (std::size_t m = 0; m < rd_kafka_ConsumerGroupDescription_member_count(found); ++m) {
      const auto* const partitions =
          rd_kafka_MemberAssignment_partitions(rd_kafka_MemberDescription_assignment(
              rd_kafka_ConsumerGroupDescription_member(found, m)));
      for (int i = 0; partitions != nullptr && i < partitions->cnt; ++i)
        assigned.push_back({partitions->elems[i].topic, partitions->elems[i].partition});
    }
    return std::optional{std::move(assigned)};
  }

 private:
  static std::string_view text_of(const char* text) { return text == nullptr ? "" : text; }

  // Sends one admin request on a queue of its own, so that calls of several threads do not mix.
  template <class Send>
  EventPtr ask(rd_kafka_admin_op_t operation, milliseconds timeout, Send send) {
    const AdminOptionsPtr options{rd_kafka_AdminOptions_new(client_.get(), operation)};
    std::array<char, 256> text{};
    rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout_ms(timeout), text.data(),
                                              text.size());
    if (operation == RD_KAFKA_ADMIN_OP_CREATETOPICS ||
        operation == RD_KAFKA_ADMIN_OP_DELETETOPICS) {
      // The controller answers when the change has reached the brokers, not only its own log.
      rd_kafka_AdminOptions_set_operation_timeout(options.get(), timeout_ms(timeout), text.data(),
                                                  text.size());
    }
    const QueuePtr queue{rd_kafka_queue_new(client_.get())};
    send(options.get(), queue.get());
    return EventPtr{rd_kafka_queue_poll(queue.get(), timeout_ms(timeout + kAnswerSlack))};
  }

  Status failure(rd_kafka_event_t* event, const std::string& what) {
    if (event == nullptr) return explained(RD_KAFKA_RESP_ERR__TIMED_OUT, what, {});
    const auto error = rd_kafka_event_error(event);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
      settle();
      return {};
    }
    if (kafka_code(error) == Code::kUnavailable) return explained(error, what, {});
    return kafka_status(error, what, text_of(rd_kafka_event_error_string(event)));
  }

  // The broker has answered: what was complained of before explains no later failure.
  void settle() {
    rd_kafka_poll(client_.get(), 0);
    client_.context().forget();
  }

  // A time-out says little; what librdkafka last complained of says why (a refused login, a name
  // that does not resolve), and decides whether trying again can help.
  Status explained(rd_kafka_resp_err_t error, const std::string& what, AccessList access) {
    rd_kafka_poll(client_.get(), 0);
    Status status = kafka_status(error, what, {}, access);
    const Status last = client_.context().last_error();
    if (last.ok() || status.code() != Code::kUnavailable) return status;
    return {last.code(), status.message() + "; " + last.message()};
  }

  KafkaClient client_;
};

}  // namespace

Result<std::unique_ptr<TopicAdmin>> create_admin(const Config& config, KafkaLog log) {
  ClientOptions options;
  options.role = ClientRole::kAdmin;
  options.log = std::move(log);
  auto client = create_client(config, std::move(options));
  if (!client) return client.error();
  return std::unique_ptr<TopicAdmin>{std::make_unique<KafkaAdmin>(std::move(*client))};
}

}  // namespace millrace

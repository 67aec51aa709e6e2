// SPDX-License-Identifier: Apache-2.0
#include "kafka_client.h"

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <thread>

namespace demo {
namespace {

constexpr int kAdminTimeoutMs = 30'000;
constexpr std::size_t kErrorBytes = 512;
// How long a broker may take to tell of a topic that it has created, and how often it is asked.
constexpr std::chrono::seconds kVisibleMax{30};
constexpr std::chrono::milliseconds kLookEvery{20};

struct DestroyQueue {
  void operator()(rd_kafka_queue_t* queue) const noexcept { rd_kafka_queue_destroy(queue); }
};
struct DestroyEvent {
  void operator()(rd_kafka_event_t* event) const noexcept { rd_kafka_event_destroy(event); }
};
struct DestroyNewTopic {
  void operator()(rd_kafka_NewTopic_t* topic) const noexcept { rd_kafka_NewTopic_destroy(topic); }
};
struct DestroyMetadata {
  void operator()(const rd_kafka_metadata_t* data) const noexcept {
    rd_kafka_metadata_destroy(data);
  }
};

// "": the brokers tell of all partitions of a topic, and of their leaders; else what is missing.
std::string missing_of(rd_kafka_t* client, const std::string& topic, int partitions) {
  constexpr int kAnswerTimeoutMs = 5000;
  constexpr int kAllTopics = 1;  // Asked for by name, a topic that is not there may be created.
  const rd_kafka_metadata_t* answer = nullptr;
  const auto error = rd_kafka_metadata(client, kAllTopics, nullptr, &answer, kAnswerTimeoutMs);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return rd_kafka_err2str(error);
  const std::unique_ptr<const rd_kafka_metadata_t, DestroyMetadata> metadata{answer};
  for (int i = 0; i < metadata->topic_cnt; ++i) {
    const auto& found = metadata->topics[i];
    if (topic != found.topic) continue;
    if (found.err != RD_KAFKA_RESP_ERR_NO_ERROR) return rd_kafka_err2str(found.err);
    int led = 0;
    for (int p = 0; p < found.partition_cnt; ++p) led += found.partitions[p].leader >= 0 ? 1 : 0;
    if (led == partitions) return {};
    return std::to_string(led) + " of " + std::to_string(partitions) + " partitions have a leader";
  }
  return "it is not among the broker's topics";
}

// A broker answers that a topic is created before it tells of it to everyone who asks.
void wait_until_visible(rd_kafka_t* client, const std::string& topic, int partitions,
                        const std::string& bootstrap_servers) {
  const auto deadline = std::chrono::steady_clock::now() + kVisibleMax;
  for (;;) {
    const std::string missing = missing_of(client, topic, partitions);
    if (missing.empty()) return;
    if (std::chrono::steady_clock::now() >= deadline) {
      throw std::runtime_error("the topic " + topic + " was created on " + bootstrap_servers +
                               " but cannot be used after " + std::to_string(kVisibleMax.count()) +
                               " s: " + missing + "; look at the broker's log, then start again");
    }
    std::this_thread::sleep_for(kLookEvery);
  }
}

}  // namespace

Client make_producer(const std::map<std::string, std::string>& properties,
                     void (*on_delivery)(rd_kafka_t*, const rd_kafka_message_t*, void*),
                     void* opaque) {
  char error[kErrorBytes];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  for (const auto& [name, value] : properties) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), error, sizeof error) !=
        RD_KAFKA_CONF_OK) {
      rd_kafka_conf_destroy(conf);
      throw std::runtime_error(error);
    }
  }
  rd_kafka_conf_set_opaque(conf, opaque);
  if (on_delivery != nullptr) rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  Client client{rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error)};
  if (client) return client;
  rd_kafka_conf_destroy(conf);
  throw std::runtime_error(error);
}

void create_topics(const std::string& bootstrap_servers, const std::vector<std::string>& topics,
                   int partitions) {
  const Client client = make_producer({{"bootstrap.servers", bootstrap_servers}});
  const std::unique_ptr<rd_kafka_queue_t, DestroyQueue> queue{rd_kafka_queue_new(client.get())};
  for (const auto& name : topics) {
    char error[kErrorBytes];
    constexpr int kBrokersDefault = -1;
    const std::unique_ptr<rd_kafka_NewTopic_t, DestroyNewTopic> topic{
        rd_kafka_NewTopic_new(name.c_str(), partitions, kBrokersDefault, error, sizeof error)};
    if (!topic) throw std::runtime_error(error);
    rd_kafka_NewTopic_t* one = topic.get();
    rd_kafka_CreateTopics(client.get(), &one, 1, nullptr, queue.get());
    const std::unique_ptr<rd_kafka_event_t, DestroyEvent> event{
        rd_kafka_queue_poll(queue.get(), kAdminTimeoutMs)};
    const std::string what = "cannot create the topic " + name + " on " + bootstrap_servers + ": ";
    if (!event) throw std::runtime_error(what + "no answer");
    if (rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR) {
      throw std::runtime_error(what + rd_kafka_event_error_string(event.get()));
    }
    std::size_t count = 0;
    const auto* results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result(event.get()), &count);
    if (count != 1) throw std::runtime_error(what + "no result");
    if (const auto code = rd_kafka_topic_result_error(results[0]); code != 0) {
      throw std::runtime_error(what + rd_kafka_err2str(code));
    }
  }
  for (const auto& name : topics) {
    wait_until_visible(client.get(), name, partitions, bootstrap_servers);
  }
}

}  // namespace demo

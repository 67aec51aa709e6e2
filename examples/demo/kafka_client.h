// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <librdkafka/rdkafka.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

/// The demo's own producer and admin calls, straight on librdkafka: it plays the world around an
/// application, which Millrace is no client library for.
namespace demo {

struct DestroyClient {
  void operator()(rd_kafka_t* client) const noexcept { rd_kafka_destroy(client); }
};
using Client = std::unique_ptr<rd_kafka_t, DestroyClient>;

/// A producer with these properties. `opaque` is passed to `on_delivery`, which is called from
/// rd_kafka_poll and rd_kafka_flush. Throws std::runtime_error.
Client make_producer(const std::map<std::string, std::string>& properties,
                     void (*on_delivery)(rd_kafka_t*, const rd_kafka_message_t*, void*) = nullptr,
                     void* opaque = nullptr);

/// Creates topics on a broker and waits until it tells of them, half a minute at most for each.
/// Throws std::runtime_error, also for one that exists.
void create_topics(const std::string& bootstrap_servers, const std::vector<std::string>& topics,
                   int partitions);

}  // namespace demo

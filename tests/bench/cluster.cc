// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/cluster.h"

#include <array>
#include <chrono>
#include <iostream>
#include <utility>

#include "runtime/kafka/admin.h"

namespace millrace::bench {
namespace {

constexpr std::chrono::seconds kAdminTimeout{30};

// librdkafka's own complaints, which explain a time-out.
void complain(int level, std::string_view, std::string_view text) {
  constexpr int kWarning = 4;
  if (level <= kWarning) std::cerr << "millrace_bench: " << text << '\n';
}

template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw StatusError(result.error());
  return *std::move(result);
}

std::unique_ptr<TopicAdmin> admin(const Options& options) {
  return value_or_throw(create_admin(make_config(options), &complain));
}

bool writes_output(const std::string& workload) { return workload != "floor-consume"; }

}  // namespace

Config make_config(const Options& options) {
  Config config = Config::from_env();
  config.application_id = options.application_id;
  config.bootstrap_servers = options.bootstrap;
  config.state_dir = options.state_dir;
  config.engine = options.store;
  config.threads = options.threads;
  config.guarantee =
      options.guarantee == "exactly_once" ? Guarantee::kExactlyOnce : Guarantee::kAtLeastOnce;
  if (options.commit_interval) config.commit_interval = options.commit_interval;
  if (!config.sources.contains("log_level")) config.log.level = LogLevel::kWarn;
  return config;
}

std::int64_t records_in(const Options& options, const std::string& topic) {
  const auto partitions = value_or_throw(admin(options)->partition_count(topic, kAdminTimeout));
  if (!partitions) {
    throw StatusError(
        Status::invalid_argument("there is no topic " + topic + " on " + options.bootstrap));
  }
  ClientOptions reader;
  reader.role = ClientRole::kAdmin;
  reader.log = &complain;
  const auto client = value_or_throw(create_client(make_config(options), std::move(reader)));
  std::int64_t sum = 0;
  for (std::int32_t partition = 0; partition < *partitions; ++partition) {
    std::int64_t low = 0;
    std::int64_t high = 0;
    const auto error = rd_kafka_query_watermark_offsets(client.get(), topic.c_str(), partition,
                                                        &low, &high, timeout_ms(kAdminTimeout));
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
      throw StatusError(Status::unavailable("cannot ask for the ends of " + topic + ": " +
                                            rd_kafka_err2str(error)));
    }
    sum += high - low;
  }
  return sum;
}

Cluster::Cluster(const Options& options) : options_(options) {
  if (options.workload == "count" || options.workload == "restore") {
    topics_.push_back(options.application_id + "-" + kStore + "-changelog");
  }
  if (!writes_output(options.workload)) return;
  const auto creation = value_or_throw(admin(options)->create_topic(
      {.name = options.output, .partitions = options.partitions, .configs = {}}, kAdminTimeout));
  if (creation == TopicCreation::kCreated) topics_.push_back(options.output);
}

Cluster::~Cluster() {
  if (options_.keep) return;
  const auto say = [](const Status& status) {
    if (!status.ok()) std::cerr << "millrace_bench: left behind: " << status.message() << '\n';
  };
  try {
    const auto cleaner = admin(options_);
    say(cleaner->delete_topics(topics_, kAdminTimeout));
    say(cleaner->delete_group(options_.application_id, kAdminTimeout));
  } catch (const std::exception& error) {
    std::cerr << "millrace_bench: topics and group left behind: " << error.what() << '\n';
  }
}

}  // namespace millrace::bench

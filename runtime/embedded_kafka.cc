// SPDX-License-Identifier: Apache-2.0
#include "millrace/embedded_kafka.h"

#include "millrace/error.h"
#include "runtime/kafka/embedded_broker.h"

namespace millrace {

EmbeddedKafka::EmbeddedKafka() {
  auto broker = EmbeddedBroker::start();
  if (!broker) throw StatusError(broker.error());
  broker_ = *std::move(broker);
}

EmbeddedKafka::~EmbeddedKafka() = default;

const std::string& EmbeddedKafka::bootstrap_servers() const { return broker_->bootstrap_servers(); }

void EmbeddedKafka::create_topic(const std::string& name, std::int32_t partitions) {
  if (auto status = broker_->create_topic(name, partitions); !status.ok())
    throw StatusError(status);
}

}  // namespace millrace

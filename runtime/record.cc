// SPDX-License-Identifier: Apache-2.0
#include "millrace/record.h"

#include "millrace/context.h"

namespace millrace {

std::string to_string(const Origin& origin) {
  return std::string{origin.topic} + '-' + std::to_string(origin.partition) + '@' +
         std::to_string(origin.offset);
}

TaskContext::SinkIndex Context::reaction_sink(const std::string& topic) const {
  for (const auto& reaction : *reactions_) {
    if (reaction.topic == topic) return reaction.sink;
  }
  throw SinkTopicNotFoundError(topic, to_string(task_->origin()) + ", operator " + *operator_name_);
}

}  // namespace millrace

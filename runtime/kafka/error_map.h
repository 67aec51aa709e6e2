// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "millrace/error.h"

namespace millrace {

/// What a call needs to be allowed, in the words of Kafka's ACLs.
struct Access {
  enum class Resource : std::uint8_t { kTopic, kGroup };

  static Access on_topic(std::string_view operation, std::string_view topic) {
    return {operation, Resource::kTopic, std::string{topic}};
  }
  static Access on_group(std::string_view operation, std::string_view group) {
    return {operation, Resource::kGroup, std::string{group}};
  }

  std::string_view operation;  ///< "Read", "Write", "Describe", "Create", "DescribeConfigs", ...
  Resource resource;
  std::string name;
};

/// What a failed call needed. The hint of an ACL error names the one of the denied kind.
using AccessList = std::initializer_list<Access>;

/// The one place that judges librdkafka's error codes: the caller's next move for `error`.
///
/// Anything that voids a commit of the current ownership epoch is kFenced, REBALANCE_IN_PROGRESS
/// included; transport, timeouts, leaders and coordinators are kUnavailable; offsets that the log
/// does not have are kCorruption; what a person must correct (ACL, topic, size, property) is
/// kInvalidArgument; fatal and unknown ones are kInternal.
[[nodiscard]] Code kafka_code(rd_kafka_resp_err_t error);

/// Status of `error`, ok for RD_KAFKA_RESP_ERR_NO_ERROR.
///
/// The message is "`what`: text (NAME)". `what` says what failed with which object, such as
/// "cannot commit offsets of orders-3". `detail` replaces librdkafka's text where it is better than
/// the code's own. Of an ACL error it ends with the missing ACL and the line that grants it; where
/// `access` has none of the denied kind, with the operations that the code can mean; of a value
/// that brokers refuse, with the setting that it comes from.
[[nodiscard]] Status kafka_status(rd_kafka_resp_err_t error, std::string_view what,
                                  std::string_view detail = {}, AccessList access = {});

/// The same for what reads or writes a topic that was there at the start: kUnavailable where a
/// broker does not know it now.
[[nodiscard]] Status kafka_status_of_known_topic(rd_kafka_resp_err_t error, std::string_view what,
                                                 std::string_view detail, AccessList access);

/// The same for an error object, ok for null. Does not take ownership.
[[nodiscard]] Status kafka_status(const rd_kafka_error_t* error, std::string_view what,
                                  AccessList access = {});

/// The fatal error that ended `client` (it must be destroyed and made anew), ok if there is none.
[[nodiscard]] Status kafka_fatal_status(rd_kafka_t* client, std::string_view what);

/// What a failed call of the transactional API demands.
enum class TransactionMove : std::uint8_t {
  kNone,      ///< It did not fail.
  kRetry,     ///< The same call again, with the same arguments.
  kAbort,     ///< Abort, roll back, replay.
  kRecreate,  ///< Destroy the producer and make a new one (also for errors of no class).
};

/// Judges a result of the transactional API; null is success.
[[nodiscard]] TransactionMove transaction_move(const rd_kafka_error_t* error);

/// True if the topic or partition does not exist (or may not be seen).
[[nodiscard]] bool is_unknown_topic(rd_kafka_resp_err_t error);

/// True if what has arrived is damaged: another attempt may bring it whole, but none is made by
/// itself.
[[nodiscard]] bool is_damaged(rd_kafka_resp_err_t error);

/// True if the principal may not be a member of the group: no attempt to join will succeed.
[[nodiscard]] bool is_forbidden_group(rd_kafka_resp_err_t error);

}  // namespace millrace

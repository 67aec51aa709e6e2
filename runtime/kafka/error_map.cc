// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/error_map.h"

#include <array>
#include <string>

namespace millrace {
namespace {

// Codes that librdkafka 2.0.2's header does not name yet.
constexpr int kLogTruncation = -139;
constexpr int kUnknownTopicId = 100;
constexpr int kFencedMemberEpoch = 110;
constexpr int kStaleMemberEpoch = 113;

bool is_fenced(int error) {
  switch (error) {
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST:
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    // The coordinator aborted or forgot the transaction: its commit is void, the next producer may
    // start afresh.
    case RD_KAFKA_RESP_ERR_INVALID_TXN_STATE:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING:
    case kFencedMemberEpoch:
    case kStaleMemberEpoch:
      return true;
    default:
      return false;
  }
}

bool is_unavailable(int error) {
  switch (error) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__UNKNOWN_BROKER:
    case RD_KAFKA_RESP_ERR__NODE_UPDATE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
    case RD_KAFKA_RESP_ERR__ISR_INSUFF:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__WAIT_CACHE:
    case RD_KAFKA_RESP_ERR__IN_PROGRESS:
    case RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR__INTR:
    case RD_KAFKA_RESP_ERR__RETRY:
    case RD_KAFKA_RESP_ERR__OUTDATED:
    // A checksum that fails is mostly the network's doing; the task's restart limit bounds it.
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_STALE_CTRL_EPOCH:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
    case RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS:
    case RD_KAFKA_RESP_ERR_OPERATION_NOT_ATTEMPTED:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_REASSIGNMENT_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP:
    case RD_KAFKA_RESP_ERR_FETCH_SESSION_ID_NOT_FOUND:
    case RD_KAFKA_RESP_ERR_INVALID_FETCH_SESSION_EPOCH:
    case RD_KAFKA_RESP_ERR_LISTENER_NOT_FOUND:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_STALE_BROKER_EPOCH:
    case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_PREFERRED_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED:
    case RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT:
    case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
    case kUnknownTopicId:
      return true;
    default:
      return false;
  }
}

bool is_invalid_argument(int error) {
  switch (error) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__UNKNOWN_GROUP:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PROTOCOL:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR__NOT_CONFIGURED:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR__NO_OFFSET:
    case RD_KAFKA_RESP_ERR__NOENT:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
    case RD_KAFKA_RESP_ERR_TOPIC_DELETION_DISABLED:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS:
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
    case RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND:
    case RD_KAFKA_RESP_ERR_GROUP_SUBSCRIBED_TO_TOPIC:
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_EXPIRED:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
    case RD_KAFKA_RESP_ERR_SECURITY_DISABLED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICA_ASSIGNMENT:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_INVALID_REQUEST:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
      return true;
    default:
      return false;
  }
}

std::string grant(const Access& access) {
  const std::string resource = access.resource == Access::Resource::kTopic ? "topic" : "group";
  const std::string operation{access.operation};
  return "; the ACL that allows " + operation + " on " + resource + ' ' + access.name +
         " is missing (or another denies it), grant it: kafka-acls.sh --bootstrap-server HOST:PORT"
         " --add --allow-principal User:NAME --operation " +
         operation + " --" + resource + ' ' + access.name;
}

// Ends the message of an error that a grant or a setting mends; empty for others.
std::string hint(rd_kafka_resp_err_t error, AccessList access) {
  const auto granted = [&](Access::Resource resource, const std::string& otherwise) {
    for (const Access& needed : access) {
      if (needed.resource == resource) return grant(needed);
    }
    return "; access must be granted: " + otherwise;
  };
  switch (error) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
      return granted(Access::Resource::kTopic,
                     "Read (inputs), Write (outputs) and Describe on the topic");
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
      return granted(Access::Resource::kGroup, "Read on the group");
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
      return "; access must be granted: Create (topics) or IdempotentWrite (brokers before 2.8) on "
             "the cluster";
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
      return "; access must be granted: Write and Describe on the transactional id";
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
      return "; set kafka.transaction.timeout.ms to at most the brokers' "
             "transaction.max.timeout.ms";
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
      return "; set kafka.session.timeout.ms to between the brokers' group.min.session.timeout.ms "
             "and "
             "group.max.session.timeout.ms";
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
      return "; another process has the same group_instance_id (give each its own), or this one "
             "has "
             "joined again after its session had timed out";
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
      return "; a transaction lasted longer than kafka.transaction.timeout.ms, or another process "
             "writes under the same transactional id: a group_instance_id given twice, or a copy "
             "of the state directory (its file INSTANCE)";
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
      return "; set replication_factor (or the store's own) to at most the number of brokers";
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
      return "; set topic.NAME (or the store's own) to what the brokers know";
    default:
      return {};
  }
}

Status status_of(Code code, rd_kafka_resp_err_t error, std::string_view what,
                 std::string_view detail, AccessList access) {
  std::string message{what};
  message += ": ";
  message += detail.empty() ? std::string_view{rd_kafka_err2str(error)} : detail;
  message += " (";
  message += rd_kafka_err2name(error);
  message += ')';
  message += hint(error, access);
  return {code, std::move(message)};
}

}  // namespace

Code kafka_code(rd_kafka_resp_err_t error) {
  const int number = error;
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return Code::kOk;
  if (is_fenced(number)) return Code::kFenced;
  if (is_unavailable(number)) return Code::kUnavailable;
  if (is_invalid_argument(number)) return Code::kInvalidArgument;
  switch (number) {
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case kLogTruncation:
      return Code::kCorruption;
    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
      return Code::kCancelled;
    default:
      return Code::kInternal;
  }
}

Status kafka_status(rd_kafka_resp_err_t error, std::string_view what, std::string_view detail,
                    AccessList access) {
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  return status_of(kafka_code(error), error, what, detail, access);
}

Status kafka_status_of_known_topic(rd_kafka_resp_err_t error, std::string_view what,
                                   std::string_view detail, AccessList access) {
  auto status = kafka_status(error, what, detail, access);
  if (!is_unknown_topic(error)) return status;
  return Status::unavailable(status.message() +
                             "; it was there at the start: a broker that has just started may not "
                             "know it yet, or it was deleted");
}

Status kafka_status(const rd_kafka_error_t* error, std::string_view what, AccessList access) {
  if (error == nullptr) return {};
  const rd_kafka_resp_err_t number = rd_kafka_error_code(error);
  Code code = kafka_code(number);
  // The flags know more than the number: a time-out may be resumable, a fatal error never is. What
  // a grant or a setting mends stays that.
  if (rd_kafka_error_is_fatal(error) != 0) {
    if (code != Code::kFenced && code != Code::kInvalidArgument) code = Code::kInternal;
  } else if (rd_kafka_error_is_retriable(error) != 0) {
    code = Code::kUnavailable;
  }
  return status_of(code, number, what, rd_kafka_error_string(error), access);
}

Status kafka_fatal_status(rd_kafka_t* client, std::string_view what) {
  std::array<char, 512> text{};
  const rd_kafka_resp_err_t error = rd_kafka_fatal_error(client, text.data(), text.size());
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  const Code code = is_fenced(error) ? Code::kFenced : Code::kInternal;
  return status_of(code, error, what, text.data(), {});
}

TransactionMove transaction_move(const rd_kafka_error_t* error) {
  if (error == nullptr) return TransactionMove::kNone;
  if (rd_kafka_error_is_fatal(error) != 0) return TransactionMove::kRecreate;
  if (rd_kafka_error_txn_requires_abort(error) != 0) return TransactionMove::kAbort;
  if (rd_kafka_error_is_retriable(error) != 0) return TransactionMove::kRetry;
  return TransactionMove::kRecreate;
}

bool is_unknown_topic(rd_kafka_resp_err_t error) {
  return error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
         error == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || error == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

bool is_damaged(rd_kafka_resp_err_t error) {
  return error == RD_KAFKA_RESP_ERR__BAD_MSG || error == RD_KAFKA_RESP_ERR_INVALID_MSG;
}

bool is_forbidden_group(rd_kafka_resp_err_t error) {
  return error == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
}

}  // namespace millrace

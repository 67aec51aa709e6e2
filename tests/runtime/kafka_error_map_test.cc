// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/error_map.h"

#include <boost/test/unit_test.hpp>
#include <span>
#include <string>
#include <vector>

#include "runtime/kafka/client_config.h"
#include "runtime/kafka/handles.h"

namespace millrace {
namespace {

struct Mapping {
  rd_kafka_resp_err_t error;
  Code code;
};

BOOST_AUTO_TEST_SUITE(kafka_error_map)

BOOST_AUTO_TEST_CASE(codes_name_the_next_move) {
  const std::vector<Mapping> table{
      {RD_KAFKA_RESP_ERR_NO_ERROR, Code::kOk},
      {RD_KAFKA_RESP_ERR__TRANSPORT, Code::kUnavailable},
      {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, Code::kUnavailable},
      {RD_KAFKA_RESP_ERR__RESOLVE, Code::kUnavailable},
      {RD_KAFKA_RESP_ERR__TIMED_OUT, Code::kUnavailable},
      {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, Code::kUnavailable},
      {RD_KAFKA_RESP_ERR__QUEUE_FULL, Code::kUnavailable},
      {RD_KAFKA_RESP_ERR_NOT_COORDINATOR, Code::kUnavailable},
      {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, Code::kUnavailable},
      {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, Code::kUnavailable},
      {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, Code::kUnavailable},
      {RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, Code::kUnavailable},
      {RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT, Code::kUnavailable},
      {RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, Code::kFenced},
      {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, Code::kFenced},
      {RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, Code::kFenced},
      {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, Code::kFenced},
      {RD_KAFKA_RESP_ERR__FENCED, Code::kFenced},
      {RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, Code::kFenced},
      {RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST, Code::kFenced},
      {RD_KAFKA_RESP_ERR__AUTHENTICATION, Code::kInvalidArgument},
      {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, Code::kInvalidArgument},
      {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, Code::kInvalidArgument},
      {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, Code::kInvalidArgument},
      {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, Code::kInvalidArgument},
      {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, Code::kInvalidArgument},
      {RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE, Code::kInvalidArgument},
      {RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, Code::kInvalidArgument},
      {RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, Code::kCorruption},
      {RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, Code::kCorruption},
      {RD_KAFKA_RESP_ERR__PURGE_QUEUE, Code::kCancelled},
      {RD_KAFKA_RESP_ERR__DESTROY, Code::kCancelled},
      {RD_KAFKA_RESP_ERR__FATAL, Code::kInternal},
      {RD_KAFKA_RESP_ERR_UNKNOWN, Code::kInternal},
      {RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, Code::kInternal},
  };
  for (const auto& [error, code] : table) {
    BOOST_TEST((kafka_code(error) == code), rd_kafka_err2name(error)
                                                << " is " << to_string(kafka_code(error)));
  }
}

// Every error but success has a code, whatever librdkafka's version knows.
BOOST_AUTO_TEST_CASE(no_error_is_taken_for_success) {
  const rd_kafka_err_desc* errors = nullptr;
  std::size_t count = 0;
  rd_kafka_get_err_descs(&errors, &count);
  for (const auto& error : std::span{errors, count}) {
    if (error.desc == nullptr || error.code == RD_KAFKA_RESP_ERR_NO_ERROR) continue;
    BOOST_TEST((kafka_code(error.code) != Code::kOk), error.name);
    BOOST_TEST(!kafka_status(error.code, "x").ok());
  }
}

BOOST_AUTO_TEST_CASE(messages_say_what_then_why_with_the_name) {
  BOOST_TEST(kafka_status(RD_KAFKA_RESP_ERR_NO_ERROR, "cannot commit").ok());
  BOOST_TEST(kafka_status(RD_KAFKA_RESP_ERR__TIMED_OUT, "cannot commit orders-3").message() ==
             "cannot commit orders-3: Local: Timed out (_TIMED_OUT)");
  BOOST_TEST(kafka_status(RD_KAFKA_RESP_ERR__SSL, "cannot connect", "bad certificate").message() ==
             "cannot connect: bad certificate (_SSL)");
}

BOOST_AUTO_TEST_CASE(acl_errors_name_the_missing_acl_and_the_line_that_grants_it) {
  const AccessList access{Access::on_group("Read", "bank"), Access::on_topic("Write", "orders")};
  const std::string tool = "kafka-acls.sh --bootstrap-server HOST:PORT --add --allow-principal ";
  const auto topic =
      kafka_status(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "cannot write", {}, access);
  BOOST_TEST(topic.message().find("allows Write on topic orders is missing") != std::string::npos);
  BOOST_TEST(topic.message().ends_with(tool + "User:NAME --operation Write --topic orders"));
  const auto group =
      kafka_status(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, "cannot join", {}, access);
  BOOST_TEST(group.message().ends_with(tool + "User:NAME --operation Read --group bank"));

  const auto general = kafka_status(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, "cannot join");
  BOOST_TEST(general.message().ends_with("; access must be granted: Read on the group"));
  const auto cluster =
      kafka_status(RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, "cannot create", {}, access);
  BOOST_TEST(cluster.message().find("on the cluster") != std::string::npos);
  const auto other = kafka_status(RD_KAFKA_RESP_ERR__TIMED_OUT, "cannot write", {}, access);
  BOOST_TEST(other.message().find("grant") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(values_that_brokers_refuse_name_the_setting_that_they_come_from) {
  const auto names = [](rd_kafka_resp_err_t error, const std::string& setting) {
    return kafka_status(error, "cannot start").message().find("set " + setting) !=
           std::string::npos;
  };
  BOOST_TEST(names(RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, "kafka.transaction.timeout.ms"));
  BOOST_TEST(names(RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, "kafka.session.timeout.ms"));
  BOOST_TEST(names(RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, "replication_factor"));
  BOOST_TEST(names(RD_KAFKA_RESP_ERR_INVALID_CONFIG, "topic.NAME"));
}

// Two processes that end each other's transactions in turn: nothing else tells the user why.
BOOST_AUTO_TEST_CASE(a_fenced_producer_names_what_may_have_fenced_it) {
  for (const auto error : {RD_KAFKA_RESP_ERR__FENCED, RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
                           RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH}) {
    const auto text = kafka_status(error, "cannot commit").message();
    BOOST_TEST(text.find("kafka.transaction.timeout.ms") != std::string::npos, text);
    BOOST_TEST(text.find("group_instance_id given twice") != std::string::npos, text);
    BOOST_TEST(text.find("INSTANCE") != std::string::npos, text);
  }
}

BOOST_AUTO_TEST_CASE(error_objects_keep_their_text) {
  const rd_kafka_error_t* const none = nullptr;
  BOOST_TEST(kafka_status(none, "cannot begin").ok());
  BOOST_TEST((transaction_move(none) == TransactionMove::kNone));
  const KafkaErrorPtr error{
      rd_kafka_error_new(RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, "generation %d is over", 7)};
  const Status status = kafka_status(error.get(), "cannot send offsets");
  BOOST_TEST((status.code() == Code::kFenced));
  BOOST_TEST(status.message() == "cannot send offsets: generation 7 is over (ILLEGAL_GENERATION)");
  // No class at all counts as fatal.
  BOOST_TEST((transaction_move(error.get()) == TransactionMove::kRecreate));
}

// Another client would only be refused again.
BOOST_AUTO_TEST_CASE(what_a_grant_mends_stays_that_where_librdkafka_gives_up) {
  Config config;
  config.application_id = "app";
  config.bootstrap_servers = "127.0.0.1:1";
  ClientOptions options;
  options.role = ClientRole::kMembership;
  const auto client = create_client(config, std::move(options));
  BOOST_REQUIRE(client);
  rd_kafka_test_fatal_error(client->get(), RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
                            "denied");
  const QueuePtr queue{rd_kafka_queue_new(client->get())};
  const KafkaErrorPtr error{rd_kafka_consumer_close_queue(client->get(), queue.get())};
  BOOST_REQUIRE(error != nullptr);
  BOOST_REQUIRE(rd_kafka_error_is_fatal(error.get()) != 0);
  const Status status = kafka_status(error.get(), "cannot go on");
  BOOST_TEST((status.code() == Code::kInvalidArgument), status.message());
  BOOST_TEST(status.message().find("on the transactional id") != std::string::npos,
             status.message());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/client_config.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/kafka/property_rules.h"

namespace millrace {
namespace {

constexpr ClientRole kRoles[] = {ClientRole::kMembership, ClientRole::kData, ClientRole::kRestore,
                                 ClientRole::kProducer, ClientRole::kAdmin};

Config bank() {
  Config config;
  config.application_id = "bank";
  config.bootstrap_servers = "127.0.0.1:1";  // Nobody listens there; clients do not mind at first.
  return config;
}

// What remains once each property is applied in order.
std::map<std::string, std::string> in_force(const Config& config, ClientRole role,
                                            std::string_view transactional_id = {}) {
  std::map<std::string, std::string> last;
  for (const auto& [name, value] : client_properties(config, role, transactional_id)) {
    last[name] = value;
  }
  return last;
}

std::string value_in(rd_kafka_t* client, const char* property) {
  char text[256];
  std::size_t size = sizeof text;
  if (rd_kafka_conf_get(rd_kafka_conf(client), property, text, &size) != RD_KAFKA_CONF_OK)
    return {};
  return text;
}

BOOST_AUTO_TEST_SUITE(kafka_client_config)

BOOST_AUTO_TEST_CASE(a_number_is_the_one_that_is_set_or_else_the_default) {
  Config config = bank();
  const auto heartbeat = [&] {
    return number_property(config, ClientRole::kMembership, "heartbeat.interval.ms");
  };
  BOOST_TEST(heartbeat() == 3'000);  // librdkafka's.
  BOOST_TEST(number_property(config, ClientRole::kProducer, "queue.buffering.max.messages") ==
             500'000);  // Ours.
  config.kafka["heartbeat.interval.ms"] = "1000";
  BOOST_TEST(heartbeat() == 1'000);
  config.kafka["heartbeat.interval.ms"] = "soon";  // A problem of its own; see Config::problems().
  BOOST_TEST(heartbeat() == 3'000);
}

BOOST_AUTO_TEST_CASE(each_role_has_its_properties) {
  const Config config = bank();
  auto membership = in_force(config, ClientRole::kMembership);
  BOOST_TEST(membership["group.id"] == "bank");
  BOOST_TEST(membership["client.id"] == "bank-membership");
  BOOST_TEST(membership["partition.assignment.strategy"] == "cooperative-sticky");
  BOOST_TEST(membership["enable.auto.commit"] == "false");
  BOOST_TEST(membership["enable.auto.offset.store"] == "false");
  BOOST_TEST(membership["isolation.level"] == "read_committed");
  BOOST_TEST(membership["socket.timeout.ms"] == "10000");
  BOOST_TEST(membership["enable.sparse.connections"] == "false");
  BOOST_TEST(!membership.contains("group.instance.id"));

  auto data = in_force(config, ClientRole::kData);
  BOOST_TEST(data["group.id"] == "bank.data");
  BOOST_TEST(data["auto.offset.reset"] == "error");
  BOOST_TEST(data["isolation.level"] == "read_committed");
  BOOST_TEST(data["enable.partition.eof"] == "false");

  auto restore = in_force(config, ClientRole::kRestore);
  BOOST_TEST(restore["group.id"] == "bank.restore");
  BOOST_TEST(restore["check.crcs"] == "true");
  BOOST_TEST(restore["enable.partition.eof"] == "true");
  BOOST_TEST(restore["isolation.level"] == "read_committed");

  auto producer = in_force(config, ClientRole::kProducer);
  BOOST_TEST(producer["enable.idempotence"] == "true");
  BOOST_TEST(producer["acks"] == "all");
  BOOST_TEST(!producer.contains("group.id"));
  BOOST_TEST(!producer.contains("transactional.id"));
  BOOST_TEST(!producer.contains("retry.backoff.ms"));

  BOOST_TEST(in_force(config, ClientRole::kAdmin)["allow.auto.create.topics"] == "false");
}

BOOST_AUTO_TEST_CASE(a_transactional_producer_retries_fast_and_gives_up_after_ten_seconds) {
  Config config = bank();
  config.guarantee = Guarantee::kExactlyOnce;
  auto producer = in_force(config, ClientRole::kProducer, "bank:eu:0");
  BOOST_TEST(producer["transactional.id"] == "bank:eu:0");
  BOOST_TEST(producer["transaction.timeout.ms"] == "10000");
  BOOST_TEST(producer["retry.backoff.ms"] == "10");
}

// Two producers of one id end each other's transactions.
BOOST_AUTO_TEST_CASE(no_two_instances_share_a_transactional_id_however_they_are_named) {
  const auto id = [](const std::string& application, const std::string& instance) {
    Config config = bank();
    config.application_id = application;
    config.group_instance_id = instance;
    BOOST_TEST(config.problems().empty());
    return make_transactional_id(config, "not used");
  };
  BOOST_TEST(id("orders", "eu-1") == "orders:eu-1:0");
  for (const std::string between : {"-", ".", "_"}) {
    BOOST_TEST(id("orders", "eu" + between + "1") != id("orders" + between + "eu", "1"));
  }
  // What separates the two cannot be a part of either.
  Config config = bank();
  config.application_id = "orders:eu";
  config.group_instance_id = "eu:1";
  BOOST_TEST(config.problems().size() == 2U);
  // Without static membership it is the state directory's.
  BOOST_TEST(make_transactional_id(bank(), "1f3a") == "bank:1f3a:0");
}

BOOST_AUTO_TEST_CASE(user_properties_win_over_defaults_but_not_over_ours) {
  Config config = bank();
  config.group_instance_id = "node-1";
  config.kafka = {{"linger.ms", "50"}, {"fetch.wait.max.ms", "7"}, {"enable.idempotence", "false"}};
  BOOST_TEST(in_force(config, ClientRole::kProducer)["linger.ms"] == "50");
  BOOST_TEST(in_force(config, ClientRole::kProducer)["enable.idempotence"] == "true");
  BOOST_TEST(in_force(config, ClientRole::kData)["fetch.wait.max.ms"] == "7");
  BOOST_TEST(in_force(config, ClientRole::kMembership)["group.instance.id"] == "node-1");
}

BOOST_AUTO_TEST_CASE(user_properties_go_only_to_clients_that_have_them) {
  Config config = bank();
  config.kafka = {{"session.timeout.ms", "6000"},   // consumers
                  {"batch.num.messages", "5000"},   // producers
                  {"socket.timeout.ms", "12000"}};  // both
  BOOST_TEST(in_force(config, ClientRole::kMembership).contains("session.timeout.ms"));
  BOOST_TEST(!in_force(config, ClientRole::kMembership).contains("batch.num.messages"));
  BOOST_TEST(!in_force(config, ClientRole::kProducer).contains("session.timeout.ms"));
  BOOST_TEST(in_force(config, ClientRole::kProducer).contains("batch.num.messages"));
  for (const ClientRole role : kRoles) {
    BOOST_TEST(in_force(config, role).contains("socket.timeout.ms"));
  }
}

// librdkafka takes a consumer's property for a producer, ignores it and logs a line: none may come.
BOOST_AUTO_TEST_CASE(every_role_makes_a_client_without_a_warning) {
  Config config = bank();
  config.kafka = {{"session.timeout.ms", "6000"}, {"batch.num.messages", "5000"}};
  for (const ClientRole role : kRoles) {
    std::mutex mutex;
    std::vector<std::string> warnings;
    ClientOptions options;
    options.role = role;
    options.log = [&](int, std::string_view facility, std::string_view text) {
      const std::lock_guard lock{mutex};
      if (facility == "CONFWARN") warnings.emplace_back(text);
    };
    auto client = create_client(config, std::move(options));
    BOOST_REQUIRE_MESSAGE(client, (client ? std::string{} : client.error().message()));
    BOOST_TEST(value_in(client->get(), "client.id") == "bank-" + std::string{to_string(role)});
    client->reset();
    BOOST_TEST(warnings.empty(), to_string(role) << ": " << (warnings.empty() ? "" : warnings[0]));
  }
}

BOOST_AUTO_TEST_CASE(a_refused_property_is_named_without_its_secret) {
  Config config = bank();
  config.kafka = {{"no.such.property", "1"}};
  auto unknown = create_client(config, {});
  BOOST_REQUIRE(!unknown);
  BOOST_TEST((unknown.error().code() == Code::kInvalidArgument));
  BOOST_TEST(unknown.error().message().find("no.such.property") != std::string::npos);

  config.kafka = {{"security.protocol", "ssl"}, {"ssl.key.pem", "hunter2"}};
  auto secret = create_client(config, {});
  BOOST_REQUIRE(!secret);
  BOOST_TEST(secret.error().message().find("hunter2") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(contradictions_are_found_when_the_client_is_made) {
  Config config = bank();
  config.kafka = {{"message.timeout.ms", "60000"}, {"transaction.timeout.ms", "10000"}};
  ClientOptions options;
  options.role = ClientRole::kProducer;
  options.transactional_id = "bank:eu:0";
  auto client = create_client(config, std::move(options));
  BOOST_REQUIRE(!client);
  BOOST_TEST((client.error().code() == Code::kInvalidArgument));
  BOOST_TEST(client.error().message().find("message.timeout.ms") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_table_of_properties_is_librdkafka_s_own) {
  BOOST_TEST((property_scope("session.timeout.ms") == PropertyScope::kConsumer));
  BOOST_TEST((property_scope("linger.ms") == PropertyScope::kProducer));
  BOOST_TEST((property_scope("security.protocol") == PropertyScope::kBoth));
  BOOST_TEST((property_scope("compression.type") == PropertyScope::kProducer));
  BOOST_TEST(!property_scope("no.such.property").has_value());
  BOOST_TEST(!property_scope("Property").has_value());
  BOOST_TEST(property_names().size() > 150U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace

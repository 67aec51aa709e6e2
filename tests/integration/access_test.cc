// SPDX-License-Identifier: Apache-2.0
//
// A broker that checks access: what the application may not do with its changelog, it says, with
// the ACL that is missing.
#include <librdkafka/rdkafka.h>

#include <array>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <future>
#include <stdexcept>

#include "millrace/millrace.h"
#include "tests/integration/count_app.h"

namespace millrace::testing {
namespace {

using std::chrono::seconds;

// Everybody may do what no ACL mentions. Clients, the broker itself among them, are anonymous.
constexpr auto kAuthorizer =
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
    "allow.everyone.if.no.acl.found=true\n";
constexpr auto kAnonymous = "User:ANONYMOUS";
constexpr auto kCluster = "kafka-cluster";
constexpr int kTimeoutMs = 20'000;

// Makes and removes ACLs, and waits until the broker has them.
class Acls {
 public:
  explicit Acls(CountJob& job) : job_(job) {
    ConfPtr conf{rd_kafka_conf_new()};
    std::array<char, 512> text{};
    rd_kafka_conf_set(conf.get(), "bootstrap.servers", job.kafka.address().c_str(), text.data(),
                      text.size());
    client_.reset(rd_kafka_new(RD_KAFKA_PRODUCER, conf.get(), text.data(), text.size()));
    BOOST_REQUIRE_MESSAGE(client_, text.data());
    static_cast<void>(conf.release());
  }

  // All operations on the resource but one.
  void forbid(rd_kafka_ResourceType_t type, const std::string& name,
              rd_kafka_AclOperation_t operation) {
    create(type, name, RD_KAFKA_ACL_OPERATION_ALL, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW);
    create(type, name, operation, RD_KAFKA_ACL_PERMISSION_TYPE_DENY);
    settle();
  }

  // Everything is allowed again.
  void forget(rd_kafka_ResourceType_t type, const std::string& name) {
    std::array<char, 512> text{};
    rd_kafka_AclBindingFilter_t* filter = rd_kafka_AclBindingFilter_new(
        type, name.c_str(), RD_KAFKA_RESOURCE_PATTERN_LITERAL, nullptr, nullptr,
        RD_KAFKA_ACL_OPERATION_ANY, RD_KAFKA_ACL_PERMISSION_TYPE_ANY, text.data(), text.size());
    BOOST_REQUIRE_MESSAGE(filter != nullptr, text.data());
    const QueuePtr queue{rd_kafka_queue_new(client_.get())};
    rd_kafka_DeleteAcls(client_.get(), &filter, 1, nullptr, queue.get());
    rd_kafka_AclBinding_destroy(filter);
    const EventPtr event{rd_kafka_queue_poll(queue.get(), kTimeoutMs)};
    BOOST_REQUIRE(event != nullptr);
    BOOST_REQUIRE_EQUAL(rd_kafka_event_error(event.get()), RD_KAFKA_RESP_ERR_NO_ERROR);
    settle();
  }

 private:
  void create(rd_kafka_ResourceType_t type, const std::string& name,
              rd_kafka_AclOperation_t operation, rd_kafka_AclPermissionType_t permission) {
    std::array<char, 512> text{};
    rd_kafka_AclBinding_t* acl =
        rd_kafka_AclBinding_new(type, name.c_str(), RD_KAFKA_RESOURCE_PATTERN_LITERAL, kAnonymous,
                                "*", operation, permission, text.data(), text.size());
    BOOST_REQUIRE_MESSAGE(acl != nullptr, text.data());
    const QueuePtr queue{rd_kafka_queue_new(client_.get())};
    rd_kafka_CreateAcls(client_.get(), &acl, 1, nullptr, queue.get());
    rd_kafka_AclBinding_destroy(acl);
    const EventPtr event{rd_kafka_queue_poll(queue.get(), kTimeoutMs)};
    BOOST_REQUIRE(event != nullptr);
    std::size_t count = 0;
    const auto* const results =
        rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(event.get()), &count);
    BOOST_REQUIRE_EQUAL(count, 1U);
    BOOST_REQUIRE(rd_kafka_acl_result_error(results[0]) == nullptr);
  }

  // The metadata log is one: a topic made after an ACL is seen after it.
  void settle() {
    const std::string topic = unique_name("it-after-acl");
    job_.kafka.create_topic(topic, 1);
    BOOST_REQUIRE(wait_until([&] { return job_.kafka.partitions(topic) == 1; }, seconds{20}));
    job_.kafka.delete_topics({topic});
  }

  CountJob& job_;
  ClientPtr client_;
};

bool names(const std::string& text, const std::string& operation, const std::string& topic) {
  const bool named =
      text.find("the ACL that allows " + operation + " on topic " + topic + " is missing") !=
          std::string::npos &&
      text.find("kafka-acls.sh ") != std::string::npos &&
      text.find("--operation " + operation + " --topic " + topic) != std::string::npos;
  BOOST_TEST(named, text);
  return named;
}

// What the App dies of once it runs.
std::string end_of(App& app) {
  BOOST_TEST(!app.wait_for(AppState::kStopped, seconds{40}));
  BOOST_TEST((app.state() == AppState::kError));
  return app.error();
}

BOOST_AUTO_TEST_SUITE(access)

BOOST_AUTO_TEST_CASE(a_changelog_one_may_not_use_is_an_error_that_names_the_missing_acl) {
  OwnBroker broker{kAuthorizer};
  {
    CountJob job{1, broker.address()};
    Acls acls{job};
    acls.forbid(RD_KAFKA_RESOURCE_TOPIC, job.changelog, RD_KAFKA_ACL_OPERATION_DESCRIBE);
    LogLines log;
    App app{count_topology(job), count_config(job, "one", log)};
    const auto problems = app.check();
    BOOST_REQUIRE(problems.size() == 1U);
    names(problems[0], "Describe", job.changelog);
    BOOST_CHECK_EXCEPTION(app.start(), StatusError, [&](const StatusError& error) {
      return error.code() == "invalid_argument" && names(error.what(), "Describe", job.changelog);
    });
    acls.forget(RD_KAFKA_RESOURCE_TOPIC, job.changelog);
  }
  {
    CountJob job{1, broker.address()};
    Acls acls{job};
    acls.forbid(RD_KAFKA_RESOURCE_TOPIC, job.changelog, RD_KAFKA_ACL_OPERATION_CREATE);
    acls.forbid(RD_KAFKA_RESOURCE_BROKER, kCluster, RD_KAFKA_ACL_OPERATION_CREATE);
    LogLines log;
    App app{count_topology(job), count_config(job, "one", log)};
    BOOST_CHECK_EXCEPTION(app.start(), StatusError, [&](const StatusError& error) {
      return error.code() == "invalid_argument" && names(error.what(), "Create", job.changelog);
    });
    BOOST_TEST(job.kafka.partitions(job.changelog) == 0);
    acls.forget(RD_KAFKA_RESOURCE_BROKER, kCluster);
  }
  {
    // Only the warnings about the changelog need this one.
    CountJob job{1, broker.address()};
    Acls acls{job};
    acls.forbid(RD_KAFKA_RESOURCE_TOPIC, job.changelog, RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS);
    LogLines log;
    App app{count_topology(job), count_config(job, "one", log)};
    app.start();
    names(log.text(), "DescribeConfigs", job.changelog);
    BOOST_TEST(app.wait_for(AppState::kRunning, seconds{30}));
  }
  {
    // Nothing of what could not be written counts: with the ACL all is there once.
    CountJob job{1, broker.address()};
    Acls acls{job};
    acls.forbid(RD_KAFKA_RESOURCE_TOPIC, job.changelog, RD_KAFKA_ACL_OPERATION_WRITE);
    LogLines log;
    {
      App app{count_topology(job), count_config(job, "one", log)};
      app.start();
      BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
      job.produce(100, 10);
      names(end_of(app), "Write", job.changelog);
    }
    BOOST_TEST(job.kafka.committed(job.application, job.input)[0].offset.value_or(-1) == 0);
    acls.forget(RD_KAFKA_RESOURCE_TOPIC, job.changelog);
    {
      App app{count_topology(job), count_config(job, "one", log)};
      app.start();
      BOOST_REQUIRE(job.wait_until_processed());
    }
    BOOST_TEST(job.error_in_changelog() == "");

    acls.forbid(RD_KAFKA_RESOURCE_TOPIC, job.changelog, RD_KAFKA_ACL_OPERATION_READ);
    job.wipe("one");
    {
      App app{count_topology(job), count_config(job, "one", log)};
      app.start();
      names(end_of(app), "Read", job.changelog);
    }
    acls.forget(RD_KAFKA_RESOURCE_TOPIC, job.changelog);
    App app{count_topology(job), count_config(job, "one", log)};
    app.start();
    BOOST_REQUIRE(app.wait_for(AppState::kRunning, seconds{30}));
    BOOST_TEST(difference(job.expected, stored_counts(app)) == "");
  }
}

BOOST_AUTO_TEST_CASE(a_group_one_may_not_join_ends_the_app_and_names_the_missing_acl) {
  OwnBroker broker{kAuthorizer};
  CountJob job{1, broker.address()};
  Acls acls{job};
  acls.forbid(RD_KAFKA_RESOURCE_GROUP, job.application, RD_KAFKA_ACL_OPERATION_READ);
  LogLines log;
  {
    App app{count_topology(job), count_config(job, "one", log)};
    app.start();
    const std::string error = end_of(app);
    BOOST_TEST(error.find("the ACL that allows Read on group " + job.application + " is missing") !=
                   std::string::npos,
               error);
  }
  acls.forget(RD_KAFKA_RESOURCE_GROUP, job.application);
  App app{count_topology(job), count_config(job, "one", log)};
  app.start();
  BOOST_TEST(app.wait_for(AppState::kRunning, seconds{30}));
}

// Two tasks begin again at once, and the offsets of one may not be read any more.
BOOST_AUTO_TEST_CASE(offsets_one_may_not_read_fail_their_task_and_keep_no_other_from_starting) {
  OwnBroker broker{kAuthorizer};
  CountJob job{1, broker.address()};
  const std::string forbidden = job.application + "-forbidden";
  job.kafka.create_topic(forbidden, 1);
  std::atomic<int> waiting = 0;
  std::atomic<int> failures = 0;
  std::promise<void> release;
  const auto fail_once = [&, released = release.get_future().share()](const auto&) {
    ++waiting;
    released.wait();
    if (++failures <= 2) throw std::runtime_error("not now");
    return true;
  };
  Topology topology;
  for (const auto& topic : {job.input, forbidden})
    topology.stream(Topic<Bytes, Bytes>{topic})
        .filter(fail_once)
        .to(Topic<Bytes, Bytes>{job.output});
  LogLines log;
  auto config = count_config(job, "one", log);
  config.threads = 2;  // Both wait.
  config.on_task_failure = TaskFailurePolicy::kPark;
  App app{topology, config};
  app.start();
  for (const auto& topic : {job.input, forbidden}) job.kafka.produce(topic, {{"a", "v"}});
  const bool both = wait_until([&] { return waiting == 2; }, seconds{30});
  Acls acls{job};
  acls.forbid(RD_KAFKA_RESOURCE_TOPIC, forbidden, RD_KAFKA_ACL_OPERATION_DESCRIBE);
  release.set_value();
  BOOST_TEST_REQUIRE(both, log.text());
  BOOST_TEST(job.wait_until_processed(seconds{30}), log.text());
  BOOST_TEST(
      wait_until([&] { return metric(app.metrics_text(), "millrace_task_failures_total") == 3; },
                 seconds{30}),
      log.text());
  names(log.text(), "Describe", forbidden);
  BOOST_TEST(occurrences(log.text(), "it is parked") == 1U, log.text());
  BOOST_TEST(occurrences(log.text(), "trying again") == 0U, log.text());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing

// SPDX-License-Identifier: Apache-2.0
//
// The consumer by which a process is a member of its group, on a real broker.
#include "runtime/kafka/group_member.h"

#include <boost/test/unit_test.hpp>
#include <set>

#include "tests/support/kafka_client.h"
#include "tests/support/process.h"

namespace millrace::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int32_t kPartitions = 3;

struct Member {
  Member() {
    config.application_id = unique_name("member");
    config.bootstrap_servers = kafka.address();
    topic = config.application_id + "-in";
    kafka.create_topic(topic, kPartitions);
    auto created = GroupMember::create(config, {}, {topic});
    BOOST_REQUIRE(bool{created});
    member = *std::move(created);
  }

  ~Member() {
    member->close();
    kafka.delete_topics({topic});
  }

  void join() {
    BOOST_REQUIRE(wait_until(
        [&] {
          const auto event = member->poll(milliseconds{10});
          if (event.kind != GroupEvent::Kind::kAssigned) return false;
          assigned = event.partitions;
          return member->answer_assigned().ok();
        },
        seconds{60}));
    BOOST_REQUIRE(wait_until([&] { return !member->joining(); }, seconds{10}));
  }

  KafkaClientForTests kafka;
  Config config;
  std::string topic;
  std::unique_ptr<GroupMember> member;
  std::vector<TopicPartition> assigned;
};

BOOST_FIXTURE_TEST_SUITE(group_member, Member)

// A broker takes 4,096 bytes of metadata with an offset (offset.metadata.max.bytes).
BOOST_AUTO_TEST_CASE(a_partition_whose_commit_is_refused_does_not_refuse_the_others) {
  join();
  BOOST_REQUIRE(assigned.size() == std::size_t{kPartitions});
  const auto results = member->commit({{{topic, 0}, 1, "first"},
                                       {{topic, 1}, 2, std::string(5'000, 'x')},
                                       {{topic, 2}, 3, "third"}});
  BOOST_REQUIRE(results.size() == std::size_t{kPartitions});
  BOOST_TEST(results[0].ok(), results[0].message());
  BOOST_TEST(!results[1].ok());
  BOOST_TEST(results[1].message().find(topic + "-1") != std::string::npos, results[1].message());
  BOOST_TEST(results[2].ok(), results[2].message());
  const auto committed = kafka.committed(config.application_id, topic);
  BOOST_REQUIRE(committed.size() == std::size_t{kPartitions});
  BOOST_TEST(committed[0].offset.value_or(-1) == 1);
  BOOST_TEST(!committed[1].offset.has_value());
  BOOST_TEST(committed[2].offset.value_or(-1) == 3);
  BOOST_TEST(committed[2].metadata == "third");
}

BOOST_AUTO_TEST_CASE(a_group_tells_what_its_members_have_been_assigned) {
  join();
  const auto found = kafka.admin().group_assignment(config.application_id, seconds{10});
  BOOST_REQUIRE(bool{found});
  BOOST_REQUIRE(found->has_value());
  const auto& partitions = **found;
  BOOST_TEST((std::set<TopicPartition>{partitions.begin(), partitions.end()} ==
              std::set<TopicPartition>{{topic, 0}, {topic, 1}, {topic, 2}}));
  member->close();
  const auto empty = kafka.admin().group_assignment(config.application_id, seconds{10});
  BOOST_REQUIRE(bool{empty});
  BOOST_TEST(!empty->has_value());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing

// SPDX-License-Identifier: Apache-2.0
#include "runtime/changelog_configs.h"

#include <boost/test/unit_test.hpp>

#include "millrace/test_driver.h"
#include "runtime/clock_record.h"
#include "runtime/task_plan.h"

namespace {

using namespace millrace;
using std::chrono::milliseconds;

const KeyLayout kWindow = KeyLayout::window(milliseconds{10}, milliseconds{1000}, false);
const KeyLayout kSession = KeyLayout::session(milliseconds{1000});
const KeyLayout kVersioned = KeyLayout::versioned(milliseconds{1000});

BOOST_AUTO_TEST_SUITE(changelog_configs)

// KF-24
BOOST_AUTO_TEST_CASE(each_kind_has_its_cleanup_and_retention) {
  auto configs = millrace::changelog_configs({});
  BOOST_TEST(configs["cleanup.policy"] == "compact");
  BOOST_TEST(configs["retention.ms"] == "-1");
  BOOST_TEST(configs["min.compaction.lag.ms"] == "600000");
  for (const auto& layout : {kWindow, kSession}) {
    configs = millrace::changelog_configs(layout);
    BOOST_TEST(configs["cleanup.policy"] == "compact,delete");
    BOOST_TEST(configs["retention.ms"] == "86401000");
    BOOST_TEST(configs["min.compaction.lag.ms"] == "600000");
  }
  configs = millrace::changelog_configs(kVersioned);
  BOOST_TEST(configs["cleanup.policy"] == "compact");
  BOOST_TEST(configs["retention.ms"] == "-1");
  BOOST_TEST(configs["min.compaction.lag.ms"] == "86401000");
  for (const auto& layout : {KeyLayout{}, kWindow, kSession, kVersioned}) {
    configs = millrace::changelog_configs(layout);
    BOOST_TEST(configs["message.timestamp.type"] == "CreateTime");
    BOOST_TEST(configs["segment.bytes"] == "52428800");
    BOOST_TEST(!changelog_warning("t", layout, configs).has_value());
  }
}

BOOST_AUTO_TEST_CASE(what_would_lose_state_is_warned_of) {
  BOOST_TEST(changelog_warning("t", {}, {{"cleanup.policy", "compact,delete"}}).has_value());
  BOOST_TEST(changelog_warning("t", kVersioned, {{"cleanup.policy", "delete"}}).has_value());
  BOOST_TEST(!changelog_warning("t", kWindow, {{"cleanup.policy", "compact"}}).has_value());
  BOOST_TEST(
      !changelog_warning("t", kWindow, {{"cleanup.policy", "delete"}, {"retention.ms", "-1"}})
           .has_value());
  BOOST_TEST(
      changelog_warning("t", kWindow, {{"cleanup.policy", "delete"}, {"retention.ms", "999"}})
          .has_value());
  BOOST_TEST(changelog_warning("t", kVersioned, {{"min.compaction.lag.ms", "999"}}).has_value());
  BOOST_TEST(!changelog_warning("t", kSession, {{"min.compaction.lag.ms", "999"}}).has_value());
  // As Kafka Streams makes them (durability, Compaction).
  BOOST_TEST(
      changelog_warning("t", {}, {{"cleanup.policy", "compact"}, {"min.compaction.lag.ms", "0"}})
          .has_value());
  BOOST_TEST(!changelog_warning("t", kWindow,
                                {{"cleanup.policy", "delete"}, {"min.compaction.lag.ms", "0"}})
                  .has_value());
}

StoreSpec store_with(const ChangelogOptions& changelog) {
  return {StoreOptions{"accounts"}.changelog(changelog), &value_ops<std::int64_t>(),
          &key_ops<std::string>(), KeyLayout{}};
}

// KF-21, KF-22, KF-13
BOOST_AUTO_TEST_CASE(
    what_a_store_says_of_its_changelog_wins_over_the_config_and_that_over_defaults) {
  Config config;
  config.application_id = "bank";
  config.replication_factor = 3;
  config.changelog_topic_configs = {{"segment.bytes", "1"}, {"retention.ms", "2"}};

  auto spec = changelog_spec(config, store_with({}), 8);
  BOOST_TEST(spec.name == "bank-accounts-changelog");
  BOOST_TEST(spec.partitions == 8);
  BOOST_TEST(spec.replication_factor == 3);
  BOOST_TEST(spec.configs["segment.bytes"] == "1");
  BOOST_TEST(spec.configs["retention.ms"] == "2");
  BOOST_TEST(spec.configs["cleanup.policy"] == "compact");
  BOOST_TEST(may_create_changelog(config, "accounts"));

  const auto own =
      store_with({.topic = "ledger",
                  .replication_factor = -1,
                  .topic_configs = {{"segment.bytes", "9"}, {"cleanup.policy", "delete"}},
                  .auto_create = false});
  spec = changelog_spec(config, own, 8);
  BOOST_TEST(spec.name == "ledger");
  BOOST_TEST(spec.replication_factor == -1);
  BOOST_TEST(spec.configs["segment.bytes"] == "9");
  BOOST_TEST(spec.configs["retention.ms"] == "2");
  BOOST_TEST(spec.configs["cleanup.policy"] == "delete");
  BOOST_TEST(!may_create_changelog(config, own.options));
  config.auto_create_topics = false;
  BOOST_TEST(!may_create_changelog(config, "accounts"));
  BOOST_TEST(may_create_changelog(
      config, StoreOptions{"accounts"}.changelog(ChangelogOptions{.auto_create = true})));
}

BOOST_AUTO_TEST_CASE(stores_that_start_empty_are_warned_of) {
  BOOST_TEST(!starts_empty_warning("accounts").has_value());
  const auto unlogged = starts_empty_warning(StoreOptions{"accounts"}.no_changelog());
  BOOST_REQUIRE(unlogged.has_value());
  BOOST_TEST(unlogged->find("accounts has no changelog") != std::string::npos);
  const auto unread = starts_empty_warning(
      StoreOptions{"accounts"}.changelog(ChangelogOptions{.skip_restoration = true}));
  BOOST_REQUIRE(unread.has_value());
  BOOST_TEST(unread->find("accounts skips restoration") != std::string::npos);
}

// KF-22
BOOST_AUTO_TEST_CASE(names_and_numbers_that_no_broker_would_take_are_refused) {
  const auto store = [](const ChangelogOptions& changelog) {
    Topology{}.store<std::string, std::int64_t>(StoreOptions{"accounts"}.changelog(changelog));
  };
  BOOST_CHECK_NO_THROW(store({.topic = std::string(249, 'x'), .replication_factor = 32767}));
  for (const std::string& topic : {std::string(250, 'x'), std::string{"a b"}, std::string{".."}})
    BOOST_CHECK_THROW(store({.topic = topic}), TopologyError);
  for (const int factor : {-2, 0, 32768})
    BOOST_CHECK_THROW(store({.replication_factor = factor}), TopologyError);
}

// Reference: durability, B6 (b) and B7.
BOOST_AUTO_TEST_CASE(a_topics_compaction_lag_counts_up_to_ours_and_ours_where_it_has_none) {
  const auto lag = [](const std::string& text) {
    return min_compaction_lag({{"min.compaction.lag.ms", text}});
  };
  BOOST_TEST(lag("20000").count() == 20'000);
  BOOST_TEST(lag("9223372036854775807").count() == INT64_MAX);
  for (const std::string none : {"0", "", "x"}) BOOST_TEST(lag(none).count() == 0);
  BOOST_TEST(min_compaction_lag({}).count() == 0);
  BOOST_TEST(protected_time(lag("20000")).count() == 20'000);
  for (const std::string longer_or_none : {"600001", "9223372036854775807", "0"})
    BOOST_TEST(protected_time(lag(longer_or_none)).count() == 600'000);
}

BOOST_AUTO_TEST_CASE(a_tables_topic_that_deletes_by_age_is_warned_of) {
  const auto warning = [](const std::map<std::string, std::string>& configs) {
    return table_topic_warning("rows", "users", configs).value_or("");
  };
  BOOST_TEST(warning({}) == "");
  BOOST_TEST(warning({{"cleanup.policy", "compact"}}) == "");
  for (const std::string policy : {"delete", "compact,delete"}) {
    const std::string text = warning({{"cleanup.policy", policy}});
    BOOST_TEST(text.find("topic users is the changelog of table rows") != std::string::npos);
    BOOST_TEST(text.find("cleanup.policy=" + policy) != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(a_changelog_that_is_another_topic_of_the_topology_is_refused) {
  const Topic<std::string, std::int64_t> in{"in"};
  const Topic<std::string, std::int64_t> out{"out"};
  const auto start = [&](const std::string& changelog) {
    Topology topology;
    auto stream = topology.stream(in);
    stream.to(out);
    stream.group_by_key().count("first");
    stream.group_by_key().count(
        StoreOptions{"second"}.changelog(ChangelogOptions{.topic = changelog}));
    const TestDriver driver{topology};
  };
  BOOST_CHECK_NO_THROW(start("test-third-changelog"));
  for (const std::string name : {"in", "out", "test-first-changelog"}) {
    BOOST_CHECK_EXCEPTION(start(name), TopologyError, [&](const TopologyError& error) {
      return std::string{error.what()}.find("'" + name + "'") != std::string::npos;
    });
  }
}

// KF-13
BOOST_AUTO_TEST_CASE(a_changelog_name_too_long_for_kafka_is_refused_with_the_stores_name) {
  Topology topology;
  const Topic<std::string, std::int64_t> in{"in"};
  topology.stream(in).group_by_key().count(std::string(100, 's'));
  topology.graph()->freeze();
  check_changelog_topics(*topology.graph(), std::string(138, 'a'));  // 249 characters.
  BOOST_CHECK_EXCEPTION(check_changelog_topics(*topology.graph(), std::string(139, 'a')),
                        TopologyError, [](const TopologyError& error) {
                          const std::string what = error.what();
                          return what.find("store '" + std::string(100, 's') + "'") !=
                                     std::string::npos &&
                                 what.find("250 characters") != std::string::npos;
                        });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace

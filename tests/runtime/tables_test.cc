// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>

#include "millrace/test_driver.h"

namespace {

using namespace millrace;

const Topic<std::string, std::int64_t> numbers{"numbers"};
const Topic<std::string, std::int64_t> middle{"middle"};
const Topic<std::string, std::int64_t> out{"out"};

using Pairs = std::vector<std::pair<std::string, std::int64_t>>;

Pairs read(TestDriver& driver, const Topic<std::string, std::int64_t>& topic) {
  Pairs pairs;
  for (const auto& record : driver.output(topic).read_all())
    pairs.emplace_back(*record.key, record.value.value_or(-1));
  return pairs;
}

// Puts what it sees into the store of the very table it stands behind, and keys beside it.
class Meddler final : public Processor<std::string, std::int64_t, std::string, std::int64_t> {
 public:
  void process(const Record<std::string, std::int64_t>& record, Context& context) override {
    if (record.key().starts_with("seen-")) return;
    auto store = context.store<std::string, std::int64_t>("counts");
    for (int i = 0; i < 50; ++i)
      store.put("seen-" + record.key() + std::to_string(i), record.value());
  }
};

BOOST_AUTO_TEST_SUITE(tables)

BOOST_AUTO_TEST_CASE(a_table_hands_on_at_the_commit_once_per_key_in_order_of_first_change) {
  Topology topology;
  topology.stream(numbers).group_by_key().count("counts").to_stream().to(out);
  TestDriver driver{topology, {.commit_every_record = false}};
  for (const char* key : {"b", "a", "b", "c", "b"})
    driver.input(numbers).pipe(key, 1, from_millis(7));
  BOOST_TEST(driver.output(out).read_all().empty());
  driver.commit();
  const auto written = driver.output(out).read_all();
  BOOST_REQUIRE(written.size() == 3U);
  BOOST_TEST(*written[0].key == "b");
  BOOST_TEST(*written[0].value == 3);
  BOOST_TEST(*written[1].key == "a");
  BOOST_TEST(*written[2].key == "c");
  BOOST_TEST(to_millis(written[0].timestamp) == 7);  // KF-41
  driver.commit();
  BOOST_TEST(driver.output(out).read_all().empty());
  driver.input(numbers).pipe("a", 1, from_millis(3));
  driver.commit();
  const auto late = driver.output(out).read_all();
  BOOST_REQUIRE(late.size() == 1U);
  BOOST_TEST(to_millis(late[0].timestamp) == 7);  // As new as the newest record in it.
}

BOOST_AUTO_TEST_CASE(without_cache_or_by_option_every_update_is_handed_on) {
  for (const bool by_option : {true, false}) {
    Topology topology;
    StoreOptions store{"counts"};
    if (by_option) store.forward_every_update();
    topology.stream(numbers).group_by_key().count(store).to_stream().to(out);
    TestDriverOptions options;
    options.commit_every_record = false;
    if (!by_option) options.cache_bytes_max = 0;
    TestDriver driver{topology, options};
    for (const char* key : {"a", "b", "a"}) driver.input(numbers).pipe(key, 1);
    BOOST_TEST((read(driver, out) == Pairs{{"a", 1}, {"b", 1}, {"a", 2}}));
    driver.commit();
    BOOST_TEST(read(driver, out).empty());
  }
}

BOOST_AUTO_TEST_CASE(a_deletion_is_handed_on_as_a_null_value) {
  for (const std::size_t cache : {std::size_t{0}, std::size_t{1} << 20}) {
    Topology topology;
    topology.stream(numbers)
        .reduce<std::int64_t>("state",
                              [](const auto& record, std::optional<std::int64_t>, auto&) {
                                return record.value() == 0 ? std::nullopt
                                                           : std::optional{record.value()};
                              })
        .to_stream()
        .to(out);
    TestDriver driver{topology, {.cache_bytes_max = cache}};
    driver.input(numbers).pipe("a", 5);
    driver.input(numbers).pipe("a", 0);
    driver.input(numbers).pipe("b", 0);
    BOOST_TEST((read(driver, out) == Pairs{{"a", 5}, {"a", -1}}));
  }
}

BOOST_AUTO_TEST_CASE(a_second_subtopology_reads_what_a_table_writes) {
  Topology topology;
  topology.stream(numbers).group_by_key().count("counts").to_stream().to(middle);
  topology.stream(middle)
      .group_by_key()
      .reduce("latest", [](std::int64_t, std::int64_t n) { return n; })
      .to_stream()
      .to(out);
  TestDriver driver{topology, {.partitions = {{"numbers", 2}, {"middle", 3}}}};
  for (const char* key : {"a", "b", "a", ""}) driver.input(numbers).pipe(key, 1);
  auto latest = driver.store<std::string, std::int64_t>("latest");
  BOOST_TEST(*latest.get("a") == 2);
  BOOST_TEST(*latest.get("b") == 1);
  BOOST_TEST(*latest.get("") == 1);
  BOOST_TEST(read(driver, out).size() == 4U);
  driver.crash_after(Step::kCommit);
  driver.input(numbers).pipe("a", 1);
  driver.restart();
  BOOST_TEST(*latest.get("a") == 3);
}

BOOST_AUTO_TEST_CASE(an_operator_behind_a_table_may_change_the_tables_store) {
  for (const bool every_update : {false, true}) {
    Topology topology;
    StoreOptions options{"counts"};
    if (every_update) options.forward_every_update();
    auto updates = topology.stream(numbers).group_by_key().count(options).to_stream();
    updates.process<Meddler>(connects("counts")).to(out);
    TestDriver driver{topology, {.commit_every_record = false}};
    for (const char* key : {"a", "b", "c"}) driver.input(numbers).pipe(key, 1);
    driver.commit();
    BOOST_TEST((driver.store<std::string, std::int64_t>("counts").all().size() == 153U));
    driver.restart();
    BOOST_TEST((driver.store<std::string, std::int64_t>("counts").all().size() == 153U));
  }
}

// KF-8
BOOST_AUTO_TEST_CASE(unknown_stores_and_wrong_types_are_typed_errors) {
  Topology topology;
  topology.stream(numbers).group_by_key().count("counts");
  TestDriver driver{topology};
  using Text = std::string;
  BOOST_CHECK_THROW(static_cast<void>(driver.store<Text, std::int64_t>("count")),
                    UnknownStoreError);
  BOOST_CHECK_THROW(static_cast<void>(driver.store<Text, Text>("counts")), StoreTypeError);
  BOOST_CHECK_THROW(static_cast<void>(driver.store<std::int64_t, std::int64_t>("counts")),
                    StoreTypeError);
  BOOST_CHECK_THROW(topology.stream(numbers), TopologyError);  // In use by the driver.

  Topology twice;
  auto stream = twice.stream(numbers);
  stream.group_by_key().count("counts");
  BOOST_CHECK_THROW(stream.group_by_key().count("counts"), TopologyError);
  BOOST_CHECK_THROW(stream.group_by_key().count("bad name"), TopologyError);
  BOOST_CHECK_THROW(stream.group_by_key().count(""), TopologyError);
  BOOST_CHECK_THROW(twice.stream(numbers), TopologyError);
  BOOST_CHECK_THROW(stream.process<Meddler>(connects("none")), TopologyError);
  const auto rekeyed = stream.flat_map([](const auto& r) { return Pairs{{r.key(), r.value()}}; });
  BOOST_CHECK_THROW(static_cast<void>(rekeyed.group_by_key()), TopologyError);
  BOOST_CHECK_THROW(TestDriver{Topology{}}, TopologyError);
  Topology unused;
  unused.store<Text, Text>("unused");
  unused.stream(numbers);
  BOOST_CHECK_THROW(TestDriver{unused}, TopologyError);
}

BOOST_AUTO_TEST_CASE(describe_says_what_kafka_streams_says) {
  Topology topology;
  topology.stream(numbers)
      .filter([](const auto&) { return true; })
      .reduce<std::int64_t>(
          "state", [](const auto& r, std::optional<std::int64_t>, auto&) { return r.value(); },
          reacts_to(middle))
      .to_stream()
      .to(out);
  BOOST_TEST(topology.describe() ==
             "Topologies:\n"
             "   Sub-topology: 0\n"
             "    Source: KSTREAM-SOURCE-0000000000 (topics: [numbers])\n"
             "      --> KSTREAM-FILTER-0000000001\n"
             "    Processor: KSTREAM-FILTER-0000000001 (stores: [])\n"
             "      --> KSTREAM-REDUCE-0000000002\n"
             "      <-- KSTREAM-SOURCE-0000000000\n"
             "    Processor: KSTREAM-REDUCE-0000000002 (stores: [state])\n"
             "      --> KTABLE-TOSTREAM-0000000003\n"
             "      <-- KSTREAM-FILTER-0000000001\n"
             "      reacts to: middle\n"
             "    Processor: KTABLE-TOSTREAM-0000000003 (stores: [])\n"
             "      --> KSTREAM-SINK-0000000004\n"
             "      <-- KSTREAM-REDUCE-0000000002\n"
             "    Sink: KSTREAM-SINK-0000000004 (topic: out)\n"
             "      <-- KTABLE-TOSTREAM-0000000003\n\n");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace

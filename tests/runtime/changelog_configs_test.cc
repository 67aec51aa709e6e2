// SPDX-License-Identifier: Apache-2.0
#include "runtime/changelog_configs.h"

#include <boost/test/unit_test.hpp>

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
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace

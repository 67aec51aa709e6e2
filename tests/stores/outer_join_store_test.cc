// SPDX-License-Identifier: Apache-2.0
#include "stores/outer_join_store.h"

#include <boost/test/unit_test.hpp>

#include "tests/stores/kind_fixture.h"

namespace {

using namespace millrace;
using namespace millrace::testing;
using namespace std::string_literals;

std::string shown(const OuterJoinStore& store, std::size_t count = 100) {
  std::string text;
  store.visit([&](const OuterJoinKey& key, const OuterJoinValues& values) {
    text += std::to_string(to_millis(key.time)) + (key.side == JoinSide::kLeft ? "l" : "r") +
            key.key + ':';
    for (const auto& value : values.values) text += value.bytes + ',';
    return --count > 0;
  });
  return text;
}

BOOST_AUTO_TEST_SUITE(outer_join_store)

BOOST_AUTO_TEST_CASE(records_wait_in_the_order_of_their_times) {
  for (const auto& kind : kKindEngines) {
    BOOST_TEST_CONTEXT("engine " << kind.name) {
      KindFixture f{kind, {}, value_ops<OuterJoinValues>()};
      OuterJoinStore store{f.cache(), [] { return from_millis(1); }};
      store.add({from_millis(300), JoinSide::kLeft, "a"}, "x");
      store.add({from_millis(20), JoinSide::kLeft, "b"}, "y");
      store.add({from_millis(20), JoinSide::kRight, "b"}, "z");
      f.reopen();
      OuterJoinStore again{f.cache(), [] { return from_millis(1); }};
      again.add({from_millis(300), JoinSide::kLeft, "a"}, "xx");
      BOOST_TEST(shown(again) == "20rb:z,20lb:y,300la:x,xx,");
      BOOST_TEST(shown(again, 1) == "20rb:z,");
      again.remove({from_millis(20), JoinSide::kLeft, "b"});
      BOOST_TEST(shown(again) == "20rb:z,300la:x,xx,");
    }
  }
}

// The bytes of reference section 2.3.
BOOST_AUTO_TEST_CASE(bytes_are_those_of_kafka_streams) {
  std::string bytes;
  Serde<OuterJoinKey>::encode({from_millis(1000), JoinSide::kLeft, "k1"}, bytes);
  BOOST_TEST((bytes == "\0\0\0\0\0\0\3\xe8\1k1"s));
  BOOST_TEST((*Serde<OuterJoinKey>::decode(bytes) ==
              OuterJoinKey{from_millis(1000), JoinSide::kLeft, "k1"}));
  bytes.clear();
  Serde<OuterJoinValues>::encode({{{JoinSide::kLeft, "ab"}, {JoinSide::kRight, ""}}}, bytes);
  BOOST_TEST((bytes == "\1\0\0\0\2\0\0\0\3\1ab\0\0\0\1\0"s));
  BOOST_TEST((*Serde<OuterJoinValues>::decode(bytes)).values.size() == 2U);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    BOOST_TEST(!Serde<OuterJoinValues>::decode(bytes.substr(0, size)).has_value());
  }
  BOOST_TEST(!Serde<OuterJoinValues>::decode(bytes + 'x').has_value());
  BOOST_TEST(!Serde<OuterJoinKey>::decode("\0\0\0\0\0\0\3\xe8"s).has_value());
  BOOST_TEST(!Serde<OuterJoinKey>::decode("\0\0\0\0\0\0\3\xe8\2k"s).has_value());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace

// SPDX-License-Identifier: Apache-2.0
//
// What Redis adds to engine_conformance_test: owners, a server that goes away, and round trips.

#include "stores/redis_engine.h"

#include <array>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "stores/redis_connection.h"
#include "stores/remote_address.h"
#include "tests/stores/engine_kinds.h"
#include "tests/stores/engine_model.h"
#include "tests/support/redis_server.h"

namespace millrace::testing {
namespace {

using std::chrono::milliseconds;

const EngineOptions kTask{{}, {"accounts", "orders"}, "bank", "0_3"};

std::unique_ptr<RedisEngine> open(const RedisOptions& options, const EngineOptions& task = kTask) {
  auto engine = std::make_unique<RedisEngine>(task, options);
  const Status status = engine->open();
  BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
  return engine;
}

bool contains(const Status& status, std::string_view text) {
  return status.message().find(text) != std::string::npos;
}

Status put(Engine& engine, const std::string& key, const std::string& value, std::int64_t offset) {
  return apply(engine, {{{key, value}}, {}}, at(offset));
}

// What anybody else may do to the server.
RedisReply run(const RedisOptions& options, std::initializer_list<std::string_view> command) {
  const auto connection = must(RedisConnection::connect(options, "the test's Redis"));
  BOOST_REQUIRE(connection->send(command).ok());
  return must(connection->receive());
}

BOOST_AUTO_TEST_SUITE(redis_engine)

// KS-9: the number of round trips does not depend on the number of keys.
BOOST_AUTO_TEST_CASE(a_batch_of_keys_is_one_round_trip_and_a_checkpoint_two) {
  const RedisServer server;
  const auto engine = open({.address = server.address()});
  const auto trips_of = [&](auto&& call) {
    const std::uint64_t before = engine->round_trips();
    BOOST_REQUIRE(call().ok());
    return engine->round_trips() - before;
  };
  for (const int count : {1, 5000}) {
    Changes changes;
    for (int i = 0; i < count; ++i) changes["key" + std::to_string(i)] = std::to_string(i);
    const std::vector<Changes> both{changes, changes};
    BOOST_TEST(trips_of([&] { return apply(*engine, both, at(1), {"a", "b"}); }) == 2U);
    std::vector<std::string_view> keys;
    for (const auto& [key, value] : changes) keys.push_back(key);
    std::vector<std::optional<std::string>> values(keys.size());
    BOOST_TEST(trips_of([&] { return engine->multi_get(0, keys, values); }) == 1U);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      BOOST_REQUIRE((values[i] == changes.at(std::string{keys[i]})));
    }
  }
  BOOST_TEST(trips_of([&] { return engine->clear(0); }) == 2U);
}

// KS-17, for the state: once a new owner has opened it, no call of the old one changes or reads it.
BOOST_AUTO_TEST_CASE(an_older_owner_is_fenced_and_changes_nothing) {
  const RedisServer server;
  const auto older = open({.address = server.address()});
  BOOST_REQUIRE(put(*older, "k", "old", 1).ok());
  const auto scan = must(older->scan(0, {}, {}));
  const auto newer = open({.address = server.address()});
  BOOST_TEST((must(newer->get(0, "k")) == "old"));
  for (int attempt = 0; attempt < 2; ++attempt) {
    const Status refused = put(*older, "k", "zombie", 2);
    BOOST_TEST((refused.code() == Code::kFenced), refused.to_string());
    BOOST_TEST(contains(refused, "epoch 2, this one had 1"), refused.message());
    BOOST_TEST((older->clear(0).code() == Code::kFenced));
    BOOST_TEST((older->get(0, "k").error().code() == Code::kFenced));
  }
  BOOST_TEST((must(newer->get(0, "k")) == "old"));
  BOOST_TEST((must(newer->position(0)) == at(1)));
  BOOST_REQUIRE(put(*newer, "k", "new", 3).ok());
  BOOST_TEST((must(newer->get(0, "k")) == "new"));
}

// The old owner has looked and been told that it is the owner, then is overtaken.
BOOST_AUTO_TEST_CASE(an_owner_that_is_overtaken_within_a_write_changes_nothing) {
  const RedisServer server;
  const RedisOptions options{.address = server.address()};
  RedisSession older{options, "millrace:{bank:0_3}:"};
  BOOST_REQUIRE(older.open().ok());
  std::unique_ptr<RedisEngine> newer;
  const Status refused = older.write(
      [&](RedisConnection& connection) {
        newer = open(options);
        return connection.send({"HSET", older.name("values:accounts"), "k", "zombie"});
      },
      "write");
  BOOST_TEST((refused.code() == Code::kFenced), refused.to_string());
  BOOST_TEST(!must(newer->get(0, "k")));
}

BOOST_AUTO_TEST_CASE(tasks_and_applications_do_not_see_each_other) {
  const RedisServer server;
  const RedisOptions options{.address = server.address()};
  const auto engine = open(options);
  BOOST_REQUIRE(put(*engine, "k", "v", 1).ok());
  for (const auto& [application, task] :
       {std::pair{"bank", "0_4"}, std::pair{"shop", "0_3"}, std::pair{"bank2", "0_3"}}) {
    const auto other = open(options, {{}, kTask.stores, application, task});
    BOOST_TEST(!must(other->get(0, "k")));
    BOOST_REQUIRE(other->clear(0).ok());
  }
  BOOST_TEST((must(engine->get(0, "k")) == "v"));
}

BOOST_AUTO_TEST_CASE(a_server_that_comes_back_with_its_data_is_used_again) {
  RedisServer server{RedisServer::Keeps::kEveryWrite};
  const auto engine = open({.address = server.address()});
  BOOST_REQUIRE(put(*engine, "k", "1", 1).ok());
  for (std::int64_t round = 2; round < 5; ++round) {
    server.stop();
    const Status refused = put(*engine, "k", std::to_string(round), round);
    BOOST_TEST((refused.code() == Code::kUnavailable), refused.to_string());
    BOOST_TEST(contains(refused, server.address()), refused.message());
    BOOST_TEST((engine->get(0, "k").error().code() == Code::kUnavailable));
    server.start();
    BOOST_TEST((must(engine->get(0, "k")) == std::to_string(round - 1)));
    BOOST_REQUIRE(put(*engine, "k", std::to_string(round), round).ok());
  }
  // A server closes connections that were idle: no call fails for that.
  server.stop();
  server.start();
  BOOST_TEST((must(engine->position(0)) == at(4)));
  server.stop();
  server.start();
  BOOST_TEST(put(*engine, "k", "5", 5).ok());
}

// The changes of a task are on top of what it has read: over older data they would be a mixture.
BOOST_AUTO_TEST_CASE(a_server_that_has_lost_writes_takes_none_until_opened_again) {
  RedisServer server;
  const RedisOptions options{.address = server.address()};
  auto engine = open(options);
  BOOST_REQUIRE(put(*engine, "k", "1", 1).ok());
  server.stop();
  server.start();
  for (int attempt = 0; attempt < 2; ++attempt) {
    const Status refused = put(*engine, "other", "2", 2);
    BOOST_TEST((refused.code() == Code::kUnavailable), refused.to_string());
    BOOST_TEST(contains(refused, "has lost writes"), refused.message());
    BOOST_TEST((engine->get(0, "k").error().code() == Code::kUnavailable));
  }
  engine = open(options);
  BOOST_TEST(must(scanned(*engine, 0)).empty());
  BOOST_TEST(!must(engine->position(0)));
  BOOST_REQUIRE(put(*engine, "k", "1", 1).ok());
  run(options, {"FLUSHALL"});
  BOOST_TEST(contains(put(*engine, "k", "2", 2), "has lost writes"));
  BOOST_TEST((engine->get(0, "k").error().code() == Code::kUnavailable));
}

// As a fail-over to a replica that was behind leaves it.
BOOST_AUTO_TEST_CASE(a_server_that_went_back_takes_no_writes_until_opened_again) {
  const RedisServer server;
  const RedisOptions options{.address = server.address()};
  auto engine = open(options);
  for (const std::int64_t offset : {1, 2}) BOOST_REQUIRE(put(*engine, "k", "v", offset).ok());
  run(options, {"HINCRBY", "millrace:{bank:0_3}:owner", "writes", "-1"});
  BOOST_TEST(contains(put(*engine, "k", "w", 3), "has lost writes"));
  engine = open(options);
  BOOST_TEST((must(engine->get(0, "k")) == "v"));
  BOOST_TEST(put(*engine, "k", "w", 3).ok());
}

// Redis does not undo the commands before one that fails.
BOOST_AUTO_TEST_CASE(a_checkpoint_that_fails_half_way_leaves_nothing_behind) {
  const RedisServer server;
  const RedisOptions options{.address = server.address()};
  auto engine = open(options);
  BOOST_REQUIRE(put(*engine, "k", "1", 1).ok());
  run(options, {"SET", "millrace:{bank:0_3}:keys:accounts", "a stranger's"});
  const Status failed = put(*engine, "k", "2", 2);
  BOOST_TEST((failed.code() == Code::kCorruption), failed.to_string());
  BOOST_TEST((engine->get(0, "k").error().code() == Code::kCorruption));
  engine = open(options);
  BOOST_TEST(!must(engine->position(0)));
  BOOST_TEST(!must(engine->position(1)));
  BOOST_TEST(!must(engine->get(0, "k")));
  BOOST_TEST(put(*engine, "k", "2", 2).ok());
}

// The server has taken the transaction but its answer never came: the same checkpoint again is
// right.
BOOST_AUTO_TEST_CASE(a_checkpoint_whose_answer_is_lost_can_be_applied_again) {
  RedisServer server;
  const auto engine = open({.address = server.address(), .call_timeout = milliseconds{200}});
  BOOST_REQUIRE(put(*engine, "k", "1", 1).ok());
  server.pause();
  const Status refused = put(*engine, "k", "2", 2);
  BOOST_TEST((refused.code() == Code::kUnavailable), refused.to_string());
  BOOST_TEST(contains(refused, "no answer within 200 ms"), refused.message());
  server.resume();
  BOOST_REQUIRE(put(*engine, "k", "2", 2).ok());
  BOOST_TEST((must(engine->get(0, "k")) == "2"));
  BOOST_TEST((must(engine->position(0)) == at(2)));
}

// What a lost connection has sent must not take effect after what its successor has written.
BOOST_AUTO_TEST_CASE(a_write_on_a_lost_connection_never_counts_later) {
  const RedisServer server;
  const RedisOptions options{.address = server.address()};
  const auto stale = must(RedisConnection::connect(options, "the old connection"));
  const auto engine = open(options);
  BOOST_REQUIRE(put(*engine, "k", "1", 1).ok());
  // As the engine does, up to EXEC, which is still on its way when the engine connects anew.
  const std::string owner = "millrace:{bank:0_3}:owner";
  const std::string values = "millrace:{bank:0_3}:values:accounts";
  BOOST_REQUIRE(stale->send({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}).ok());
  BOOST_REQUIRE(stale->send({"WATCH", owner}).ok());
  BOOST_REQUIRE(stale->send({"MULTI"}).ok());
  BOOST_REQUIRE(stale->send({"HSET", values, "k", "stale"}).ok());
  while (stale->pending() > 0) {
    BOOST_REQUIRE(must(stale->receive())->type != REDIS_REPLY_ERROR);
  }
  BOOST_TEST((must(engine->get(0, "k")) == "1"));
  BOOST_REQUIRE(stale->send({"EXEC"}).ok());
  BOOST_TEST(must(stale->receive())->type == REDIS_REPLY_NIL);
  BOOST_TEST((must(engine->get(0, "k")) == "1"));
}

BOOST_AUTO_TEST_CASE(a_full_server_is_unavailable_and_changes_nothing) {
  const RedisServer server{RedisServer::Keeps::kNothing, {"--maxmemory", "8mb"}};
  const RedisOptions options{.address = server.address()};
  const auto engine = open(options);
  BOOST_REQUIRE(put(*engine, "k", "1", 1).ok());
  Changes many{{"k", "2"}};
  for (int i = 0; i < 40; ++i) many["large" + std::to_string(i)] = std::string(1 << 19, 'x');
  const Status refused = apply(*engine, {many, {}}, at(2));
  BOOST_TEST((refused.code() == Code::kUnavailable), refused.to_string());
  BOOST_TEST(contains(refused, "OOM"), refused.message());
  BOOST_TEST((must(engine->position(0)) == at(1)));
  BOOST_TEST(must(scanned(*engine, 0)).size() == 1U);
  run(options, {"CONFIG", "SET", "maxmemory", "0"});
  BOOST_TEST(apply(*engine, {many, {}}, at(2)).ok());
}

// Secrets never reach a message, not even by way of the server's answer.
BOOST_AUTO_TEST_CASE(logins_work_and_secrets_stay_out_of_messages) {
  const RedisServer server{
      RedisServer::Keeps::kNothing,
      {"--user", "bank", "on", ">s3cret", "~millrace:*", "+@all", "--requirepass", "default-pass"}};
  RedisOptions options{.address = server.address()};
  options.password = "default-pass";
  BOOST_TEST(open(options)->close().ok());
  options.user = "bank";
  options.password = "s3cret";
  const auto engine = open(options);
  BOOST_TEST(put(*engine, "k", "v", 1).ok());
  options.password = "wr0ng";
  const auto wrong = engines::redis(options)->open(kTask);
  BOOST_REQUIRE(!wrong.has_value());
  BOOST_TEST((wrong.error().code() == Code::kInvalidArgument), wrong.error().to_string());
  BOOST_TEST(contains(wrong.error(), "redis_password"), wrong.error().message());
  BOOST_TEST(!contains(wrong.error(), "wr0ng"));
  options.user = options.password = "";
  const auto none = engines::redis(options)->open(kTask);
  BOOST_TEST((!none && none.error().code() == Code::kInvalidArgument));
}

BOOST_AUTO_TEST_CASE(bad_options_are_refused_before_anything_is_sent) {
  const auto code = [](const RedisOptions& redis, const EngineOptions& task) {
    return engines::redis(redis)->open(task).error().code();
  };
  for (const char* address :
       {"", ":1", "host:", "host:x", "host:65536", "host:1:2", "[::1", "[]:1"}) {
    BOOST_TEST((code({.address = address}, kTask) == Code::kInvalidArgument), address);
  }
  for (const auto& [application, task] : {std::pair{"", "0_3"}, std::pair{"bank", ""},
                                          std::pair{"a:b", "0_3"}, std::pair{"a}", "0"}}) {
    BOOST_TEST((code({}, {{}, {"accounts"}, application, task}) == Code::kInvalidArgument));
  }
  BOOST_TEST((code({.call_timeout = milliseconds{0}}, kTask) == Code::kInvalidArgument));
  BOOST_TEST((code({.address = "/no/such/socket"}, kTask) == Code::kUnavailable));
  BOOST_TEST((code({}, {{}, {"millrace.x"}, "bank", "0_3"}) == Code::kInvalidArgument));
  BOOST_TEST(must(parse_remote_address("[::1]:7000")).host == "::1");
  BOOST_TEST(must(parse_remote_address("redis")).port == 6379);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing

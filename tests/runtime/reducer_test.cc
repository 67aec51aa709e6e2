// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>

#include "millrace/json.h"
#include "millrace/test_driver.h"

namespace {

using namespace millrace;

struct Account {
  std::int64_t balance = 0;
};
struct Payment {
  std::int64_t amount = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Account, balance)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Payment, amount)

const Topic<std::string, Payment> payments{"payments"};
const Topic<std::string, Account> alerts{"alerts"};

Topology bank() {
  Topology topology;
  topology.stream(payments).reduce<Account>(
      "accounts",
      [](const auto& payment, std::optional<Account> account, auto& context) {
        Account next = account.value_or(Account{});
        next.balance += payment.value().amount;
        if (next.balance < 0) context.react(alerts, payment.key(), next);
        return next;
      },
      reacts_to(alerts));
  return topology;
}

BOOST_AUTO_TEST_SUITE(reducer)

// KS-2, KS-4
BOOST_AUTO_TEST_CASE(first_call_sees_no_state_and_reactions_may_be_none_or_one) {
  TestDriver driver{bank()};
  auto input = driver.input(payments);
  input.pipe("alice", Payment{7});
  BOOST_TEST(driver.output(alerts).read_all().empty());
  input.pipe("alice", Payment{-10});
  const auto reactions = driver.output(alerts).read_all();
  BOOST_TEST(reactions.size() == 1U);
  BOOST_TEST(reactions[0].key.value() == "alice");
  BOOST_TEST(reactions[0].value->balance == -3);
  BOOST_TEST((driver.store<std::string, Account>("accounts").get("alice")->balance == -3));
}

BOOST_AUTO_TEST_CASE(state_survives_a_crash_after_each_step_and_no_record_counts_twice) {
  for (const Step step : {Step::kProcess, Step::kProduce, Step::kFlush, Step::kCommit}) {
    TestDriver driver{bank()};
    auto input = driver.input(payments);
    input.pipe("alice", Payment{1});
    driver.crash_after(step);
    input.pipe("alice", Payment{10});
    BOOST_TEST(driver.crashed());
    driver.restart();
    input.pipe("alice", Payment{100});
    BOOST_TEST((driver.store<std::string, Account>("accounts").get("alice")->balance == 111));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace

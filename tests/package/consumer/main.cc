// SPDX-License-Identifier: Apache-2.0
//
// A user's program against the installed package: a reducer with a reaction, run without a broker.

#include <millrace/json.h>
#include <millrace/millrace.h>

#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace {

struct Account {
  std::int64_t balance = 0;
};
struct Payment {
  std::int64_t amount = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Account, balance)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Payment, amount)

const millrace::Topic<std::string, Payment> payments{"payments"};
const millrace::Topic<std::string, Account> alerts{"alerts"};

}  // namespace

int main() {
  millrace::Topology topology;
  topology.stream(payments).reduce<Account>(
      "accounts",
      [](const auto& payment, std::optional<Account> account, auto& context) {
        Account next = account.value_or(Account{});
        next.balance += payment.value().amount;
        if (next.balance < 0) context.react(alerts, payment.key(), next);
        return next;
      },
      millrace::reacts_to(alerts));

  millrace::TestDriver driver{topology};
  driver.input(payments).pipe("alice", Payment{-5});
  driver.input(payments).pipe("bob", Payment{7});
  auto accounts = driver.store<std::string, Account>("accounts");
  const bool balances = accounts.get("alice")->balance == -5 && accounts.get("bob")->balance == 7;
  const bool reactions = driver.output(alerts).read_all().size() == 1;
  std::cout << (balances && reactions ? "ok" : "wrong") << '\n';
  return balances && reactions ? 0 : 1;
}

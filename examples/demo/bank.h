// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <millrace/json.h>
#include <millrace/millrace.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

/// What the demo computes: payments become balances; an account that falls below 0 causes an alert.
namespace demo {

struct Payment {
  std::int64_t amount = 0;
};
struct Account {
  std::int64_t balance = 0;
  std::int64_t payments = 0;

  friend bool operator==(const Account&, const Account&) = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Payment, amount)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Account, balance, payments)

inline constexpr const char* kStore = "accounts";

struct Topics {
  millrace::Topic<std::string, Payment> payments;
  millrace::Topic<std::string, Account> alerts;
};

inline millrace::Topology bank(const Topics& topics) {
  millrace::Topology topology;
  topology.stream(topics.payments)
      .reduce<Account>(
          kStore,
          [alerts = topics.alerts](const auto& payment, std::optional<Account> account,
                                   auto& context) {
            Account next = account.value_or(Account{});
            const bool was_overdrawn = next.balance < 0;
            next.balance += payment.value().amount;
            ++next.payments;
            if (next.balance < 0 && !was_overdrawn) context.react(alerts, payment.key(), next);
            return next;
          },
          millrace::reacts_to(topics.alerts));
  return topology;
}

}  // namespace demo

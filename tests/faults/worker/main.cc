// SPDX-License-Identifier: Apache-2.0
//
// The application that the fault tests harm: WORKLOAD=count|pairs|transfers over topics that begin
// with the application id. Every result of a key carries how many records led to it.
#include <millrace/millrace.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>

namespace {

using Text = std::string;
using TextTopic = millrace::Topic<Text, Text>;

std::string required(const char* variable) {
  const char* value = std::getenv(variable);
  if (value != nullptr) return value;
  std::cerr << variable << " is not set\n";
  std::exit(2);
}

/// The records of two co-partitioned topics: "n left right sum min max" of each key.
template <bool kLeft>
class Pair final : public millrace::Processor<Text, Text, Text, Text> {
 public:
  void process(const millrace::Record<Text, Text>& record, Context& context) override {
    auto pairs = context.store<Text, Text>("pairs");
    const std::int64_t value = std::stoll(record.value());
    std::int64_t n = 0;
    std::int64_t left = 0;
    std::int64_t right = 0;
    std::int64_t sum = 0;
    std::int64_t min = value;
    std::int64_t max = value;
    if (const auto before = pairs.get(record.key()))
      std::istringstream{*before} >> n >> left >> right >> sum >> min >> max;
    (kLeft ? left : right) += 1;
    std::ostringstream after;
    after << n + 1 << ' ' << left << ' ' << right << ' ' << sum + value << ' '
          << std::min(min, value) << ' ' << std::max(max, value);
    pairs.put(record.key(), after.str());
    context.forward(record.key(), after.str());
  }
};

/// Takes "ACCOUNT AMOUNT" from the key's account: "n sum" of what it has paid; the other account's
/// credit goes on its way as "PARTITION@OFFSET AMOUNT".
class Debit final : public millrace::Processor<Text, Text, Text, Text> {
 public:
  void process(const millrace::Record<Text, Text>& record, Context& context) override {
    const auto space = record.value().find(' ');
    const auto amount = record.value().substr(space + 1);
    add(context.store<Text, Text>("debits"), record.key(), std::stoll(amount));
    context.forward(record.value().substr(0, space), std::to_string(context.partition()) + "@" +
                                                         std::to_string(context.offset()) + " " +
                                                         amount);
  }

  static Text add(millrace::KeyValueStore<Text, Text> sums, const Text& key, std::int64_t amount) {
    std::int64_t n = 0;
    std::int64_t sum = 0;
    if (const auto before = sums.get(key)) std::istringstream{*before} >> n >> sum;
    const auto after = std::to_string(n + 1) + " " + std::to_string(sum + amount);
    sums.put(key, after);
    return after;
  }
};

class Credit final : public millrace::Processor<Text, Text, Text, Text> {
 public:
  void process(const millrace::Record<Text, Text>& record, Context& context) override {
    const auto amount = std::stoll(record.value().substr(record.value().find(' ') + 1));
    context.forward(record.key(),
                    Debit::add(context.store<Text, Text>("credits"), record.key(), amount));
  }
};

millrace::Topology topology_of(const std::string& workload, const std::string& application) {
  const auto topic = [&](const char* name) { return TextTopic{application + "-" + name}; };
  millrace::Topology topology;
  if (workload == "count") {
    topology.stream(millrace::Topic<Text, std::string_view>{application + "-in"})
        .group_by_key()
        .count(millrace::StoreOptions{"counts"}.forward_every_update())
        .to_stream()
        .to(millrace::Topic<Text, std::int64_t>{application + "-out"});
  } else if (workload == "pairs") {
    topology.store<Text, Text>(millrace::StoreOptions{"pairs"});
    const auto pairs = millrace::connects("pairs");
    topology.stream(topic("left")).process<Pair<true>>(pairs).to(topic("out"));
    topology.stream(topic("right")).process<Pair<false>>(pairs).to(topic("out"));
  } else if (workload == "transfers") {
    topology.store<Text, Text>(millrace::StoreOptions{"debits"});
    topology.store<Text, Text>(millrace::StoreOptions{"credits"});
    topology.stream(topic("transfers"))
        .process<Debit>(millrace::connects("debits"))
        .to(topic("credited"));
    topology.stream(topic("credited"))
        .process<Credit>(millrace::connects("credits"))
        .to(topic("out"));
  } else {
    std::cerr << "WORKLOAD=" << workload << ": it is count, pairs or transfers\n";
    std::exit(2);
  }
  return topology;
}

}  // namespace

int main() {
  const auto application = required("MILLRACE_APPLICATION_ID");
  return millrace::App{topology_of(required("WORKLOAD"), application),
                       millrace::Config::from_env(application)}
      .run();
}

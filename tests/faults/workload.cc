// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/workload.h"

#include <algorithm>
#include <sstream>
#include <stdexcept>

namespace millrace::testing {
namespace {

constexpr int kKeys = 2'000;
constexpr int kAccounts = 200;
constexpr int kValueMax = 1'000;

int below(std::mt19937_64& random, int end) {
  return std::uniform_int_distribution{0, end - 1}(random);
}

// "n sum" with one more amount.
void add_amount(State& state, const std::string& key, std::int64_t amount) {
  std::int64_t n = 0;
  std::int64_t sum = 0;
  if (const auto before = state.find(key); before != state.end())
    std::istringstream{before->second} >> n >> sum;
  state[key] = std::to_string(n + 1) + " " + std::to_string(sum + amount);
}

std::int64_t second_number(const std::string& text) {
  return std::stoll(text.substr(text.find(' ') + 1));
}

Workload count(const std::string& application) {
  Workload workload;
  const std::string in = application + "-in";
  const std::string out = application + "-out";
  workload.sources = {in};
  workload.topics = {in, out};
  workload.stages = {{"counts",
                      application + "-counts-changelog",
                      {in},
                      out,
                      [](State& state, const StoredRecord& record, const std::string&) {
                        if (!record.key || !record.value) return;  // Dropped, as in Kafka Streams.
                        auto& value = state[*record.key];
                        value = big_endian(value.empty() ? 1 : from_big_endian(value) + 1);
                      }}};
  workload.next = [in](std::mt19937_64& random) {
    return std::pair{in, NewRecord{"key-" + std::to_string(below(random, kKeys)), "v"}};
  };
  return workload;
}

Workload pairs(const std::string& application) {
  Workload workload;
  const std::string left = application + "-left";
  const std::string right = application + "-right";
  const std::string out = application + "-out";
  workload.sources = {left, right};
  workload.topics = {left, right, out};
  workload.stages = {{"pairs",
                      application + "-pairs-changelog",
                      {left, right},
                      out,
                      [left](State& state, const StoredRecord& record, const std::string& topic) {
                        const std::int64_t value = std::stoll(record.value.value());
                        std::int64_t n = 0;
                        std::int64_t of_left = 0;
                        std::int64_t of_right = 0;
                        std::int64_t sum = 0;
                        std::int64_t min = value;
                        std::int64_t max = value;
                        auto& text = state[record.key.value()];
                        std::istringstream{text} >> n >> of_left >> of_right >> sum >> min >> max;
                        if (n == 0) min = max = value;  // Reading nothing has made them 0.
                        (topic == left ? of_left : of_right) += 1;
                        std::ostringstream after;
                        after << n + 1 << ' ' << of_left << ' ' << of_right << ' ' << sum + value
                              << ' ' << std::min(min, value) << ' ' << std::max(max, value);
                        text = after.str();
                      }}};
  workload.next = [left, right](std::mt19937_64& random) {
    const std::string& topic = below(random, 2) == 0 ? left : right;
    return std::pair{topic, NewRecord{"key-" + std::to_string(below(random, kKeys)),
                                      std::to_string(below(random, kValueMax) - kValueMax / 2)}};
  };
  return workload;
}

Workload transfers(const std::string& application) {
  Workload workload;
  const std::string in = application + "-transfers";
  const std::string credited = application + "-credited";
  const std::string out = application + "-out";
  workload.sources = {in};
  workload.topics = {in, credited, out};
  const auto apply = [](State& state, const StoredRecord& record, const std::string&) {
    add_amount(state, record.key.value(), second_number(record.value.value()));
  };
  workload.stages = {{"debits", application + "-debits-changelog", {in}, "", apply},
                     {"credits", application + "-credits-changelog", {credited}, out, apply}};
  workload.next = [in](std::mt19937_64& random) {
    const auto account = [&] { return "account-" + std::to_string(below(random, kAccounts)); };
    const auto from = account();
    return std::pair{
        in, NewRecord{from, account() + " " + std::to_string(below(random, kValueMax) + 1)}};
  };
  return workload;
}

}  // namespace

std::string to_string(Guarantee guarantee) {
  return guarantee == Guarantee::kExactlyOnce ? "exactly_once" : "at_least_once";
}

Workload make_workload(const std::string& name, const std::string& application) {
  Workload workload;
  if (name == "count") {
    workload = count(application);
  } else if (name == "pairs") {
    workload = pairs(application);
  } else if (name == "transfers") {
    workload = transfers(application);
  } else {
    throw std::invalid_argument("no workload '" + name + "'; there are: count, pairs, transfers");
  }
  workload.name = name;
  return workload;
}

std::int64_t sequence_of(const Workload& workload, const std::string& value) {
  return workload.name == "count" ? from_big_endian(value) : std::stoll(value);
}

}  // namespace millrace::testing

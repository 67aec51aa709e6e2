// SPDX-License-Identifier: Apache-2.0
//
// Readers in many threads beside a task that processes, commits and checkpoints. Its thread runs
// what they ask between batches, as a task's actor does. To be run with --asan and --tsan too.
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

#include "millrace/processor.h"
#include "millrace/store_read.h"
#include "millrace/stream.h"
#include "tests/runtime/task_harness.h"

namespace millrace::testing {
namespace {

constexpr int kAccounts = 16;
constexpr int kReaders = 4;
constexpr int kReadsEach = 400;
constexpr std::int64_t kBatch = 7;

using Numbers = KeyValueStore<std::string, std::int64_t>;

// Moves 1 from one account to another and counts that in two stores: what one record changes stands
// in four entries.
class Transfer final : public Processor<std::string, std::string, std::string, std::string> {
 public:
  void start(Context& context) override {
    accounts_.emplace(context.store<std::string, std::int64_t>("accounts"));
    totals_.emplace(context.store<std::string, std::int64_t>("totals"));
  }
  void process(const Record<std::string, std::string>& record, Context&) override {
    add(*accounts_, "count", 1);
    add(*accounts_, record.key(), -1);
    add(*accounts_, record.value(), 1);
    add(*totals_, "count", 1);
  }

 private:
  static void add(Numbers& store, const std::string& key, std::int64_t amount) {
    store.put(key, store.get(key).value_or(0) + amount);
  }
  std::optional<Numbers> accounts_;
  std::optional<Numbers> totals_;
};

std::int64_t number(const std::string& bytes) { return *Serde<std::int64_t>::decode(bytes); }

std::int64_t count_of(const ReadPage& page) {
  return page.entries.empty() ? 0 : number(page.entries.front().value);
}

// The mailbox of a task, without actors.
class Mailbox {
 public:
  template <class Read>
  auto ask(Read read) {
    auto task = std::make_shared<std::packaged_task<decltype(read(std::declval<Task&>()))(Task&)>>(
        std::move(read));
    auto answer = task->get_future();
    {
      const std::lock_guard lock{mutex_};
      waiting_.emplace_back([task](Task& running) { (*task)(running); });
    }
    return answer.get();
  }
  void serve(Task& task) {
    std::deque<std::function<void(Task&)>> taken;
    {
      const std::lock_guard lock{mutex_};
      taken.swap(waiting_);
    }
    for (const auto& read : taken) read(task);
  }

 private:
  std::mutex mutex_;
  std::deque<std::function<void(Task&)>> waiting_;
};

// What one read of a task saw.
struct Seen {
  std::int64_t in_accounts = 0;
  std::int64_t in_totals = 0;
  std::int64_t sum = 0;
};

Seen look(Task& task, ReadLevel level) {
  Seen seen;
  const auto accounts = read_page(*task.find_store("accounts"), {.level = level});
  for (const auto& entry : accounts.entries) {
    if (entry.key == "count") {
      seen.in_accounts = number(entry.value);
    } else {
      seen.sum += number(entry.value);
    }
  }
  seen.in_totals =
      count_of(read_page(*task.find_store("totals"), {.level = level, .key = "count"}));
  return seen;
}

BOOST_AUTO_TEST_SUITE(concurrent_reads)

// KF-8, KF-9
BOOST_AUTO_TEST_CASE(a_reader_never_sees_half_a_record_of_two_stores_nor_half_a_batch) {
  Topology topology;
  topology.store<std::string, std::int64_t>("accounts");
  topology.store<std::string, std::int64_t>("totals");
  topology.stream(Topic<std::string, std::string>{"transfers"})
      .process<Transfer>(connects("accounts", "totals"));
  TaskHarness harness{topology};
  BOOST_REQUIRE(harness.start().ok());

  Mailbox mailbox;
  std::atomic<int> reading{kReaders};
  std::atomic<int> torn{0};
  std::atomic<int> gone_back{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < kReaders; ++r) {
    readers.emplace_back([&, r] {
      const ReadLevel level = r % 2 == 0 ? ReadLevel::kLatest : ReadLevel::kCommitted;
      std::int64_t last = 0;
      for (int i = 0; i < kReadsEach; ++i) {
        // Both stores in one read, then one after the other: the later read never knows less.
        const Seen seen = mailbox.ask([level](Task& task) { return look(task, level); });
        const auto count = [&](const char* store) {
          return count_of(mailbox.ask([level, store](Task& task) {
            return read_page(*task.find_store(store), {.level = level, .key = "count"});
          }));
        };
        const std::int64_t first = count(i % 2 == 0 ? "accounts" : "totals");
        const std::int64_t second = count(i % 2 == 0 ? "totals" : "accounts");
        if (seen.sum != 0 || seen.in_accounts != seen.in_totals || seen.in_accounts % kBatch != 0)
          ++torn;
        if (seen.in_accounts < last || first < seen.in_accounts || second < first) ++gone_back;
        last = seen.in_accounts;
      }
      --reading;
    });
  }

  std::int64_t records = 0;
  for (int round = 0; reading > 0; ++round) {
    for (std::int64_t i = 0; i < kBatch; ++i, ++records) {
      harness.append("transfers", "a" + std::to_string(records % kAccounts),
                     "a" + std::to_string((records * 5 + 3) % kAccounts));
    }
    BOOST_REQUIRE(*harness.process(kBatch) == static_cast<std::size_t>(kBatch));
    mailbox.serve(*harness.task);
    if (round % 3 == 0) {
      // Between the two halves of a commit, too.
      auto prepared = harness.task->prepare();
      BOOST_REQUIRE(prepared);
      mailbox.serve(*harness.task);
      BOOST_REQUIRE(harness.complete(*prepared).ok());
    }
    mailbox.serve(*harness.task);
    if (round % 7 == 0) BOOST_REQUIRE(harness.task->checkpoint().ok());
    if (round % 11 == 0) harness.task->maintain();
  }
  for (auto& reader : readers) reader.join();
  BOOST_TEST(torn == 0);
  BOOST_TEST(gone_back == 0);
  const Seen end = look(*harness.task, ReadLevel::kLatest);
  BOOST_TEST(end.in_accounts == records);
  BOOST_TEST(end.in_totals == records);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing

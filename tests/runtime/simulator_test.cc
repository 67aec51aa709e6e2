// SPDX-License-Identifier: Apache-2.0
//
// A task over a log in memory, driven by random operations: input, processing, commits that fail
// half way, checkpoints, crashes with and without the disk, foreign writes into the changelogs,
// commits that come too late. What must hold:
//   - every commit point (S, E): folding each changelog over [0, E) gives what a reference makes of
//   the input up to S;
//   - an engine holds the fold of [0, P) for its position P, never more than the commit point
//   allows;
//   - what operators see is the reference's state of all that is processed;
//   - in the end nothing is lost and nothing counts twice, and every output is there: at least
//   once, or once and no more where all of it is one transaction.
// See reference/durability.md, "Invariant" and "Claim".
#include <random>
#include <set>
#include <utility>

#include <boost/test/unit_test.hpp>

#include "tests/runtime/task_harness.h"
#include "tests/support/seed.h"

namespace {

using namespace millrace;
using namespace millrace::testing;

const Topic<std::string, std::int64_t> input{"input"};
const Topic<std::string, std::int64_t> second{"second"};
const Topic<std::string, std::int64_t> output{"output"};

std::string bytes(std::int64_t number) {
  std::string out;
  Serde<std::int64_t>::encode(number, out);
  return out;
}
std::int64_t number(const std::string& bytes) { return *Serde<std::int64_t>::decode(bytes); }

// --- Topologies, each with a reference that folds one record into the contents of the stores ---

struct Reference {
  std::vector<Contents> stores;  // In the order of the plan.
  std::multiset<std::pair<std::string, std::string>> outputs;
  std::string topic;                         // Of the record in hand.
  Timestamp record_time{};                   // Likewise.
  Timestamp stream_time{};                   // With it ...
  Timestamp stream_time_before{};            // ... and without.
  std::map<std::string, Timestamp> written;  // When each key of the one store was, if keys expire.
};

struct Shape {
  std::string name;
  std::function<Topology()> make;
  std::function<void(Reference&, const std::string& key, std::int64_t value)> fold;
  bool skips = false;               // Records divisible by 13 make the function throw.
  bool settles_at_commit = false;   // Stores behind a table follow at the commit only.
  std::chrono::milliseconds ttl{};  // Of the keys, by event time.
  // What a record without value does, of a table on its source topic.
  std::function<void(Reference&, const std::string& key)> fold_null = nullptr;
  bool from_earliest = false;  // What is behind the table must see all of it.
};

constexpr std::chrono::milliseconds kTtl{60};

void expire(Reference& reference, std::chrono::milliseconds ttl) {
  std::erase_if(reference.written, [&](const auto& key) {
    if (key.second + ttl > reference.stream_time) return false;
    reference.stores[0].erase(key.first);
    return true;
  });
}

void write_time(Reference& reference, const std::string& key) {
  auto& written = reference.written.try_emplace(key, reference.record_time).first->second;
  written = std::max(written, reference.record_time);
}

std::int64_t mixed(std::int64_t state, std::int64_t value) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(state) * 31 +
                                   static_cast<std::uint64_t>(value));
}

void count_into(Contents& store, const std::string& key) {
  store[key] = bytes((store.contains(key) ? number(store[key]) : 0) + 1);
}

// State that depends on the order of the records; divisible by 7: deleted; by 5: a reaction; by 13:
// throws.
std::optional<std::int64_t> reduced(const Record<std::string, std::int64_t>& record,
                                    std::optional<std::int64_t> state, Context& context) {
  const std::int64_t next = mixed(state.value_or(1), record.value());
  if (record.value() % 5 == 0) context.react(output, record.key(), next);
  if (record.value() % 13 == 0) throw std::runtime_error("divisible by 13");
  if (record.value() % 7 == 0) return std::nullopt;
  return next;
}

void fold_reduced(Reference& reference, std::size_t store, const std::string& key,
                  std::int64_t value) {
  Contents& contents = reference.stores[store];
  const std::int64_t next = mixed(contents.contains(key) ? number(contents[key]) : 1, value);
  if (value % 13 == 0) return;
  if (value % 5 == 0) reference.outputs.emplace(key, bytes(next));
  if (value % 7 == 0) {
    contents.erase(key);
  } else {
    contents[key] = bytes(next);
  }
}

class Summing final : public Processor<std::string, std::int64_t, std::string, std::int64_t> {
 public:
  void start(Context& context) override {
    sums_.emplace(context.store<std::string, std::int64_t>("sums"));
  }
  void process(const Record<std::string, std::int64_t>& record, Context&) override {
    if (!record.has_key() || !record.has_value()) return;
    sums_->put(record.key(), sums_->get(record.key()).value_or(0) + record.value());
  }

 private:
  std::optional<KeyValueStore<std::string, std::int64_t>> sums_;
};

std::vector<Shape> shapes() {
  const auto append = [](std::string& so_far, const Record<std::string, std::int64_t>& record) {
    so_far += std::to_string(record.value()) + ' ';
  };
  return {
      {"count",
       [] {
         Topology topology;
         topology.stream(input).group_by_key().count("counts");
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t) {
         count_into(reference.stores[0], key);
       }},
      {"reducer with reactions, skipping",
       [] {
         Topology topology;
         topology.stream(input).reduce<std::int64_t>("states", reduced, reacts_to(output));
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         fold_reduced(reference, 0, key, value);
       },
       true},
      {"reduce of values",
       [] {
         Topology topology;
         topology.stream(input).group_by_key().reduce("values", mixed);
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         Contents& store = reference.stores[0];
         store[key] = bytes(store.contains(key) ? mixed(number(store[key]), value) : value);
       }},
      {"aggregate on the heap",
       [append] {
         Topology topology;
         topology.stream(input).group_by_key().aggregate<std::string>("texts", append);
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         reference.stores[0][key] += std::to_string(value) + ' ';
       }},
      {"two stores",
       [] {
         Topology topology;
         auto stream = topology.stream(input);
         stream.group_by_key().count("counts");
         stream.reduce<std::int64_t>("states", reduced, reacts_to(output));
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         if (value % 13 == 0) return;
         count_into(reference.stores[0], key);
         fold_reduced(reference, 1, key, value);
       },
       true},
      {"two inputs, one store",
       [] {
         Topology topology;
         topology.store<std::string, std::int64_t>("sums");
         topology.stream(input).process<Summing>(connects("sums"));
         topology.stream(second).process<Summing>(connects("sums"));
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         Contents& store = reference.stores[0];
         store[key] = bytes((store.contains(key) ? number(store[key]) : 0) + value);
       }},
      {"table behind a table, every update",
       [append] {
         Topology topology;
         topology.stream(input)
             .group_by_key()
             .count(StoreOptions{"counts"}.forward_every_update())
             .to_stream()
             .group_by_key()
             .aggregate<std::string>("texts", append);
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t) {
         count_into(reference.stores[0], key);
         reference.stores[1][key] += std::to_string(number(reference.stores[0][key])) + ' ';
       }},
      {"table behind a table, at commits",
       [] {
         Topology topology;
         auto counts = topology.stream(input).group_by_key().count("counts").to_stream();
         counts.to(output);
         counts.group_by_key().reduce("latest",
                                      [](std::int64_t, std::int64_t value) { return value; });
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t) {
         count_into(reference.stores[0], key);
         reference.stores[1] = reference.stores[0];
       },
       false, true},
      {"count with a time to live",
       [] {
         Topology topology;
         topology.stream(input).group_by_key().count(StoreOptions{"counts"}.ttl(kTtl));
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t) {
         expire(reference, kTtl);
         write_time(reference, key);
         count_into(reference.stores[0], key);
       },
       false, false, kTtl},
      {"reducer with a time to live, skipping",
       [] {
         Topology topology;
         topology.stream(input).reduce<std::int64_t>(StoreOptions{"states"}.ttl(kTtl), reduced,
                                                     reacts_to(output));
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         if (value % 13 == 0) {  // It leaves no trace, in the time neither.
           reference.stream_time = reference.stream_time_before;
           return;
         }
         expire(reference, kTtl);
         if (value % 7 == 0) {
           reference.written.erase(key);
         } else {
           write_time(reference, key);
         }
         fold_reduced(reference, 0, key, value);
       },
       true, false, kTtl},
      {"table on its source topic",
       [] {
         Topology topology;
         topology.table(input, "rows");
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         reference.stores[0][key] = bytes(value);
       },
       false,
       false,
       {},
       [](Reference& reference, const std::string& key) { reference.stores[0].erase(key); }},
      {"table on its source topic with a count behind it, beside a stream",
       [] {
         Topology topology;
         auto updates =
             topology.table(input, StoreOptions{"rows"}.forward_every_update()).to_stream();
         updates.to(output);
         updates.group_by_key().count("counts");
         topology.store<std::string, std::int64_t>("sums");
         updates.process<Summing>(connects("sums"));
         topology.stream(second).process<Summing>(connects("sums"));
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         Contents& sums = reference.stores[2];
         sums[key] = bytes((sums.contains(key) ? number(sums[key]) : 0) + value);
         if (reference.topic == second.name()) return;
         reference.stores[0][key] = bytes(value);
         count_into(reference.stores[1], key);
         reference.outputs.emplace(key, bytes(value));
       },
       false,
       false,
       {},
       [](Reference& reference, const std::string& key) {
         if (reference.topic == input.name()) reference.stores[0].erase(key);
       },
       true},
  };
}

// --- The simulation ---

class Simulation {
 public:
  Simulation(const Shape& shape, std::uint64_t seed)
      : shape_(shape), random_(seed), harness_(shape.make()) {
    if (shape.skips) give_up_bad_records();
    harness_.settings.transactional = below(2) == 0;
    static constexpr std::array<std::size_t, 3> kBudgets{0, 600, 1 << 20};
    harness_.budget = std::make_unique<CacheBudget>(kBudgets.at(below(3)));
    if (below(8) == 0 && !shape.from_earliest)
      harness_.restore_settings.reset = OffsetReset::kLatest;
    for (std::size_t i = below(6); i > 0; --i) append();
    begin_.resize(harness_.plan.inputs.size());
    // A table on its topic has all that the topic has, wherever its processing begins.
    const bool table = shape.fold_null != nullptr;
    if (harness_.restore_settings.reset == OffsetReset::kLatest && !table) {
      for (std::size_t i = 0; i < begin_.size(); ++i) begin_[i] = log_end(i);
    }
  }

  void run() {
    start();
    for (int i = 0; i < 60; ++i) step();
    settle();
  }

 private:
  // Skipped or as dead letters, at once or after further attempts.
  void give_up_bad_records() {
    auto& rules = harness_.settings.errors;
    rules.on_error = below(2) == 0 ? ErrorPolicy::kSkip : ErrorPolicy::kDeadLetter;
    rules.retries = below(3);
    rules.dead_letter_topic = "dead";
    harness_.log.create_topic("dead", 1);
  }

  std::size_t below(std::size_t end) {
    return std::uniform_int_distribution<std::size_t>{0, end - 1}(random_);
  }
  std::int64_t log_end(std::size_t i) const {
    return static_cast<std::int64_t>(harness_.log.partition(harness_.plan.inputs[i]).size());
  }
  std::string some_key() {
    static const std::array<std::string, 6> kKeys{
        "", "a", "b", "c", std::string(1, '\0'), "long key " + std::string(40, 'x')};
    return kKeys.at(below(kKeys.size()));
  }

  void append() {
    time_ += std::chrono::milliseconds{below(20)};
    const auto& topic = harness_.plan.inputs[below(harness_.plan.inputs.size())].topic;
    std::optional<std::string> key;
    std::optional<std::string> value;
    if (below(15) != 0) key = some_key();
    if (below(15) != 0) value = bytes(static_cast<std::int64_t>(below(100)));
    harness_.append(topic, key, value, time_ - std::chrono::milliseconds{below(50)});
  }

  void step() {
    switch (below(14)) {
      case 0:
      case 1:
      case 2:
        for (std::size_t i = below(8) + 1; i > 0; --i) append();
        break;
      case 3:
      case 4:
      case 5:
        process(below(10) + 1);
        break;
      case 6:
      case 7:
        commit();
        break;
      case 8:
        checkpoint();
        break;
      case 9:
        foreign_write();
        break;
      case 10:
        crash();
        break;
      case 11:
        crash_in_commit(*harness_.task);
        break;
      case 12:
        stale_commit();
        break;
      case 13:
        harness_.task->maintain();
        harness_.clock.advance(std::chrono::seconds{below(100)});
        break;
    }
  }

  // --- Operations ---

  void process(std::size_t records) {
    BOOST_REQUIRE(harness_.process(records).has_value());
    if (!shape_.settles_at_commit) check_live();
  }

  void commit() {
    if (below(4) == 0) announce_intrusion();
    auto prepared = harness_.task->prepare();
    harness_.sink.call_off();
    BOOST_REQUIRE(prepared.has_value());
    if (!*prepared) {
      BOOST_REQUIRE(harness_.task->begin_epoch().ok());
      return;
    }
    if (below(3) == 0)
      BOOST_REQUIRE(harness_.process(below(5)).has_value());  // Into the next epoch.
    if (below(6) == 0) checkpoint();                          // While it is in flight.
    auto point = harness_.commit_offsets(*prepared);
    if (!point) {
      expect_foreign(point.error());
      return crash();
    }
    check_commit_point();
    if (below(8) == 0) return crash();  // The answer is lost.
    BOOST_REQUIRE(harness_.learn(*point).ok());
    if (below(4) == 0) checkpoint();
  }

  void checkpoint() {
    BOOST_REQUIRE(harness_.task->checkpoint().ok());
    check_engine();
  }

  void foreign_write() {
    harness_.log.append(some_changelog(), foreign_record());
    foreign_ = true;
  }
  void announce_intrusion() {
    harness_.sink.intrude(below(4), some_changelog(), foreign_record());
    foreign_ = true;
  }
  TopicPartition some_changelog() { return harness_.changelog(below(harness_.plan.stores.size())); }
  MemoryLog::StoredRecord foreign_record() {
    MemoryLog::StoredRecord record{some_key(), std::nullopt, time_, {}};
    if (below(3) != 0) record.value = bytes(-7);
    if (below(4) == 0) record.key = "foreign";
    if (below(10) == 0) record.key.reset();
    return record;
  }

  // The n-th commit so far lands again, late, over the newest.
  void stale_commit() {
    // The broker refuses those of an earlier producer.
    if (harness_.settings.transactional || harness_.history.size() < 2) return;
    harness_.log.commit(harness_.history[harness_.history.size() - 2]);
    if (below(2) == 0) crash();
  }

  void crash() {
    harness_.crash(below(3) != 0);
    start();
  }

  // Some of the changes reach the changelogs, then the writer is gone.
  void crash_in_commit(Task& task) {
    harness_.log.lose_after(below(6));
    auto prepared = task.prepare();
    BOOST_REQUIRE(prepared.has_value());
    crash();
  }

  // Starts until one start gets through; the first tries may crash or meet a foreign writer.
  void start() {
    for (int attempt = 0;; ++attempt) {
      foreign_ = false;
      const auto status = harness_.create();
      BOOST_REQUIRE_MESSAGE(status.ok(), status.to_string());
      if (harness_.durable()) check_restored();
      const bool quiet = settling_ || attempt > 3;
      // Before the first commit a record in the changelog means lost offsets: a case of its own.
      const bool alone = quiet || !harness_.durable();
      if (!alone && below(6) == 0) foreign_write();
      if (!alone && below(6) == 0) announce_intrusion();
      if (!quiet && below(5) == 0) harness_.log.lose_after(below(4));
      auto prepared = harness_.task->prepare_start();
      harness_.sink.call_off();
      harness_.log.lose_after(std::nullopt);
      BOOST_REQUIRE(prepared.has_value());
      if (!quiet && below(6) == 0) {
        harness_.crash(below(2) == 0);
        continue;
      }
      auto point = harness_.commit_offsets(*prepared);
      if (!point) {
        if (point.error().message() != "not answered") expect_foreign(point.error());
        harness_.crash(below(2) == 0);
        continue;
      }
      check_commit_point();
      if (!quiet && below(6) == 0) {
        harness_.crash(below(2) == 0);
        continue;
      }
      BOOST_REQUIRE(harness_.learn(*point).ok());
      check_live();
      return;
    }
  }

  // --- What must hold ---

  Reference reference(const std::vector<std::int64_t>& ends) const {
    Reference result;
    result.stores.resize(harness_.plan.stores.size());
    for (std::size_t i = 0; i < ends.size(); ++i) {
      const auto& log = harness_.log.partition(harness_.plan.inputs[i]);
      for (std::int64_t at = begin_[i]; at < ends[i]; ++at) {
        const auto& record = log[static_cast<std::size_t>(at)];
        result.topic = harness_.plan.inputs[i].topic;
        result.record_time = record.timestamp;
        result.stream_time_before = result.stream_time;
        result.stream_time = std::max(result.stream_time, record.timestamp);
        if (!record.key) continue;
        if (record.value) shape_.fold(result, *record.key, number(*record.value));
        if (!record.value && shape_.fold_null) shape_.fold_null(result, *record.key);
      }
    }
    if (keys_expire()) expire(result, shape_.ttl);
    return result;
  }

  std::vector<std::int64_t> committed_sources() const {
    std::vector<std::int64_t> sources;
    for (std::size_t i = 0; i < harness_.plan.inputs.size(); ++i)
      sources.push_back(harness_.source(i));
    return sources;
  }

  void check_commit_point() {
    const auto expected = reference(committed_sources());
    for (std::size_t i = 0; i < harness_.plan.stores.size(); ++i) {
      // A key that has expired may wait in the changelog for its tombstone.
      const auto live_from = expected.stream_time - shape_.ttl + std::chrono::milliseconds{1};
      BOOST_REQUIRE(folded(harness_.changelog_log(i), harness_.committed_end(i),
                           keys_expire() ? live_from : Timestamp::min()) == expected.stores[i]);
    }
  }

  [[nodiscard]] bool keys_expire() const { return shape_.ttl.count() > 0; }

  // The engines of a task that has not begun: at the committed end.
  void check_restored() {
    for (std::size_t i = 0; i < harness_.plan.stores.size(); ++i) {
      const std::int64_t end = harness_.committed_end(i);
      BOOST_REQUIRE(harness_.begun.stores[i].committed_end == end);
      BOOST_REQUIRE(held(*harness_.disk->content(), static_cast<StoreIndex>(i)) ==
                    folded(harness_.changelog_log(i), end));
    }
  }

  void check_engine() {
    for (std::size_t i = 0; i < harness_.plan.stores.size(); ++i) {
      const auto position = harness_.disk->content()->position(static_cast<StoreIndex>(i));
      BOOST_REQUIRE((*position)->next_offset ==
                    harness_.task->commit_point().changelog_ends.at(harness_.changelog(i).topic));
      BOOST_REQUIRE(held(*harness_.disk->content(), static_cast<StoreIndex>(i)) ==
                    folded(harness_.changelog_log(i), (*position)->next_offset));
    }
  }

  void check_live() {
    std::vector<std::int64_t> ends;
    for (std::size_t i = 0; i < harness_.plan.inputs.size(); ++i)
      ends.push_back(harness_.task->position(i));
    const auto expected = reference(ends);
    for (std::size_t i = 0; i < harness_.plan.stores.size(); ++i)
      BOOST_REQUIRE(harness_.live(i) == expected.stores[i]);
  }

  void expect_foreign(const Status& status) {
    BOOST_REQUIRE_MESSAGE(foreign_ && status.code() == Code::kUnavailable, status.to_string());
  }

  void settle() {
    settling_ = true;
    append();  // Makes the task commit once more, over a stale commit that it does not know of.
    commit_all();
    check_live();
    const auto sources = committed_sources();
    for (std::size_t i = 0; i < sources.size(); ++i) BOOST_REQUIRE(sources[i] == log_end(i));
    check_commit_point();
    if (keys_expire()) check_tombstones();
    check_dead_letters();
    if (harness_.log.partitions(output.name()) > 0) check_outputs();
  }

  // Each is there: once under exactly-once, at least once otherwise.
  void check_outputs() {
    std::multiset<std::pair<std::string, std::string>> written;
    std::map<std::string, std::int64_t> latest;
    for (const auto& record : harness_.log.partition({output.name(), 0})) {
      if (!record.value || !record.visible()) continue;
      written.emplace(*record.key, *record.value);
      // A table hands on what has changed: never the same, never less, if nothing is done twice.
      const std::int64_t count = number(*record.value);
      const bool rises = count > std::exchange(latest[*record.key], count);
      BOOST_REQUIRE(rises || !shape_.settles_at_commit || !harness_.settings.transactional);
    }
    if (shape_.settles_at_commit) return;
    const auto expected = reference(committed_sources()).outputs;
    if (harness_.settings.transactional) {
      BOOST_REQUIRE(written == expected);
    } else {
      BOOST_REQUIRE(
          std::includes(written.begin(), written.end(), expected.begin(), expected.end()));
    }
  }

  // A foreign record is met by the first commit that writes to its changelog.
  void commit_all() {
    for (int attempt = 0;; ++attempt) {
      BOOST_REQUIRE(attempt < 3);
      do {
        BOOST_REQUIRE(harness_.process(std::size_t{1} << 20).has_value());
        harness_.clock.advance(std::chrono::minutes{1});  // For records that wait.
      } while (harness_.task->buffered() > 0);
      const auto status = harness_.commit();
      if (status.ok()) return;
      expect_foreign(status);
      crash();
    }
  }

  // Each bad record, and no other, is a dead letter; after a crash some are again, unless all is
  // one transaction.
  void check_dead_letters() {
    if (harness_.settings.errors.on_error != ErrorPolicy::kDeadLetter) return;
    std::set<std::string> expected;
    const auto& log = harness_.log.partition(harness_.plan.inputs[0]);
    for (std::int64_t i = begin_[0]; i < log_end(0); ++i) {
      const auto& record = log[static_cast<std::size_t>(i)];
      if (record.key && record.value && number(*record.value) % 13 == 0)
        expected.insert(std::to_string(i));
    }
    std::multiset<std::string> found;
    for (const auto& letter : harness_.log.partition({"dead", 0})) {
      if (!letter.visible()) continue;
      for (const auto& header : letter.headers) {
        if (header.name == "__streams.errors.offset") found.insert(*header.value);
      }
    }
    BOOST_REQUIRE((std::set<std::string>{found.begin(), found.end()} == expected));
    if (harness_.settings.transactional) BOOST_REQUIRE(found.size() == expected.size());
  }

  // All that is over is in the changelog as tombstones in the end, whatever engine and cache hold.
  void check_tombstones() {
    if (below(2) == 0) checkpoint();
    time_ += 2 * kTtl;
    harness_.append(harness_.plan.inputs[0].topic, "alone", bytes(1), time_);
    commit_all();
    const Contents left = folded(harness_.changelog_log(), harness_.committed_end());
    BOOST_REQUIRE(left.size() == 1U && left.contains("alone"));
  }

  const Shape& shape_;
  std::mt19937_64 random_;
  TaskHarness harness_;
  std::vector<std::int64_t> begin_;  // Where the inputs' history begins for this application.
  Timestamp time_ = from_millis(1'000'000);
  bool settling_ = false;  // The end: no more faults.
  bool foreign_ = false;   // Somebody has written into a changelog since the start.
};

BOOST_AUTO_TEST_SUITE(simulator)

// KS-5, KS-7, KS-11, KS-21, KF-25, KF-29, KF-37
BOOST_AUTO_TEST_CASE(state_is_exact_whatever_crashes_and_whoever_writes) {
  const auto all = shapes();
  for_seeds("simulator", 4000, [&](std::uint64_t seed) {
    const Shape& shape = all[seed % all.size()];
    BOOST_TEST_CONTEXT(shape.name) Simulation{shape, seed}.run();
  });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace

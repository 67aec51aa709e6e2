// SPDX-License-Identifier: Apache-2.0
//
// What must hold in a simulation.
#include <algorithm>
#include <set>
#include <utility>

#include "tests/runtime/simulation.h"

namespace millrace::testing {

using namespace std::chrono_literals;

Reference Simulation::reference(const std::vector<std::int64_t>& ends) const {
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
      if (record.value) shape_.fold(result, *record.key, number_of(*record.value));
      if (!record.value && shape_.fold_null) shape_.fold_null(result, *record.key);
    }
  }
  if (keys_expire()) expire(result, shape_.ttl);
  return result;
}

std::vector<std::int64_t> Simulation::committed_sources() const {
  std::vector<std::int64_t> sources;
  for (std::size_t i = 0; i < harness_.plan.inputs.size(); ++i)
    sources.push_back(harness_.source(i));
  return sources;
}

// What the first `end` records of a changelog make of its store.
Contents Simulation::state_of(std::size_t store, const MemoryLog::Partition& log, std::int64_t end,
                              Timestamp live_from) const {
  require(end <= std::ssize(log), "a committed end is beyond its log");
  if (is_versioned(store)) return folded_versions(log, end, layout_of(store));
  return folded(log, end, live_from);
}

Contents Simulation::engine_holds(std::size_t store) {
  return held(*harness_.disk->content(), static_cast<StoreIndex>(store), layout_of(store));
}

void Simulation::check_commit_point() {
  const auto expected = reference(committed_sources());
  for (std::size_t i = 0; i < harness_.plan.stores.size(); ++i) {
    // A key that has expired may wait in the changelog for its tombstone.
    const auto live_from = expected.stream_time - shape_.ttl + 1ms;
    require(state_of(i, harness_.changelog_log(i), harness_.committed_end(i),
                     keys_expire() ? live_from : Timestamp::min()) == expected.stores[i],
            "a commit point's changelog is not the state of its sources");
  }
}

// The engines of a task that has not begun: at the committed end.
void Simulation::check_restored() {
  for (std::size_t i = 0; i < harness_.plan.stores.size(); ++i) {
    const std::int64_t end = harness_.begun.stores[i].committed_end;
    require(broken_ != Break::kNone || end == harness_.committed_end(i),
            "a start does not begin at the committed end");
    const auto whole = whole_logs_.find(harness_.changelog(i));
    const auto& log = whole == whole_logs_.end() ? harness_.changelog_log(i) : whole->second;
    require(engine_holds(i) == state_of(i, log, end),
            "a restored engine is not the changelog's committed part");
  }
}

void Simulation::check_engine() {
  for (std::size_t i = 0; i < harness_.plan.stores.size(); ++i) {
    const auto position = harness_.disk->content()->position(static_cast<StoreIndex>(i));
    require((*position)->next_offset ==
                harness_.task->commit_point().changelog_ends.at(harness_.changelog(i).topic),
            "a checkpoint is not at the commit point");
    require(engine_holds(i) == state_of(i, harness_.changelog_log(i), (*position)->next_offset),
            "an engine is not the changelog up to its position");
  }
}

void Simulation::check_live() {
  std::vector<std::int64_t> ends;
  for (std::size_t i = 0; i < harness_.plan.inputs.size(); ++i)
    ends.push_back(harness_.task->position(i));
  const auto expected = reference(ends);
  for (std::size_t i = 0; i < harness_.plan.stores.size(); ++i)
    require(harness_.live(i) == expected.stores[i], "operators see another state");
}

void Simulation::expect_foreign(const Status& status) {
  require(foreign_ && status.code() == Code::kUnavailable,
          "refused without a cause: " + status.to_string());
}

void Simulation::settle() {
  quiet_ = true;
  append();  // Makes the task commit once more, over a stale commit that it does not know of.
  commit_all();
  check_live();
  const auto sources = committed_sources();
  for (std::size_t i = 0; i < sources.size(); ++i)
    require(sources[i] == log_end(i), "not all of the input is processed");
  check_commit_point();
  if (keys_expire()) check_tombstones();
  check_dead_letters();
  if (harness_.log.partitions(simulated_output.name()) > 0) check_outputs();
}

// Each is there: once under exactly-once, at least once otherwise.
void Simulation::check_outputs() {
  const bool once = harness_.settings.transactional && !repeats_;
  std::multiset<std::pair<std::string, std::string>> written;
  std::map<std::string, std::int64_t> latest;
  for (const auto& record : harness_.log.partition({simulated_output.name(), 0})) {
    if (!record.value || !record.visible()) continue;
    written.emplace(*record.key, *record.value);
    // A table hands on what has changed: never the same, never less, if nothing is done twice.
    const std::int64_t count = number_of(*record.value);
    const bool rises = count > std::exchange(latest[*record.key], count);
    require(rises || !shape_.settles_at_commit || !once, "a table's output repeats");
  }
  if (shape_.settles_at_commit) return;
  const auto expected = reference(committed_sources()).outputs;
  if (once) {
    require(written == expected, "outputs are not there exactly once");
  } else {
    require(std::includes(written.begin(), written.end(), expected.begin(), expected.end()),
            "outputs are lost");
  }
}

bool Simulation::processed_all() const {
  for (std::size_t i = 0; i < harness_.plan.inputs.size(); ++i) {
    if (harness_.task->position(i) < log_end(i)) return false;
  }
  return true;
}

// A foreign record is met by the first commit that writes to its changelog.
void Simulation::commit_all() {
  for (int attempt = 0;; ++attempt) {
    require(attempt < 3, "no commit gets through");
    while (!processed_all()) {
      require(harness_.process(std::size_t{1} << 20).has_value(), "processing fails");
      pass_time(1min);  // For records that wait.
    }
    const auto prepared = harness_.task->prepare();
    require(prepared.has_value(), "changes cannot be produced");
    if (!*prepared) return require(harness_.task->begin_epoch(), "outputs held back");
    const auto point = judge(**prepared);
    if (point) {
      land(*point);
      return require(harness_.learn(*point), "outputs held back");
    }
    expect_foreign(point.error());
    crash();
  }
}

// Each bad record, and no other, is a dead letter; after a crash some are again, unless all is one
// transaction.
void Simulation::check_dead_letters() {
  if (harness_.settings.errors.on_error != ErrorPolicy::kDeadLetter) return;
  std::set<std::string> expected;
  const auto& log = harness_.log.partition(harness_.plan.inputs[0]);
  for (std::int64_t i = begin_[0]; i < log_end(0); ++i) {
    const auto& record = log[static_cast<std::size_t>(i)];
    if (record.key && record.value && number_of(*record.value) % 13 == 0)
      expected.insert(std::to_string(i));
  }
  std::multiset<std::string> found;
  for (const auto& letter : harness_.log.partition(kDeadLetters)) {
    if (!letter.visible()) continue;
    for (const auto& header : letter.headers) {
      if (header.name == "__streams.errors.offset") found.insert(*header.value);
    }
  }
  require(std::set<std::string>{found.begin(), found.end()} == expected,
          "dead letters are not the records that fail");
  const bool once = harness_.settings.transactional && !repeats_;
  require(!once || found.size() == expected.size(), "dead letters are not there exactly once");
}

// All that is over is in the changelog as tombstones in the end, whatever engine and cache hold.
void Simulation::check_tombstones() {
  if (below(2) == 0) checkpoint();
  time_ += 2 * shape_.ttl;
  harness_.append(harness_.plan.inputs[0].topic, "alone", number_bytes(1), time_);
  commit_all();
  const Contents left = folded(harness_.changelog_log(), harness_.committed_end());
  require(left.size() == 1U && left.contains("alone"), "what has expired is in the changelog");
}

}  // namespace millrace::testing

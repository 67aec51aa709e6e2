// SPDX-License-Identifier: Apache-2.0
#include "tests/runtime/simulation.h"

#include <algorithm>
#include <array>
#include <utility>

namespace millrace::testing {
namespace {

using namespace std::chrono_literals;

// What the brokers of the simulation are set to.
constexpr std::chrono::milliseconds kDeleteRetention = 24h;
// So often is looked after what is uncommitted: reference/durability.md, "Compaction".
constexpr std::chrono::milliseconds kIdleCheck = kMinCompactionLag / 4;
// Of records that come late.
constexpr std::chrono::milliseconds kLate = 24h;

}  // namespace

Simulation::Simulation(const Shape& shape, std::uint64_t seed, Break broken)
    : shape_(shape),
      broken_(broken),
      random_(seed),
      harness_(shape.make()),
      disk_(std::make_shared<SimulatedDisk>(harness_.disk)),
      sink_(harness_.sink, harness_.log),
      reader_(harness_.log) {
  harness_.engine_factory = disk_;
  harness_.writer = &sink_;
  harness_.reader = &reader_;
  harness_.observer = &giving_up_;
  harness_.offsets = [this] { return offsets_for_start(); };
  harness_.clock.advance(std::chrono::hours{24 * 20});
  harness_.restore_settings.delete_retention = kDeleteRetention;
  for (const std::size_t store : written_stores())
    harness_.restore_settings.min_compaction_lags[harness_.changelog(store).topic] =
        compaction_lag(store);
  if (shape.skips) give_up_bad_records();
  harness_.settings.transactional = below(2) == 0;
  if (below(2) == 0) {
    reader_.batch_records = below(3) + 1;
    harness_.restore_settings.batch_bytes_max = 1;
  }
  static constexpr std::array<std::size_t, 3> kBudgets{0, 600, 1 << 20};
  harness_.budget = std::make_unique<CacheBudget>(kBudgets.at(below(3)));
  static constexpr std::array<std::size_t, 3> kSegments{1, 3, 10};
  segment_records_ = kSegments.at(below(3));
  if (below(2) == 0) age_ = std::chrono::hours{24 * 10};
  if (below(8) == 0 && !shape.from_earliest) harness_.restore_settings.reset = OffsetReset::kLatest;
  for (std::size_t i = below(6); i > 0; --i) append();
  begin_history();
  break_parts();
}

// Skipped or as dead letters, at once or after further attempts.
void Simulation::give_up_bad_records() {
  auto& rules = harness_.settings.errors;
  rules.on_error = below(2) == 0 ? ErrorPolicy::kSkip : ErrorPolicy::kDeadLetter;
  rules.retries = below(3);
  rules.dead_letter_topic = kDeadLetters.topic;
  harness_.log.create_topic(kDeadLetters.topic, 1);
}

// A table on its topic has all that the topic has, wherever its processing begins.
void Simulation::begin_history() {
  const bool table = shape_.fold_null != nullptr;
  const bool latest = harness_.restore_settings.reset == OffsetReset::kLatest && !table;
  begin_.assign(harness_.plan.inputs.size(), 0);
  for (std::size_t i = 0; latest && i < begin_.size(); ++i) begin_[i] = log_end(i);
}

void Simulation::run() {
  start();
  for (int i = 0; i < 60; ++i) step();
  settle();
}

std::int64_t Simulation::log_end(std::size_t input) const {
  return static_cast<std::int64_t>(harness_.log.partition(harness_.plan.inputs[input]).size());
}

std::string Simulation::some_key() {
  static const std::array<std::string, 6> kKeys{
      "", "a", "b", "c", std::string(1, '\0'), "long key " + std::string(40, 'x')};
  return kKeys.at(below(kKeys.size()));
}

// Those with a changelog of their own: no table on its source topic.
std::vector<std::size_t> Simulation::written_stores() const {
  std::vector<std::size_t> stores;
  for (std::size_t i = 0; i < harness_.plan.stores.size(); ++i) {
    if (harness_.plan.stores[i].writes_changelog()) stores.push_back(i);
  }
  return stores;
}

std::optional<std::size_t> Simulation::some_written_store() {
  const auto stores = written_stores();
  if (stores.empty()) return std::nullopt;
  return stores[below(stores.size())];
}

// --- Operations ---

void Simulation::step() {
  switch (below(16)) {
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
      crash_in_commit();
      break;
    case 12:
      stale_commit();
      break;
    case 13:
      harness_.task->maintain();
      pass_time(std::chrono::seconds{below(200)});
      break;
    case 14:
      clean_logs();
      break;
    case 15:
      rare_step();
      break;
  }
}

void Simulation::rare_step() {
  if (!harness_.durable()) return;
  switch (below(10)) {
    case 0:
    case 1:
    case 2:
      return outage();
    case 3:
      return lose_offsets();
    case 4:
      return truncate_log();
    case 5:
      return truncate_log_of_a_running_task();
    case 6:
      return written_stores().size() > 1 ? forget_store() : expire_offset();
    case 7:
      return mirror();
    case 8:
      return reset();
    case 9:
      return switch_guarantee();
  }
}

void Simulation::append() {
  time_ += std::chrono::milliseconds{below(20)};
  time_ = std::max(time_, harness_.clock.now() - age_);
  const auto& topic = harness_.plan.inputs[below(harness_.plan.inputs.size())].topic;
  std::optional<std::string> key;
  std::optional<std::string> value;
  if (below(15) != 0) key = some_key();
  if (below(15) != 0) value = number_bytes(static_cast<std::int64_t>(below(100)));
  const auto late = below(8) == 0 && !keys_expire() ? kLate : std::chrono::milliseconds{below(50)};
  harness_.append(topic, key, value, time_ - late);
}

void Simulation::process(std::size_t records) {
  const auto done = harness_.process(records);
  require(done.has_value(), "processing fails");
  if (!shape_.settles_at_commit) check_live();
}

void Simulation::commit() {
  if (below(4) == 0) announce_intrusion();
  if (below(12) == 0) {
    harness_.log.hide_offsets(below(3) + 1);
    foreign_ = true;  // Nobody can tell.
  }
  auto prepared = harness_.task->prepare();
  harness_.sink.call_off();
  harness_.log.hide_offsets(0);
  require(prepared.has_value(), "changes cannot be produced");
  if (!*prepared) return require(harness_.task->begin_epoch(), "outputs held back");
  const bool transactional = harness_.settings.transactional;
  if (broken(Break::kNextEpochNotHeldBack) && transactional)
    require(harness_.task->begin_epoch(), "outputs held back");
  if (below(3) == 0)
    require(harness_.process(below(5)).has_value(), "processing fails");  // Into the next epoch.
  if (below(6) == 0) checkpoint();                                        // While it is in flight.
  const auto point = judge(**prepared);
  if (!point) {
    expect_foreign(point.error());
    return crash();
  }
  if (transactional && below(8) == 0) {  // It is given up.
    if (!broken(Break::kAbortNotRolledBack)) return crash();
    harness_.log.end_transaction(false);
    harness_.log.begin_transaction();
    return require(harness_.learn(*point), "outputs held back");
  }
  if (broken(Break::kCheckpointBeforeCommit)) {
    harness_.task->committed(*point);
    require(harness_.task->checkpoint(), "checkpoint");
    if (below(3) == 0) return crash();
    land(*point);
    return require(harness_.task->begin_epoch(), "outputs held back");
  }
  if (broken(Break::kUnstableRead) && transactional && below(4) == 0)
    unstable_ = harness_.log.committed(harness_.plan.inputs);
  land(*point);
  check_commit_point();
  if (unstable_ || below(8) == 0) return crash();  // The answer is lost.
  require(harness_.learn(*point), "outputs held back");
  if (below(4) == 0) checkpoint();
}

void Simulation::checkpoint() {
  require(harness_.task->checkpoint(), "checkpoint");
  check_engine();
}

void Simulation::lose_disk_or_not() {
  switch (below(8)) {
    case 0:
    case 1:
      return harness_.disk->lose_disk();
    case 2:
    case 3:
      return disk_->move();
    case 4:
      return disk_->lose_power(broken(Break::kHoleInTheEngine));
    default:
      return;
  }
}

void Simulation::crash() {
  harness_.crash(true);
  lose_disk_or_not();
  if (below(2) == 0) clean_logs();
  start();
}

// Some of the changes reach the changelogs, then the writer is gone.
void Simulation::crash_in_commit() {
  harness_.log.lose_after(below(6));
  auto prepared = harness_.task->prepare();
  require(prepared.has_value(), "changes cannot be produced");
  if (broken(Break::kCommitBeforeAcks) && *prepared) land(*judge(**prepared));
  crash();
}

// Starts until one start gets through; the first tries may crash or meet a foreign writer.
void Simulation::start(bool quiet) {
  quiet = quiet || quiet_;
  for (int attempt = 0;; ++attempt) {
    foreign_ = false;
    const bool hurries = quiet || attempt > 3;
    giving_up_.after(!hurries && below(4) == 0 ? std::optional{below(8)} : std::nullopt);
    const auto created = harness_.create();
    giving_up_.after({});
    if (created.code() == Code::kCancelled) {
      harness_.crash(below(4) != 0);
      continue;
    }
    require(created, "a start fails");
    disk_->restored();
    if (harness_.durable()) check_restored();
    const bool skips = broken(harness_.durable() ? Break::kNoHealing : Break::kNoStartCommit);
    if (skips || start_commit(hurries).ok()) break;
    harness_.crash(below(2) == 0);
  }
  if (!harness_.durable() || broken(Break::kNoHealing))
    require(harness_.task->begin_epoch(), "outputs held back");
  exposed_since_.reset();
  if (foreign_) exposed_since_ = harness_.clock.now();
  check_live();
}

// Not ok: the start did not get through, as it may.
Status Simulation::start_commit(bool quiet) {
  // Before the first commit a record in the changelog means lost offsets: a case of its own.
  const bool alone = quiet || !harness_.durable();
  if (!alone && below(6) == 0) foreign_write();
  if (!alone && below(6) == 0) announce_intrusion();
  if (!quiet && below(5) == 0) harness_.log.lose_after(below(4));
  sink_.repeats_the_latest = broken(Break::kHealsWithTheLatest);
  const auto prepared = harness_.task->prepare_start();
  sink_.repeats_the_latest = false;
  harness_.sink.call_off();
  harness_.log.lose_after(std::nullopt);
  require(prepared.has_value(), "a start cannot write");
  const auto crashes = [&] { return !quiet && below(6) == 0; };
  if (crashes()) return Status::cancelled("crashed before the commit");
  const auto point = judge(**prepared);
  if (!point) {
    if (point.error().message() != "not answered") expect_foreign(point.error());
    return point.error();
  }
  land(*point);
  check_commit_point();
  if (crashes()) return Status::cancelled("crashed behind the commit");
  require(harness_.learn(*point), "outputs held back");
  return {};
}

// --- Others who write ---

void Simulation::foreign_write() {
  const auto where = harness_.changelog(some_store());
  const auto record = foreign_record();
  harness_.log.append(where, record);
}

void Simulation::announce_intrusion() {
  const auto where = harness_.changelog(some_store());
  const auto record = foreign_record();
  harness_.sink.intrude(below(4), where, record);
}

MemoryLog::StoredRecord Simulation::foreign_record() {
  foreign_ = true;
  if (!exposed_since_) exposed_since_ = harness_.clock.now();
  // It comes from the same program, which tells the time where its records do not.
  if (time_ < harness_.clock.now() - kIdleCheck && !broken(Break::kNoClockRecords)) {
    for (const std::size_t store : written_stores()) {
      if (is_versioned(store)) continue;
      harness_.log.append(harness_.changelog(store),
                          {std::string{kClockKey}, std::nullopt, harness_.clock.now(), {}});
    }
  }
  MemoryLog::StoredRecord record{some_key(), std::nullopt, time_, {}};
  if (below(3) != 0) record.value = number_bytes(-7);
  if (below(4) == 0) record.key = "foreign";
  if (below(10) == 0) record.key.reset();
  return record;
}

// A commit lands again, late, over the newest.
void Simulation::stale_commit() {
  const auto& history = harness_.history;
  if (harness_.settings.transactional || history.size() < 2) return;
  if (broken(Break::kStaleCommits)) {
    harness_.log.commit(history[below(history.size())]);
  } else {
    // The broker refuses those of an earlier producer; those of an earlier owner are not sent; one
    // that lands behind its successor has been in the network for a while at most.
    const auto& earlier = history[history.size() - 2];
    const auto sent_at = decode_metadata(earlier.front().metadata)->committed_at;
    if (harness_.clock.now() - sent_at > kIdleCheck) return;
    harness_.log.commit(earlier);
    exposed_since_ = std::min(exposed_since_.value_or(committed_at_), committed_at_);
  }
  if (below(2) == 0) crash();
}

// --- Time ---

void Simulation::pass_time(std::chrono::milliseconds duration) {
  const Timestamp then = harness_.clock.now() + duration;
  if (exposed_since_ && then - *exposed_since_ > kIdleCheck) heal();
  harness_.clock.advance(duration);
}

std::chrono::milliseconds Simulation::compaction_lag(std::size_t store) const {
  return is_versioned(store) ? kSimulatedHistory + 24h : kMinCompactionLag;
}

// Inputs stay whole, for the reference.
void Simulation::clean_logs() {
  for (const std::size_t store : written_stores()) {
    harness_.log.clean(harness_.changelog(store), {harness_.clock.now(), compaction_lag(store),
                                                   kDeleteRetention, segment_records_});
  }
}

// What is uncommitted is looked for in time, and before an orderly stop.
void Simulation::heal() {
  if (broken(Break::kNoLook)) return;
  std::vector<std::int64_t> ends;
  for (std::size_t i = 0; i < harness_.plan.stores.size(); ++i) {
    const bool written = harness_.plan.stores[i].writes_changelog();
    ends.push_back(written ? harness_.log.ends_now(harness_.changelog(i))->end : -1);
  }
  const auto status = harness_.task->check_logs(ends, true);
  if (!status.ok()) {
    expect_foreign(status);
    harness_.crash(true);
    return start(true);
  }
  const auto prepared = harness_.task->prepare();
  require(prepared.has_value(), "changes cannot be produced");
  require(*prepared != nullptr, "a look is not followed by a commit");
  const auto point = judge(**prepared);
  if (!point) {
    expect_foreign(point.error());
    harness_.crash(true);
    return start(true);
  }
  land(*point);
  check_commit_point();
  require(harness_.learn(*point), "outputs held back");
  exposed_since_.reset();
}

// What a crash has left in the changelogs stays there, unhealed, while brokers compact. A person is
// asked where a value may be lost by that; here the person has the topics as they were.
void Simulation::outage() {
  heal();
  if (below(3) == 0) {
    for (std::size_t i = below(8) + 1; i > 0; --i) append();
    require(harness_.process(10).has_value(), "processing fails");
    harness_.log.lose_after(below(6));
    require(harness_.task->prepare().has_value(), "changes cannot be produced");
  }
  const auto ends = harness_.task->commit_point().changelog_ends;
  harness_.crash(true);
  bool tail = false;  // Of records that were not healed, or had no key to heal.
  for (const std::size_t store : written_stores()) {
    const auto& where = harness_.changelog(store);
    const auto& log = whole_logs_[where] = harness_.changelog_log(store);
    tail |= std::cmp_less(ends.at(where.topic), log.size());
  }
  if (below(2) == 0) {
    disk_->move();
  } else {
    lose_disk_or_not();
  }
  nobody_is_there();
  if (!tail || harness_.settings.transactional) {
    whole_logs_.clear();
    return start();
  }
  harness_.restore_settings.accept_unknown_values = broken(Break::kUnknownIsAbsent);
  if (below(2) == 0) {
    giving_up_.after(below(8));
    static_cast<void>(harness_.create());
    giving_up_.after({});
    harness_.crash(true);
  }
  const auto status = harness_.create();
  harness_.crash(true);
  if (!status.ok()) {
    require(status.code() == Code::kInvalidArgument, "a start fails: " + status.to_string());
    for (const auto& [where, log] : whole_logs_) put_back(where, log);
    harness_.restore_settings.accept_unknown_values = true;  // Nobody else can know.
  }
  start(true);  // A crash, and the disk it loses, would need the person again.
  harness_.restore_settings.accept_unknown_values = false;
  whole_logs_.clear();
}

// For long.
void Simulation::nobody_is_there() {
  static constexpr std::array<std::chrono::hours, 5> kLengths{1h, 11h, 13h, 25h, 60h};
  for (std::size_t i = below(3) + 2; i > 0; --i) {
    harness_.clock.advance(kLengths.at(below(kLengths.size())));
    clean_logs();
  }
}

// --- What a person must decide ---

// A start ends with this error. What is broken goes on, to see the harm.
bool Simulation::refused(Code code) {
  const auto status = harness_.create();
  harness_.crash(true);
  if (status.ok() && broken_ != Break::kNone) return false;
  require(status.code() == code, "not refused as it should be: " + status.to_string());
  return true;
}

void Simulation::put_back(const TopicPartition& where, const MemoryLog::Partition& log) {
  harness_.log.truncate(where, 0);
  for (const auto& record : log) harness_.log.append(where, record);
}

void Simulation::put_back(const std::vector<CommittedOffset>& committed) {
  std::vector<OffsetCommit> commits;
  for (const auto& offset : committed) {
    if (offset.offset) commits.push_back({offset.input, *offset.offset, offset.metadata});
  }
  harness_.log.commit(commits);
}

void Simulation::lose_offsets() {
  const auto store = some_written_store();
  if (!store || harness_.changelog_log(*store).empty()) return;
  harness_.crash(true);
  const auto committed = harness_.log.committed(harness_.plan.inputs);
  harness_.log.forget_commits();
  if (refused(Code::kInvalidArgument)) put_back(committed);
  start();
}

void Simulation::truncate_log() {
  const std::size_t store = some_store();
  const auto end = static_cast<std::size_t>(harness_.committed_end(store));
  if (end == 0) return;
  harness_.crash(true);
  const auto log = harness_.changelog_log(store);
  harness_.log.truncate(harness_.changelog(store), static_cast<std::int64_t>(below(end)));
  if (refused(Code::kCorruption)) put_back(harness_.changelog(store), log);
  start();
}

void Simulation::truncate_log_of_a_running_task() {
  const auto store = some_written_store();
  if (harness_.settings.transactional || !store) return;
  const auto& where = harness_.changelog(*store);
  const auto end =
      static_cast<std::size_t>(harness_.task->commit_point().changelog_ends.at(where.topic));
  if (end == 0) return;
  const auto log = harness_.changelog_log(*store);
  harness_.log.truncate(where, static_cast<std::int64_t>(below(end)));
  append();
  require(harness_.process(20).has_value(), "processing fails");
  const auto prepared = harness_.task->prepare();
  require(prepared.has_value(), "changes cannot be produced");
  const auto writes_to_it = [&](const ChangelogWrite& write) {
    return write.changelog == where && write.acks->produced() > 0;
  };
  if (*prepared && std::ranges::any_of((*prepared)->changelogs, writes_to_it)) {
    const auto point = judge(**prepared);
    if (point && broken_ != Break::kNone) {
      land(*point);
      return check_commit_point();
    }
    require(!point, "a cut log is not noticed");
    if (point.error().code() != Code::kCorruption) expect_foreign(point.error());
  }
  put_back(where, log);
  crash();
}

// A version without one of the stores has run since an earlier commit.
void Simulation::forget_store() {
  heal();
  harness_.crash(true);
  const std::size_t store = *some_written_store();
  const auto& where = harness_.changelog(store);
  const auto earlier =
      decode_metadata(harness_.history[below(harness_.history.size())].front().metadata);
  const std::int64_t end = earlier->changelog_ends.at(topic_hash(where.topic));
  if (end == 0) return start();
  const auto log = harness_.changelog_log(store);
  const auto committed = harness_.log.committed(harness_.plan.inputs);
  auto without = committed;
  edit(without, [&](CommitPoint& point) { point.changelog_ends.erase(where.topic); });
  put_back(without);
  harness_.log.truncate(where, end);
  if (refused(Code::kInvalidArgument)) {
    put_back(where, log);
    put_back(committed);
  }
  start();
}

// --- What goes on by itself ---

// The group keeps what is committed for some of the inputs only.
void Simulation::expire_offset() {
  if (harness_.plan.inputs.size() < 2) return;
  harness_.crash(true);
  harness_.log.forget_commit(harness_.plan.inputs[below(harness_.plan.inputs.size())]);
  start();
}

// The topics and the group's offsets are copied to another cluster, while nobody runs.
void Simulation::mirror() {
  heal();
  harness_.crash(true);
  for (const std::size_t store : written_stores()) {
    MemoryLog::Partition copied;
    for (auto record : harness_.changelog_log(store)) {
      record.delete_horizon.reset();
      if (record.visible()) copied.push_back(std::move(record));
    }
    put_back(harness_.changelog(store), copied);
  }
  harness_.history.clear();
  ++harness_.restore_settings.cluster;
  start();
}

// Offsets, changelogs and dead letters are deleted; the disks of the machines are not.
void Simulation::reset() {
  harness_.crash(true);
  harness_.log.forget_commits();
  harness_.history.clear();
  for (const std::size_t store : written_stores())
    harness_.log.truncate(harness_.changelog(store), 0);
  if (shape_.skips) harness_.log.truncate(kDeadLetters, 0);
  begin_history();
  repeats_ = true;
  start();
}

void Simulation::switch_guarantee() {
  heal();
  harness_.crash(true);
  harness_.settings.transactional = !harness_.settings.transactional;
  harness_.history.clear();
  repeats_ = true;
  start();
}

}  // namespace millrace::testing

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/runtime/simulated_parts.h"
#include "tests/runtime/simulator_shapes.h"

namespace millrace::testing {

/// A rule of reference/durability.md that a simulated runtime lacks. The numbers are those of its
/// section 3.1.
enum class Break {
  kNone,
  kNoStartCommit,           // B1
  kStaleCommits,            // B2, B3: of any age, whoever has sent them.
  kNoContiguityCheck,       // B4
  kHealsWithTheLatest,      // B4b: the value of the uncommitted record, not the committed one.
  kReadsLag,                // B5: what is not in the cache comes from an older checkpoint.
  kNoHealing,               // B6 (a)
  kNoLook,                  // B6 (a) and B3, while a task is idle
  kNoClockRecords,          // B6 (b)
  kUnknownIsAbsent,         // B6 (d)
  kOldCheckpointUsed,       // B8
  kWithdrawnVersionsStay,   // B12
  kHoleInTheEngine,         // B11
  kLostOffsetsAreAStart,    // B13: no offsets: the whole log counts, the input begins anew.
  kOtherLineageUsed,        // B13
  kOtherClusterUsed,        // B13
  kMetadataOnOneInput,      // B14
  kAppliesTheWholeLog,      // B15
  kUnstableRead,            // B16: the group is read before the old transaction is over.
  kAheadAccepted,           // B17
  kTruncationAccepted,      // B18, at a start
  kOffsetsBelowAccepted,    // B18, while running
  kUnknownOffsetsAccepted,  // B19
  kUnknownStoreAccepted,    // B22
  kNoFlush,
  kCommitBeforeAcks,
  kCheckpointBeforeCommit,
  kRestoreOneShort,
  kMarkerNotCounted,
  kNextEpochNotHeldBack,
  kAbortNotRolledBack,
};

/// Where records that make a function throw go.
inline const TopicPartition kDeadLetters{"dead", 0};

/// What must hold does not.
class Violation final : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline void require(bool holds, const std::string& what) {
  if (!holds) throw Violation(what);
}
inline void require(const Status& status, const std::string& what) {
  require(status.ok(), what + ": " + status.to_string());
}

/// A task over a log in memory, driven by random operations: input, processing, commits that fail
/// half way, checkpoints, crashes with and without the disk, other machines with older disks, loss
/// of power, foreign writes into the changelogs, commits that come too late, compaction, outages,
/// topics and offsets that are lost. What must hold:
///   - every commit point (S, E): folding each changelog over [0, E) gives what a reference makes
///   of the input up to S, whatever compaction has left of it;
///   - an engine holds the fold of [0, P) for its position P, never more than the commit point
///   allows;
///   - what operators see is the reference's state of all that is processed;
///   - what only a person can decide is refused with a typed error, and goes on once it is put
///   right;
///   - in the end nothing is lost and nothing counts twice, and every output is there: at least
///   once, or once and no more where all of it is one transaction.
/// See reference/durability.md, "Invariant" and "Claim". A seed determines all of it.
class Simulation {
 public:
  Simulation(const Shape& shape, std::uint64_t seed, Break broken = Break::kNone);

  /// Throws Violation.
  void run();

 private:
  using Prepared = TaskHarness::Prepared;

  [[nodiscard]] bool broken(Break rule) const { return broken_ == rule; }
  void break_parts();
  void give_up_bad_records();
  void begin_history();
  std::size_t below(std::size_t end) {
    return std::uniform_int_distribution<std::size_t>{0, end - 1}(random_);
  }
  [[nodiscard]] std::int64_t log_end(std::size_t input) const;
  std::string some_key();
  std::size_t some_store() { return below(harness_.plan.stores.size()); }
  [[nodiscard]] std::vector<std::size_t> written_stores() const;
  std::optional<std::size_t> some_written_store();

  // --- Operations ---

  void step();
  void rare_step();
  void append();
  void process(std::size_t records);
  void commit();
  void checkpoint();
  void crash();
  void crash_in_commit();
  void start(bool quiet = false);
  Status start_commit(bool quiet);
  void lose_disk_or_not();

  void foreign_write();
  void announce_intrusion();
  MemoryLog::StoredRecord foreign_record();
  void stale_commit();

  void pass_time(std::chrono::milliseconds duration);
  [[nodiscard]] std::chrono::milliseconds compaction_lag(std::size_t store) const;
  void clean_logs();
  void heal();
  void outage();
  void nobody_is_there();

  // What a person must decide: refused, put right.
  void lose_offsets();
  void truncate_log();
  void truncate_log_of_a_running_task();
  void forget_store();
  bool refused(Code code);
  void put_back(const TopicPartition& where, const MemoryLog::Partition& log);
  void put_back(const std::vector<CommittedOffset>& committed);

  // What goes on by itself.
  void expire_offset();
  void mirror();
  void reset();
  void switch_guarantee();

  // --- The commit point ---

  std::vector<CommittedOffset> offsets_for_start();
  void edit(std::vector<CommittedOffset>& committed,
            const std::function<void(CommitPoint&)>& change) const;
  Result<CommitPoint> judge(const PreparedCommit& prepared);
  void land(const CommitPoint& point);

  // --- What must hold ---

  [[nodiscard]] const KeyLayout& layout_of(std::size_t store) const {
    return harness_.graph->stores()[harness_.plan.stores[store].store].layout;
  }
  [[nodiscard]] bool is_versioned(std::size_t store) const {
    return layout_of(store).kind() == StoreKind::kVersioned;
  }
  [[nodiscard]] Contents state_of(std::size_t store, const MemoryLog::Partition& log,
                                  std::int64_t end, Timestamp live_from = Timestamp::min()) const;
  Contents engine_holds(std::size_t store);
  Reference reference(const std::vector<std::int64_t>& ends) const;
  std::vector<std::int64_t> committed_sources() const;
  [[nodiscard]] bool keys_expire() const { return shape_.ttl.count() > 0; }
  void check_commit_point();
  void check_restored();
  void check_engine();
  void check_live();
  void check_outputs();
  void check_dead_letters();
  void check_tombstones();
  void expect_foreign(const Status& status);
  void settle();
  [[nodiscard]] bool processed_all() const;
  void commit_all();

  const Shape& shape_;
  const Break broken_;
  std::mt19937_64 random_;
  TaskHarness harness_;
  std::shared_ptr<SimulatedDisk> disk_;
  SimulatedSink sink_;
  SimulatedReader reader_;
  GivingUp giving_up_;
  std::vector<std::int64_t> begin_;  // Where the inputs' history begins for this application.
  std::chrono::milliseconds age_{};  // Of the records when they come.
  Timestamp time_{};                 // Of the newest record.
  std::size_t segment_records_ = 1;
  bool quiet_ = false;        // No faults.
  bool foreign_ = false;      // Somebody has written into a changelog since the start, or may have.
  bool repeats_ = false;      // Outputs may be there twice, by what a person has done.
  Timestamp committed_at_{};  // The newest commit point.
  std::optional<Timestamp> exposed_since_;  // Something uncommitted supersedes something committed.
  std::optional<std::vector<CommittedOffset>> unstable_;       // Read too early.
  std::map<TopicPartition, MemoryLog::Partition> whole_logs_;  // As before an outage in hand.
};

}  // namespace millrace::testing

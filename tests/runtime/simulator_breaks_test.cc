// SPDX-License-Identifier: Apache-2.0
//
// Each rule of reference/durability.md is taken out once: the simulator must find the harm. The
// seeds are fixed, and without the break they find nothing. B1 and so on are the rows of its
// section 3.1.
#include <iostream>

#include <boost/test/unit_test.hpp>

#include "tests/runtime/simulation.h"

namespace {

using namespace millrace::testing;

constexpr std::uint64_t kSeedsMax = 20'000;

void run(std::uint64_t seed, Break broken) {
  const auto& all = simulated_shapes();
  Simulation{all[seed % all.size()], seed, broken}.run();
}

// The first seed that shows the harm, which is none of the seeds' own.
void finds(Break broken) {
  for (std::uint64_t seed = 1; seed <= kSeedsMax; ++seed) {
    std::string harm;
    try {
      run(seed, broken);
    } catch (const Violation& violation) {
      harm = violation.what();
    }
    BOOST_REQUIRE_NO_THROW(run(seed, Break::kNone));
    if (harm.empty()) continue;
    std::cerr << boost::unit_test::framework::current_test_case().p_name << ": after " << seed
              << " seeds: " << harm << '\n';
    return;
  }
  BOOST_FAIL("found nothing in " << kSeedsMax << " seeds");
}

BOOST_AUTO_TEST_SUITE(simulator_breaks)

// B1
BOOST_AUTO_TEST_CASE(without_the_start_commit_it_finds_a_double_count) {
  finds(Break::kNoStartCommit);
}
// B2, B3
BOOST_AUTO_TEST_CASE(with_commits_of_lost_owners_it_finds_a_state_that_compaction_has_eaten) {
  finds(Break::kStaleCommits);
}
// B4
BOOST_AUTO_TEST_CASE(without_the_look_for_gaps_it_finds_a_foreign_value) {
  finds(Break::kNoContiguityCheck);
}
// B4b
BOOST_AUTO_TEST_CASE(healing_with_a_value_that_is_not_committed_it_finds_that_value) {
  finds(Break::kHealsWithTheLatest);
}
// B5
BOOST_AUTO_TEST_CASE(reading_past_changes_not_checkpointed_it_finds_a_lost_update) {
  finds(Break::kReadsLag);
}
// B6 (a)
BOOST_AUTO_TEST_CASE(without_healing_it_finds_a_foreign_value) { finds(Break::kNoHealing); }
// B6 (a), B3
BOOST_AUTO_TEST_CASE(without_looks_at_the_log_it_finds_a_committed_value_compacted_away) {
  finds(Break::kNoLook);
}
// B6 (b)
BOOST_AUTO_TEST_CASE(without_clock_records_it_finds_a_committed_value_compacted_away) {
  finds(Break::kNoClockRecords);
}
// B6 (d)
BOOST_AUTO_TEST_CASE(taking_unknown_values_for_absent_it_finds_a_lost_update) {
  finds(Break::kUnknownIsAbsent);
}
// B8
BOOST_AUTO_TEST_CASE(with_an_old_checkpoint_it_finds_a_deleted_key) {
  finds(Break::kOldCheckpointUsed);
}
// B11
BOOST_AUTO_TEST_CASE(with_a_hole_before_the_last_checkpoint_it_finds_what_is_missing) {
  finds(Break::kHoleInTheEngine);
}
// B12
BOOST_AUTO_TEST_CASE(taking_withdrawn_versions_for_versions_it_finds_a_lost_update) {
  finds(Break::kWithdrawnVersionsStay);
}
// B13
BOOST_AUTO_TEST_CASE(taking_lost_offsets_for_a_first_start_it_finds_a_double_count) {
  finds(Break::kLostOffsetsAreAStart);
}
BOOST_AUTO_TEST_CASE(with_an_engine_of_another_lineage_it_finds_the_other_state) {
  finds(Break::kOtherLineageUsed);
}
BOOST_AUTO_TEST_CASE(with_the_commit_point_of_another_cluster_it_finds_ends_that_are_wrong) {
  finds(Break::kOtherClusterUsed);
}
// B14
BOOST_AUTO_TEST_CASE(with_metadata_on_one_input_only_it_finds_a_lost_commit_point) {
  finds(Break::kMetadataOnOneInput);
}
// B15
BOOST_AUTO_TEST_CASE(applying_the_whole_log_it_finds_what_is_not_committed) {
  finds(Break::kAppliesTheWholeLog);
}
// B16
BOOST_AUTO_TEST_CASE(reading_the_group_in_an_open_transaction_it_finds_a_second_output) {
  finds(Break::kUnstableRead);
}
// B17
BOOST_AUTO_TEST_CASE(with_an_engine_ahead_of_the_commit_it_finds_what_is_not_committed) {
  finds(Break::kAheadAccepted);
}
// B18
BOOST_AUTO_TEST_CASE(accepting_a_cut_log_it_finds_a_lost_update) {
  finds(Break::kTruncationAccepted);
}
BOOST_AUTO_TEST_CASE(accepting_a_log_that_is_cut_while_running_it_finds_a_lost_update) {
  finds(Break::kOffsetsBelowAccepted);
}
// B19
BOOST_AUTO_TEST_CASE(trusting_unknown_offsets_it_finds_a_foreign_value) {
  finds(Break::kUnknownOffsetsAccepted);
}
// B22
BOOST_AUTO_TEST_CASE(taking_the_log_of_an_unknown_store_it_finds_a_state_of_another_time) {
  finds(Break::kUnknownStoreAccepted);
}

BOOST_AUTO_TEST_CASE(without_the_flush_it_finds_a_lost_update) { finds(Break::kNoFlush); }
BOOST_AUTO_TEST_CASE(committing_before_the_acknowledgements_it_finds_an_end_that_is_not_there) {
  finds(Break::kCommitBeforeAcks);
}
BOOST_AUTO_TEST_CASE(with_a_checkpoint_before_the_commit_it_finds_what_is_not_committed) {
  finds(Break::kCheckpointBeforeCommit);
}
BOOST_AUTO_TEST_CASE(restoring_one_record_short_it_finds_a_lost_update) {
  finds(Break::kRestoreOneShort);
}

// Exactly-once.
BOOST_AUTO_TEST_CASE(not_counting_markers_it_finds_commits_refused_without_a_cause) {
  finds(Break::kMarkerNotCounted);
}
BOOST_AUTO_TEST_CASE(not_holding_back_outputs_it_finds_one_twice) {
  finds(Break::kNextEpochNotHeldBack);
}
BOOST_AUTO_TEST_CASE(going_on_behind_an_abort_it_finds_what_is_lost) {
  finds(Break::kAbortNotRolledBack);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace

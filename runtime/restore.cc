// SPDX-License-Identifier: Apache-2.0
#include "runtime/restore.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "runtime/clock_record.h"
#include "runtime/engine_loader.h"
#include "runtime/kill_point.h"

namespace millrace {
namespace {

class Restore {
 public:
  Restore(const TaskPlan& plan, TaskEngines& engines, const std::vector<CommittedOffset>& committed,
          ChangelogReader& reader, const Clock& clock, const RestoreSettings& settings,
          RestoreObserver& observer)
      : plan_(plan),
        engines_(engines),
        committed_(committed),
        reader_(reader),
        clock_(clock),
        settings_(settings),
        observer_(observer) {}

  Result<TaskStart> run() {
    for (const auto& store : plan_.stores) {
      logs_.emplace_back();
      if (!store.has_changelog()) continue;
      auto ends = ends_of(store);
      if (!ends) return ends.error();
      logs_.back() = *ends;
    }
    auto status = find_commit_point();
    for (std::size_t i = 0; status.ok() && i < plan_.stores.size(); ++i) status = restore_store(i);
    if (!status.ok()) return status;
    return std::move(start_);
  }

 private:
  Result<ChangelogReader::Ends> ends_of(const StorePlan& store) {
    return store.on_source ? reader_.ends_now(store.changelog) : reader_.ends(store.changelog);
  }

  // Sets start_.point and the committed end of every store.
  Status find_commit_point() {
    start_.stores.resize(plan_.stores.size());
    for (const auto& partition : committed_) {
      if (const auto time = decode_partition_time(partition.metadata)) {
        start_.point.partition_times[partition.input.topic] = *time;
      }
    }
    points_ = valid_commit_points(committed_, settings_.cluster);
    start_.point.cluster = settings_.cluster;
    if (points_.empty()) {
      start_.point.lineage = settings_.new_lineage;
    } else {
      start_.point.lineage = points_.front().lineage;
      start_.point.sequence = points_.front().sequence;
      start_.point.committed_at = points_.front().committed_at;
    }
    if (auto status = find_sources(); !status.ok()) return status;
    if (auto status = find_ends(); !status.ok()) return status;
    carry_ends();
    // Last: the ends are those of the commit, wherever the inputs go on.
    return pass_over_lost();
  }

  Status find_ends() {
    const bool has_offsets = std::any_of(committed_.begin(), committed_.end(),
                                         [](const auto& c) { return c.offset.has_value(); });
    is_known_.resize(plan_.stores.size(), points_.empty());
    committed_at_.resize(plan_.stores.size(), start_.point.committed_at);
    for (std::size_t i = 0; i < plan_.stores.size(); ++i) {
      const auto& changelog = plan_.stores[i].changelog;
      const std::int64_t log_end = logs_[i].end;
      StoreStart& store = start_.stores[i];
      if (plan_.stores[i].on_source) {
        store.committed_end = start_.point.sources.at(changelog.topic);
        if (!points_.empty()) is_known_[i] = knows(points_.front(), topic_hash(changelog.topic), i);
      } else if (plan_.stores[i].starts_empty) {
        store.committed_end = log_end;  // Counts as it stands; 0 without a changelog.
      } else if (!points_.empty()) {
        if (auto status = find_end(i); !status.ok()) return status;
      } else if (has_offsets) {
        store.committed_end = log_end;  // Take-over from another runtime: the whole log counts.
      } else if (log_end > 0) {
        return Status::invalid_argument(
            CommittedOffsetsLostError(changelog.topic, changelog.partition, log_end).what());
      }
      if (plan_.stores[i].has_changelog() && store.committed_end > log_end) {
        return Status::corruption(
            "changelog " + to_string(changelog) + " ends at offset " + std::to_string(log_end) +
            ", but the task's last commit covers it up to " + std::to_string(store.committed_end) +
            ": it was truncated or made anew; reset the application or restore the topic");
      }
      // What others append to a table's topic is input, not a tail.
      store.examined_end = plan_.stores[i].on_source ? store.committed_end : log_end;
      if (!plan_.stores[i].has_changelog()) continue;
      start_.point.changelog_ends[changelog.topic] = store.committed_end;
      start_.point.changelog_stores[changelog.topic] = store_hash(name_of(i));
    }
    return {};
  }

  // The committed end of a store, or why the store cannot go on from there. Inputs that were those
  // of different tasks have commit points of their own, each of which may know the store.
  Status find_end(std::size_t i) {
    const std::uint64_t topic = topic_hash(plan_.stores[i].changelog.topic);
    StoreStart& store = start_.stores[i];
    for (const auto& point : points_) {
      const auto listed = point.changelog_ends.find(topic);
      if (listed == point.changelog_ends.end() || !covers_sources(point)) continue;
      store.committed_end = listed->second;
      is_known_[i] = knows(point, topic, i);
      committed_at_[i] = point.committed_at;
      return {};
    }
    const auto& table_topic = spec_of(i).table_topic;
    if (!table_topic.empty() && knows(points_.front(), topic_hash(table_topic), i) &&
        start_.point.sources.contains(table_topic)) {
      store.moves_from_source = true;
      return {};
    }
    // The task has gone on without the store. Ends of a log only grow.
    bool is_elsewhere = false;
    for (const auto& point : points_) {
      if (point.lineage != start_.point.lineage) continue;
      for (const CarriedEnd& known : ends_in(point)) {
        if (known.store != store_hash(name_of(i)) || known.end == 0) continue;
        if (known.topic != topic) {
          is_elsewhere = true;
        } else if (logs_[i].end > 0) {  // Of a log that was deleted nothing comes back.
          store.committed_end = std::max(store.committed_end, known.end);
          store.missed_commits = true;
        }
      }
    }
    if (store.missed_commits) return {};
    if (is_elsewhere) return kept_elsewhere(i);
    if (logs_[i].end == 0) return {};
    return Status::invalid_argument(
        "changelog " + to_string(plan_.stores[i].changelog) + " holds records up to offset " +
        std::to_string(logs_[i].end) +
        ", but the task's last commit does not know the store: it was taken out and added again, "
        "so its content is of another time; delete the changelog to begin with an empty store, or "
        "give the store a new name");
  }

  // Of the stores that a task had, and of those it had before.
  static std::vector<CarriedEnd> ends_in(const DecodedCommitPoint& point) {
    std::vector<CarriedEnd> ends;
    for (const auto& [topic, end] : point.changelog_ends)
      ends.push_back({topic, point.changelog_stores.at(topic), end});
    ends.insert(ends.end(), point.carried.begin(), point.carried.end());
    return ends;
  }

  // Whether the task goes on where this commit left its inputs.
  bool covers_sources(const DecodedCommitPoint& point) const {
    return std::ranges::all_of(start_.point.sources, [&](const auto& source) {
      const auto inside = point.sources.find(topic_hash(source.first));
      return inside == point.sources.end() || inside->second == source.second;
    });
  }

  Status kept_elsewhere(std::size_t i) const {
    return Status::invalid_argument(
        "store '" + name_of(i) + "' now has the changelog " + to_string(plan_.stores[i].changelog) +
        ", but its state is in another one, as the task's last commit with the store says: the "
        "store would begin empty while the input goes on; set its changelog back "
        "(ChangelogOptions::topic, the application's default is " +
        plan_.application_id + '-' + name_of(i) +
        "-changelog), or give the store a new name to begin empty");
  }

  // Whether the topic was the store's changelog in the last commit. Only then the engine's position
  // is one of this topic.
  bool knows(const DecodedCommitPoint& valid, std::uint64_t topic, std::size_t i) const {
    const auto found = valid.changelog_stores.find(topic);
    if (found == valid.changelog_stores.end()) return false;
    return found->second == 0 || found->second == store_hash(name_of(i));
  }

  // The ends of stores that the task does not have now: they may come back.
  void carry_ends() {
    std::set<std::uint32_t> stores;
    std::set<std::uint64_t> topics;
    for (std::size_t i = 0; i < plan_.stores.size(); ++i) {
      stores.insert(store_hash(name_of(i)));
      topics.insert(topic_hash(plan_.stores[i].changelog.topic));
    }
    auto& carried = start_.point.carried;
    const auto carry = [&](const CarriedEnd& of) {
      if (of.end == 0 || stores.contains(of.store) || topics.contains(of.topic)) return;
      const auto same = std::ranges::find_if(carried, [&](const CarriedEnd& other) {
        return other.store == of.store && other.topic == of.topic;
      });
      if (same == carried.end()) return carried.push_back(of);
      same->end = std::max(same->end, of.end);
    };
    for (const auto& point : points_) std::ranges::for_each(ends_in(point), carry);
    if (carried.size() > kCarriedEndsMax) carried.resize(kCarriedEndsMax);
  }

  Status find_sources() {
    for (const auto& input : plan_.inputs) {
      std::optional<std::int64_t> next;
      if (!points_.empty()) {
        const auto& latest = points_.front().sources;
        const auto inside = latest.find(topic_hash(input.topic));
        if (inside != latest.end()) next = inside->second;
      }
      if (!next) {
        const auto group = std::find_if(committed_.begin(), committed_.end(), [&](const auto& c) {
          return c.input == input && c.offset.has_value();
        });
        if (group != committed_.end()) next = group->offset;
      }
      if (!next) {
        // Made definite now and committed before anything is read, so that a crash cannot move the
        // start.
        auto ends = reader_.ends_now(input);
        if (!ends) return ends.error();
        next = settings_.reset == OffsetReset::kEarliest ? ends->start : ends->end;
      }
      start_.point.sources[input.topic] = *next;
    }
    return {};
  }

  // Brokers delete by age and on demand, whether a record was processed or not.
  Status pass_over_lost() {
    for (const auto& input : plan_.inputs) {
      std::int64_t& next = start_.point.sources.at(input.topic);
      const auto ends = reader_.ends_now(input);
      if (!ends) return ends.error();
      if (next > ends->end) {
        return Status::unavailable("input " + to_string(input) + " ends at offset " +
                                   std::to_string(ends->end) + ", but the last commit is at " +
                                   std::to_string(next) +
                                   ": it was truncated or made anew; reset the application");
      }
      if (next >= ends->start) continue;
      if (!settings_.skip_lost_records) {
        return Status::invalid_argument(
            "input " + to_string(input) + " begins at offset " + std::to_string(ends->start) +
            ", but the last commit is at " + std::to_string(next) +
            ": what lies between was deleted before it was processed (retention, or "
            "DeleteRecords); set on_lost_records = skip to go on without it, or reset the "
            "application");
      }
      start_.lost.push_back({input, next, ends->start});
      next = ends->start;
    }
    return {};
  }

  // Where in the changelog the engine's content allows to go on; 0 where it cannot be used, and
  // `rebuilt` says why.
  Result<std::int64_t> usable_position(std::size_t i) {
    const auto& place = engines_.places()[i];
    const std::int64_t end = start_.stores[i].committed_end;
    auto position = place.engine->position(place.index);
    content_from_ = clock_.now();
    std::string why;
    if (!position) {
      if (position.error().code() != Code::kCorruption) return position.error();
      why = position.error().message();
    } else if (!position->has_value()) {
      return std::int64_t{0};
    } else if ((*position)->lineage != lineage_of(i)) {
      why = "it belongs to another history of the application, or to a store of another kind";
    } else if (!is_known_[i]) {
      why = "the last commit did not cover it with this changelog";
    } else if ((*position)->next_offset > end) {
      why = "it is ahead of the last commit (" + std::to_string((*position)->next_offset) + " > " +
            std::to_string(end) + ")";
    } else if ((*position)->next_offset < end &&
               clock_.now() - (*position)->checkpointed_at > settings_.delete_retention / 2) {
      why = "its last checkpoint is so old that the changelog may have lost deletions since";
    } else if (!segments_fit(i)) {
      why = "its retention or its layout was another one, so that its entries stand elsewhere";
    } else if (layout_of(i).expires() && (*position)->next_offset < logs_[i].start &&
               (*position)->next_offset < end) {
      why = "the changelog records behind it have been deleted by their age";
    } else if (plan_.stores[i].on_source && (*position)->next_offset < logs_[i].start &&
               (*position)->next_offset < end) {
      why = "records of the topic that it lacks have been deleted";
    } else {
      content_from_ = (*position)->checkpointed_at;
      return (*position)->next_offset;
    }
    start_.stores[i].rebuilt = why;
    return std::int64_t{0};
  }

  const StoreSpec& spec_of(std::size_t i) const {
    return plan_.graph->stores()[plan_.stores[i].store];
  }
  const std::string& name_of(std::size_t i) const { return spec_of(i).options.name(); }
  const KeyLayout& layout_of(std::size_t i) const { return spec_of(i).layout; }
  std::uint64_t lineage_of(std::size_t i) const {
    return engine_lineage(start_.point.lineage, layout_of(i).kind());
  }

  // Segments of another length would be looked for in the wrong places.
  bool segments_fit(std::size_t i) {
    if (!layout_of(i).observes_time()) return true;
    const auto& place = engines_.places()[i];
    const auto record = place.engine->get(place.index, KeyLayout::kTimeKey);
    return !record || !record->has_value() || layout_of(i).observed_time(**record).has_value();
  }

  // What an earlier start left in the engine may be of any commit.
  Status begin_empty(std::size_t i) {
    const auto& place = engines_.places()[i];
    start_.stores[i].restored_from = start_.stores[i].committed_end;
    const auto position = place.engine->position(place.index);
    if (!position && position.error().code() != Code::kCorruption) return position.error();
    if (position && !position->has_value()) return {};  // Never written to.
    return place.engine->clear(place.index);
  }

  // What the broker has deleted from a changelog of windows had expired: their retention there is
  // longer. A table on its topic is what the topic has.
  bool may_be_cut(std::size_t i) const {
    return layout_of(i).expires() || plan_.stores[i].on_source;
  }

  // Brokers may delete the oldest records of a log while it waits for its turn or is read.
  Status restore_store(std::size_t i) {
    constexpr int kAttemptsMax = 10;
    for (int attempt = 1;; ++attempt) {
      auto status = restore_from_log(i);
      if (status.code() != Code::kCorruption || !may_be_cut(i) || attempt == kAttemptsMax)
        return status;
      const auto ends = ends_of(plan_.stores[i]);
      if (!ends) return ends.error();
      if (ends->start <= logs_[i].start) return status;
      logs_[i].start = ends->start;
    }
  }

  Status restore_from_log(std::size_t i) {
    unseen_.clear();
    tail_records_ = 0;
    start_.stores[i].records = 0;
    if (plan_.stores[i].starts_empty) return begin_empty(i);
    if (start_.stores[i].moves_from_source) return move_from_source(i);
    const auto& changelog = plan_.stores[i].changelog;
    StoreStart& store = start_.stores[i];
    auto from = usable_position(i);
    if (!from) return from.error();
    if (may_be_cut(i))
      *from = std::clamp(logs_[i].start, *from, std::max(*from, store.committed_end));
    store.restored_from = *from;
    if (*from < logs_[i].start && *from < store.committed_end) {
      return Status::corruption(
          "changelog " + to_string(changelog) + " begins at offset " +
          std::to_string(logs_[i].start) + ", but the state must be read from " +
          std::to_string(*from) +
          " on: records were deleted from it (retention, or DeleteRecords), so the state cannot "
          "be restored; reset the application, and set the topic's cleanup.policy to compact");
    }
    if (!plan_.stores[i].on_source) {
      if (auto status = read_tail(i); !status.ok()) return status;
    }
    // Before anything is touched: what an engine holds now may be all that is left of a value.
    if (suspects(i) > 0) {
      if (auto status = look_at_log(i); !status.ok()) return status;
    }
    const auto& place = engines_.places()[i];
    if (!store.rebuilt.empty()) {
      if (auto status = place.engine->clear(place.index); !status.ok()) return status;
    }
    if (auto status = load(i, changelog, store.committed_end, lineage_of(i)); !status.ok())
      return status;
    // The engine has what the log has lost without saying of which keys.
    if (store.restored_from > 0 && lost_in_tail(i) > 0) return write_all_again(i);
    return {};
  }

  // Keys of the tail that the log has not shown, and whose committed values a record of the tail
  // may have cost them: brokers compact behind what is older than the lag, and a start in time has
  // written the tail's keys again before.
  std::size_t suspects(std::size_t i) const {
    const auto lag = settings_.min_compaction_lags.find(plan_.stores[i].changelog.topic);
    if (lag == settings_.min_compaction_lags.end()) return 0;
    // A change set may begin with a record that is older than itself by a quarter of the time that
    // can be counted on (Task::protect); one of versions with a record of any age.
    if (layout_of(i).kind() != StoreKind::kVersioned &&
        age_of_commit(i) <= lag->second - protected_time(lag->second) / 4) {
      return 0;
    }
    const auto unprotected = std::count_if(unseen_.begin(), unseen_.end(), [&](const auto& unseen) {
      return clock_.now() - unseen.second > lag->second;
    });
    return static_cast<std::size_t>(unprotected) + lost_in_tail(i);
  }

  // Records of the tail that are not there any more, of keys nobody knows: deletions, which brokers
  // take out once their time is over, after what they have deleted. They never take the last record
  // of a log: holes behind that are markers of transactions, or what was in one that was given up.
  std::size_t lost_in_tail(std::size_t i) const {
    if (settings_.transactional || tail_records_ == 0 ||
        age_of_commit(i) <= settings_.delete_retention) {
      return 0;
    }
    const std::int64_t end = start_.stores[i].committed_end;
    const std::int64_t from = may_be_cut(i) ? std::max(end, logs_[i].start) : end;
    return static_cast<std::size_t>(tail_end_ - from) - tail_records_;
  }

  // The commit point's time is not that of a store which was not in it.
  std::chrono::milliseconds age_of_commit(std::size_t i) const {
    if (start_.stores[i].missed_commits) return std::chrono::milliseconds::max();
    return clock_.now() - committed_at_[i];
  }

  Status look_at_log(std::size_t i) {
    const StoreStart& store = start_.stores[i];
    const auto& changelog = plan_.stores[i].changelog;
    const auto unseen = unseen_;
    seen_records_ = 0;
    auto status = reader_.read(
        changelog, store.restored_from, store.committed_end,
        [&](std::span<const LogRecord> records) -> Status {
          see(records);
          if (!observer_.cancelled()) return {};
          return Status::cancelled("restore of " + to_string(changelog) + " was stopped");
        });
    if (status.ok()) status = judge(i);
    unseen_ = unseen;  // What is there now may be gone before it is loaded.
    return status;
  }

  // A key that the log from the engine's position on shows up to the committed end has its
  // committed value there. One that it does not show has it in the engine, if nothing was taken
  // out.
  Status judge(std::size_t i) {
    StoreStart& store = start_.stores[i];
    const auto offsets = static_cast<std::uint64_t>(store.committed_end - store.restored_from);
    store.unknown_values = seen_records_ == offsets ? 0 : suspects(i);
    if (store.unknown_values == 0 || settings_.accept_unknown_values) return {};
    const auto& changelog = plan_.stores[i].changelog;
    return Status::invalid_argument(
        UnknownValuesError(changelog.topic, changelog.partition, store.unknown_values).what());
  }

  // Brings the engine from `restored_from` to `end` of `log`. Where a value may be missing a later
  // start must look at all of it again, whatever part an earlier one has written: the rest alone
  // cannot tell. A part is as old as what it was added to.
  Status load(std::size_t i, const TopicPartition& log, std::int64_t end, std::uint64_t lineage) {
    StoreStart& store = start_.stores[i];
    EngineLoader loader{engines_.places()[i], layout_of(i)};
    if (auto status = loader.open(); !status.ok()) return status;
    observer_.progress(i, store.restored_from, end);
    seen_records_ = 0;
    bool in_doubt = suspects(i) > 0;

    auto status = reader_.read(
        log, store.restored_from, end, [&](std::span<const LogRecord> records) -> Status {
          store.records += loader.add(records);
          see(records);
          if (loader.bytes() < settings_.batch_bytes_max) return {};
          if (observer_.cancelled())
            return Status::cancelled("restore of " + to_string(log) + " was stopped");
          const std::int64_t position = records.back().offset + 1;
          observer_.progress(i, position, end);
          in_doubt = in_doubt || suspects(i) > 0;  // The lag may pass meanwhile.
          return loader.write({lineage, in_doubt ? store.restored_from : position, content_from_});
        });
    MILLRACE_KILL_POINT("during_restore");
    if (status.ok()) status = judge(i);  // Before a later start can take the engine for complete.
    if (status.ok() && store.restored_from < end)
      status = loader.write({lineage, end, clock_.now()});
    if (!status.ok()) return status;
    observer_.progress(i, end, end);
    return {};
  }

  void see(std::span<const LogRecord> records) {
    seen_records_ += records.size();
    if (unseen_.empty()) return;
    for (const LogRecord& record : records) {
      if (record.key) unseen_.erase(std::string{*record.key});
    }
  }

  // The rows of a table whose state was its source topic, which has a changelog of its own now:
  // read from the topic once more, and all of them to be written. Until that is committed and
  // checkpointed, no start takes the engine's content for restored.
  Status move_from_source(std::size_t i) {
    const auto& place = engines_.places()[i];
    if (auto status = place.engine->clear(place.index); !status.ok()) return status;
    const TopicPartition source{spec_of(i).table_topic, plan_.id.partition};
    auto ends = reader_.ends_now(source);
    if (!ends) return ends.error();
    const std::int64_t end = start_.point.sources.at(source.topic);
    start_.stores[i].restored_from = std::min(ends->start, end);
    if (auto status = load(i, source, end, kNoLineage); !status.ok()) return status;
    start_.stores[i].restored_from = 0;
    if (auto status = read_tail(i); !status.ok()) return status;
    return write_all_again(i);
  }

  // Every key of the engine, with those of the tail.
  Status write_all_again(std::size_t i) {
    const auto& place = engines_.places()[i];
    auto scan = place.engine->scan(place.index, std::nullopt, std::nullopt);
    if (!scan) return scan.error();
    auto& keys = start_.stores[i].tail_keys;
    const bool has_time = layout_of(i).observes_time();
    for (; (*scan)->valid(); (*scan)->next()) {
      if (!has_time || (*scan)->key() != KeyLayout::kTimeKey) keys.emplace_back((*scan)->key());
    }
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    return (*scan)->status();
  }

  // What a crashed commit or a writer that has lost the partition left behind the committed end.
  Status read_tail(std::size_t i) {
    StoreStart& store = start_.stores[i];
    std::unordered_set<std::string> keys;
    std::string engine_key;
    Timestamp newest{};  // Compaction leaves alone what follows a young record, too.
    tail_records_ = 0;
    auto status =
        reader_.read(plan_.stores[i].changelog, std::max(store.committed_end, logs_[i].start),
                     store.examined_end, [&](std::span<const LogRecord> records) -> Status {
                       tail_records_ += records.size();
                       tail_end_ = records.back().offset + 1;
                       for (const LogRecord& record : records) {
                         newest = std::max(newest, record.timestamp);
                         // What is no key of the store does not get into it either.
                         if (record.key && *record.key != kClockKey &&
                             layout_of(i).engine_key(*record.key, record.timestamp, engine_key)) {
                           keys.insert(engine_key);
                           unseen_.try_emplace(std::string{*record.key}, newest);
                         }
                       }
                       return {};
                     });
    store.tail_keys.assign(keys.begin(), keys.end());
    std::sort(store.tail_keys.begin(), store.tail_keys.end());
    return status;
  }

  const TaskPlan& plan_;
  TaskEngines& engines_;
  const std::vector<CommittedOffset>& committed_;
  ChangelogReader& reader_;
  const Clock& clock_;
  const RestoreSettings& settings_;
  RestoreObserver& observer_;
  std::vector<ChangelogReader::Ends> logs_;
  std::vector<DecodedCommitPoint> points_;  // The valid ones, the latest first.
  // Of the store in hand: changelog keys of the tail that the log has not shown yet, with the time
  // up to which the oldest record there is protected from compaction; how many records the log and
  // its tail have shown.
  std::unordered_map<std::string, Timestamp> unseen_;
  std::uint64_t seen_records_ = 0;
  std::size_t tail_records_ = 0;
  std::int64_t tail_end_ = 0;   // One past the last of them.
  Timestamp content_from_{};    // Of the engine's content, before anything was added to it.
  std::vector<bool> is_known_;  // By store: its changelog is that of the last commit.
  std::vector<Timestamp> committed_at_;  // By store: its last commit.
  TaskStart start_;
};

}  // namespace

Result<TaskStart> restore_task(const TaskPlan& plan, TaskEngines& engines,
                               const std::vector<CommittedOffset>& committed,
                               ChangelogReader& reader, const Clock& clock,
                               const RestoreSettings& settings, RestoreObserver& observer) {
  return Restore{plan, engines, committed, reader, clock, settings, observer}.run();
}

}  // namespace millrace

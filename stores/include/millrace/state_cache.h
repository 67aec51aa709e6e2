// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/engine.h"
#include "millrace/error.h"
#include "millrace/key_layout.h"
#include "millrace/time.h"
#include "millrace/value_ops.h"

namespace millrace {

/// The engine below a store failed in the middle of a record. Not the user's fault: the task is
/// dropped, nothing of the epoch is committed, and it starts again from its commit point.
class StoreFailure final : public Error {
 public:
  explicit StoreFailure(Status status)
      : Error("store_failure", status.message()), status_(std::move(status)) {}
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  Status status_;
};

/// How many bytes all state caches of a process may hold together. Thread-safe.
struct CacheBudget {
  explicit CacheBudget(std::size_t limit) : bytes_max(limit) {}
  const std::size_t bytes_max;
  std::atomic<std::size_t> bytes_used{0};
  std::atomic<std::size_t> caches{0};
};

/// One serialised change of a commit. Points into its ChangeSet and, for the key, into the cache
/// entry.
struct Change {
  /// The engine key; `KeyLayout::log_key` is within it.
  std::string_view key;
  /// Big-endian timestamp, 8 bytes, then the value: what engines keep. Unused for a deletion.
  std::string_view engine_value;
  bool deleted = false;
  /// false: only the engine is told. Of deletions that follow from what the changelog says
  /// otherwise.
  bool logged = true;
  Timestamp timestamp;
  /// Deleted, of a versioned store: the changelog has a version here that no commit covers.
  /// `engine_value` is the one that was in effect before it, for the changelog.
  bool withdrawn = false;

  /// What the changelog carries: the value without its timestamp, or null for a deletion.
  [[nodiscard]] std::optional<std::string_view> changelog_value(const KeyLayout& layout) const {
    if (deleted && !withdrawn) return std::nullopt;
    return layout.log_value(engine_value);
  }
};

/// A decoded value in the cache, or the knowledge that the key has none.
///
/// Owned by its StateCache; a reference stays good until the next `trim()`.
class StateEntry {
 public:
  [[nodiscard]] bool present() const { return present_; }
  /// The value. Precondition: `present()`.
  [[nodiscard]] const void* value() const { return storage_; }
  [[nodiscard]] Timestamp timestamp() const { return timestamp_; }
  [[nodiscard]] std::string_view key() const { return {key_, key_size_}; }
  /// Absent since the last commit because its time to live was over; the timestamp is when that
  /// was.
  [[nodiscard]] bool expired() const { return expired_; }

 private:
  friend class StateCache;

  std::uint64_t hash_ = 0;
  StateEntry* same_hash_ =
      nullptr;                 // Next entry with an equal 64-bit hash: practically always null.
  void* storage_ = nullptr;    // Room for one value, in the same block as the entry.
  const char* key_ = nullptr;  // Likewise.
  const Change* in_flight_ = nullptr;  // Latest change whose commit is under way.
  const Change* committed_ = nullptr;  // Latest change that is committed but not yet in the engine.
  Timestamp timestamp_{};
  std::uint32_t key_size_ = 0;
  std::uint32_t ring_index_ = 0;
  std::uint32_t heap_bytes_ = 0;  // Estimate of what the value holds outside the block.
  bool present_ = false;
  bool dirty_ = false;       // Changed since the last prepare().
  bool referenced_ = false;  // CLOCK.
  bool saved_ = false;       // Already in the undo list of the current record.
  bool in_engine_ = false;   // The engine has a value for the key.
  bool unlogged_ = false;    // Absent, and the changelog need not say so.
  bool expired_ = false;     // Absent, and no operator did it; until it is prepared.
};

/// What a reader that is no operator sees of a store.
enum class ReadLevel : std::uint8_t {
  kLatest,     ///< All that is processed, which a crash may take back.
  kCommitted,  ///< What a commit covers, which nothing takes back.
};

/// An entry as an engine would keep it; owns its bytes.
struct EncodedEntry {
  std::string key;    ///< The engine key.
  std::string value;  ///< As the value's serde encodes it.
  Timestamp timestamp;
};

/// Walks live entries of a store in ascending byte order of the encoded key: a consistent cut made
/// at its creation.
class StateScan {
 public:
  virtual ~StateScan() = default;
  [[nodiscard]] virtual bool valid() const = 0;
  /// Preconditions: `valid()`. What they return lives until `next()`. May throw StoreFailure.
  virtual void next() = 0;
  [[nodiscard]] virtual std::string_view key() const = 0;
  [[nodiscard]] virtual const void* value() const = 0;
  [[nodiscard]] virtual Timestamp timestamp() const = 0;
};

/// The state of one store of one task: write buffer, record cache and transaction buffer in one.
///
/// Reads go through three levels: the live entries; changes that are committed but not in the
/// engine (their entries stay in the cache until the checkpoint, so the first level always finds
/// them); the engine. An entry leaves only when all it holds is in the engine. Changes reach the
/// engine by `checkpoint`, never before their commit.
///
/// Not thread-safe: used by the thread that runs the task. Engine errors in reads throw
/// StoreFailure.
class StateCache {
 public:
  struct Figures {
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;  ///< Lookups that had to ask the engine.
    std::size_t bytes = 0;
    std::size_t dirty_bytes = 0;
    std::size_t entries = 0;
    std::uint64_t expired = 0;       ///< Times that `observe` has refused.
    std::uint64_t expired_keys = 0;  ///< Keys removed because their time to live was over.
  };

  /// `layout` is copied.
  StateCache(Engine& engine, StoreIndex store, const ValueOps& ops, CacheBudget& budget,
             const KeyLayout& layout = {});
  ~StateCache();
  StateCache(const StateCache&) = delete;
  StateCache& operator=(const StateCache&) = delete;

  // --- Reads and changes by operators ---

  /// The entry of `key`, from the cache or the engine.
  StateEntry& load(std::string_view key);

  /// Announces keys that are about to be loaded: misses are read from the engine in one call.
  void prefetch(std::span<const std::string_view> keys);

  /// The value, about to be changed in place. Precondition: `entry.present()`.
  void* change(StateEntry& entry, Timestamp timestamp);

  /// Room for a new value, which the caller must construct at once (it must not throw: move it in).
  /// An old value is destroyed.
  void* replace(StateEntry& entry, Timestamp timestamp);

  /// Deletes the value, if any; the deletion is logged as a tombstone.
  void erase(StateEntry& entry, Timestamp timestamp);

  /// Deletes the value, but logs nothing: the engine alone is told.
  void drop_unlogged(StateEntry& entry);

  /// Entries with from <= key <= to, both inclusive; an absent end is open. Keys are engine keys; a
  /// store that observes time needs a `from` (its first key is not an entry).
  std::unique_ptr<StateScan> scan(std::optional<std::string_view> from,
                                  std::optional<std::string_view> to) {
    return scan(from, to, Extent::kAll);
  }
  /// How much of a range is wanted.
  enum class Extent : std::uint8_t {
    kAll,
    kFirst,  ///< Its first entry only: a seek, whose work does not grow with what follows. Do not
             ///< call `next()`.
  };
  std::unique_ptr<StateScan> scan(std::optional<std::string_view> from,
                                  std::optional<std::string_view> to, Extent extent);

  // --- Reads by others, between records: nothing enters the cache ---

  /// The entry of an engine key, or nullopt.
  std::optional<EncodedEntry> read(std::string_view key, ReadLevel level);

  /// As `scan`, for a reader that takes a part at a time: copies at most `overlay_max` (1 or more)
  /// of the entries that the engine lacks. If there are more, `*end` is set, and the scan covers
  /// the keys up to and including `*end` only.
  std::unique_ptr<StateScan> scan_part(std::optional<std::string_view> from,
                                       std::optional<std::string_view> to, ReadLevel level,
                                       std::size_t overlay_max, std::optional<std::string>* end);

  /// Says that one operator alone writes the store: for others it is read-only, and `why` is what
  /// they are told.
  void write_protect(std::string why) { protected_ = std::move(why); }
  /// Throws StatusError (invalid_argument) if the store is write-protected.
  void check_writable() const {
    if (protected_) throw StatusError(Status::invalid_argument(*protected_));
  }

  /// Entries changed since the last `prepare`, in order of first change.
  [[nodiscard]] std::span<StateEntry* const> dirty() const;

  // --- Time, of stores that observe it ---

  [[nodiscard]] const KeyLayout& layout() const;
  /// The latest time ever observed, or KeyLayout::kNoTime. Part of the state: undone, rolled back,
  /// committed, checkpointed and restored with it.
  [[nodiscard]] std::int64_t observed_time(ReadLevel level = ReadLevel::kLatest) const;
  /// Something with this time is about to be put. False: it has expired, which is counted; do not
  /// put it.
  [[nodiscard]] bool observe(std::int64_t time);

  // --- What goes one by one: keys with a time to live, and old versions ---

  /// Of a time to live: tells the time by which entries expire: the task's stream time, or the wall
  /// clock's, which then is the timestamp of all writes too. Called by Task before each record,
  /// commit and query. Goes back with a record that is skipped only.
  void set_time(Timestamp now);
  /// Looks at up to `entries_max` entries in a pass over the whole store and removes those whose
  /// time is over, or the versions that no time in the history is answered by. No pass begins
  /// before there can be one: the one before has seen which is the next to go. Called between
  /// records. May throw StoreFailure.
  void sweep(std::size_t entries_max);
  /// Removes what has changed since the last `prepare` and is over by now.
  void expire_changed();

  // --- A skipped record leaves no trace ---

  /// From here on old values are kept until `keep_record` or `undo_record`.
  void begin_record();
  void keep_record();
  /// Puts back every entry touched since `begin_record`.
  void undo_record();

  // --- Commit and checkpoint, called by Task ---

  /// Marks an engine key to be logged again with its present value, or a tombstone if it has none.
  /// Of a versioned store, a version that is not there is withdrawn, and the newest one of the key
  /// is logged last: compaction keeps what is. Healing: DESIGN.md section 4. No time is observed.
  void log_again(std::string_view key, Timestamp timestamp_if_absent);

  /// Serialises the dirty entries into a change set, which is in flight until `committed` or
  /// `roll_back`. At most one is. The span stays valid until the changes are checkpointed or rolled
  /// back.
  std::span<const Change> prepare();
  /// The change set in flight is durable in Kafka.
  void committed();
  /// Drops all that is not committed: dirty entries and the change set in flight take their
  /// committed values again.
  void roll_back();

  /// The committed changes the engine lacks: ascending, the latest per key. Valid until
  /// `checkpointed`.
  std::vector<EngineChange> uncheckpointed();
  /// What the engine is to erase before the changes that `uncheckpointed` has returned last. Valid
  /// until `checkpointed`.
  [[nodiscard]] std::optional<std::string_view> erase_below() const;
  /// They are in the engine now.
  void checkpointed();
  /// Bytes of committed changes held for the next checkpoint.
  [[nodiscard]] std::size_t uncheckpointed_bytes() const;

  // --- Memory ---

  /// Evicts entries while the process holds more than its budget. Invalidates entry references.
  void trim();
  /// Whether the budget is exceeded by entries that only a commit and a checkpoint can free.
  [[nodiscard]] bool wants_checkpoint() const;
  [[nodiscard]] Figures figures() const;
  /// Entries of the engine (as it estimates them) plus those it lacks, minus those it does not know
  /// to be deleted.
  [[nodiscard]] std::uint64_t approximate_entries() const;
  [[nodiscard]] const ValueOps& ops() const;

 private:
  void log_version_again(StateEntry& entry);

  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::optional<std::string> protected_;
};

}  // namespace millrace

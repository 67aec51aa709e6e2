// SPDX-License-Identifier: Apache-2.0
//
// Keys with a time to live, against a map: on every engine, with what is committed, checkpointed
// and lost at any moment.
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <map>
#include <optional>
#include <random>
#include <utility>

#include "millrace/key_value_store.h"
#include "tests/stores/engine_kinds.h"
#include "tests/support/kept_engine.h"
#include "tests/support/seed.h"

namespace {

using namespace millrace;
using namespace millrace::testing;
using std::chrono::milliseconds;

constexpr milliseconds kTtl{100};

// Longer than what strings hold inline, so that a missing copy or destruction shows.
std::string heap(std::uint64_t number) {
  return std::to_string(number) + " on the heap, beyond the inline buffer";
}

struct Written {
  std::string value;
  Timestamp at;
  friend bool operator==(const Written&, const Written&) = default;
};
using Contents = std::map<std::string, Written>;

// A store over an engine, and the maps that say what must be in it: what a reader sees, and what is
// committed. They keep what has expired; `live` leaves it out.
class Simulation {
 public:
  Simulation(const EngineKind& kind, TtlClock clock, std::uint64_t seed)
      : subject_(kind), layout_(KeyLayout::with_ttl(kTtl, clock)), random_(seed) {
    open();
  }

  void run() {
    for (int i = 0; i < 150; ++i) step();
    end();
  }

 private:
  std::uint64_t below(std::uint64_t end) { return random_() % end; }
  std::string some_key() {
    static const std::array<std::string, 6> kKeys{"", "a", "b", std::string(1, '\0'), "a\xff", "c"};
    return kKeys.at(below(kKeys.size()));
  }
  [[nodiscard]] bool is_live(const Written& written) const { return now_ < written.at + kTtl; }
  [[nodiscard]] Contents live(Contents contents) const {
    std::erase_if(contents, [&](const auto& entry) { return !is_live(entry.second); });
    return contents;
  }
  // What an operator says, and what the store makes of it.
  [[nodiscard]] Timestamp stored(Timestamp said) const {
    return layout_.ttl_clock() == TtlClock::kWallClock ? now_ : said;
  }

  void open() {
    store_.reset();
    cache_.emplace(subject_.engine(), 0, value_ops<std::string>(), budget_, layout_);
    cache_->set_time(now_);
    store_.emplace(*cache_, [this] { return said_; });
  }

  void step() {
    switch (below(13)) {
      case 0:
        return tell_time(now_ + milliseconds{below(60)});
      case 1:
        return commit();
      case 2:
        commit();
        return checkpoint();
      case 3:
        return sweep(1 + below(4));
      case 4:
        return cache_->trim();
      case 5:
        if (below(3) == 0) lose();
        return;
      case 6:
        return skipped_record();
      case 7:
        return prefetch();
      default:
        change();
        return check();
    }
  }

  void tell_time(Timestamp now) {
    now_ = now;
    cache_->set_time(now);
    check();
  }

  void change() {
    const std::string key = some_key();
    said_ = now_ - milliseconds{below(150)};
    switch (below(5)) {
      case 0: {
        const bool was = shown_.contains(key) && is_live(shown_.at(key));
        BOOST_REQUIRE(store_->erase(key).has_value() == was);
        shown_.erase(key);
        return;
      }
      case 1: {
        const std::string value = heap(random_());
        const bool was = shown_.contains(key) && is_live(shown_.at(key));
        BOOST_REQUIRE(store_->put_if_absent(key, value).has_value() == was);
        if (!was) shown_[key] = {value, stored(said_)};
        return;
      }
      default: {
        const std::string value = heap(random_());
        store_->put(key, value);
        shown_[key] = {value, stored(said_)};
        return;
      }
    }
  }

  // Its time and its changes are taken back, also the removal of what had expired by its time.
  void skipped_record() {
    const Contents before = shown_;
    const Timestamp time_before = now_;
    cache_->begin_record();
    tell_time(now_ + milliseconds{below(200)});
    for (std::uint64_t i = below(4); i > 0; --i) change();
    static_cast<void>(store_->get(some_key()));
    cache_->undo_record();
    shown_ = before;
    tell_time(layout_.ttl_clock() == TtlClock::kWallClock ? now_ : time_before);
  }

  void prefetch() {
    const std::array<std::string, 3> keys{some_key(), some_key(), some_key()};
    const std::array<std::string_view, 3> views{keys[0], keys[1], keys[2]};
    cache_->prefetch(views);
    check();
  }

  void sweep(std::size_t entries_max) {
    const std::size_t before = cache_->dirty().size();
    cache_->sweep(entries_max);
    BOOST_REQUIRE(cache_->dirty().size() - before <= entries_max);  // Bounded work.
    check();
  }

  void commit() {
    sweep(below(4));
    cache_->expire_changed();
    for (const Change& change : cache_->prepare()) {
      BOOST_REQUIRE(change.logged);
      BOOST_REQUIRE(change.timestamp <= std::max(now_, Timestamp{}));
      if (change.deleted) {
        log_.erase(std::string{change.key});
      } else {
        log_[std::string{change.key}] = change.engine_value;
      }
    }
    if (below(6) == 0) change();       // Into the next epoch.
    if (below(8) == 0) return lose();  // It got through; the task does not know.
    cache_->committed();
    check();
  }

  void checkpoint() {
    const auto changes = cache_->uncheckpointed();
    const StoreCheckpoint part{0, changes, at(++position_)};
    BOOST_REQUIRE(subject_.engine().apply({{&part, 1}, {}}).ok());
    cache_->checkpointed();
    check();
  }

  // The process is gone, with or without its disk: a restore brings back what the changelog has.
  void lose() {
    cache_.reset();
    if (subject_.persistent()) subject_.reopen();
    if (below(2) == 0) BOOST_REQUIRE(subject_.engine().clear(0).ok());
    std::map<std::string, std::optional<std::string>> difference;
    const auto scan = must(subject_.engine().scan(0, {}, {}));
    for (; scan->valid(); scan->next()) difference[std::string{scan->key()}];
    for (const auto& [key, value] : log_) difference[key] = value;
    std::vector<EngineChange> changes;
    for (const auto& [key, value] : difference) changes.push_back({key, value});
    const StoreCheckpoint part{0, changes, at(++position_)};
    BOOST_REQUIRE(subject_.engine().apply({{&part, 1}, {}}).ok());
    shown_ = in_log();
    open();
    check();
  }

  Contents in_log() const {
    Contents contents;
    for (const auto& [key, value] : log_) {
      const Timestamp at =
          from_millis(*Serde<std::int64_t>::decode(std::string_view{value}.substr(0, 8)));
      contents[key] = {value.substr(8), at};
    }
    return contents;
  }

  void check() {
    const Contents expected = live(shown_);
    Contents found;
    for (const auto& entry : store_->all()) found[entry.key] = {entry.value, entry.timestamp};
    BOOST_REQUIRE((found == expected));
    found.clear();
    for (const auto& entry : store_->range("a", "b"))
      found[entry.key] = {entry.value, entry.timestamp};
    BOOST_REQUIRE((found == Contents{expected.lower_bound("a"), expected.upper_bound("b")}));
    if (below(3) != 0) return;  // Reads change what is in the cache.
    const std::string key = some_key();
    const auto value = store_->get(key);
    BOOST_REQUIRE(value.has_value() == expected.contains(key));
    if (value) BOOST_REQUIRE((Written{*value, *store_->timestamp(key)} == expected.at(key)));
  }

  // All goes, and the changelog says so of every key that it has.
  void end() {
    tell_time(now_ + 3 * kTtl);
    for (int i = 0; i < 100; ++i) {
      cache_->sweep(1);
      if (i % 10 == 0) {
        commit();
        checkpoint();
      }
    }
    while (!live(shown_).empty()) tell_time(now_ + kTtl);  // What `commit` put meanwhile.
    for (int i = 0; i < 100; ++i) cache_->sweep(1);
    for (const Change& change : cache_->prepare()) {
      BOOST_REQUIRE(change.deleted);
      log_.erase(std::string{change.key});
    }
    cache_->committed();
    checkpoint();
    BOOST_REQUIRE(log_.empty());
    BOOST_REQUIRE(!must(subject_.engine().scan(0, {}, {}))->valid());
    BOOST_REQUIRE(cache_->approximate_entries() == 0U || subject_.kind().name == "rocksdb");
  }

  Subject subject_;
  const KeyLayout layout_;
  std::mt19937_64 random_;
  CacheBudget budget_{1000};  // Entries leave as soon as they may.
  std::optional<StateCache> cache_;
  std::optional<KeyValueStore<std::string, std::string>> store_;
  Timestamp now_ = from_millis(1000);
  Timestamp said_{};
  Contents shown_;
  std::map<std::string, std::string> log_;  // The changelog: engine values.
  std::int64_t position_ = 0;
};

struct Fixture {
  explicit Fixture(TtlClock clock = TtlClock::kEventTime) {
    engine = *factory.open({{}, {"store"}});
    cache.emplace(*engine, 0, value_ops<std::string>(), budget, KeyLayout::with_ttl(kTtl, clock));
    store.emplace(*cache, [this] { return now; });
  }
  void tell_time(std::int64_t millis) {
    now = from_millis(millis);
    cache->set_time(now);
  }
  std::vector<std::pair<std::string, bool>> commit() {
    std::vector<std::pair<std::string, bool>> logged;
    for (const Change& change : cache->prepare()) logged.emplace_back(change.key, change.deleted);
    cache->committed();
    return logged;
  }
  void checkpoint() {
    const auto changes = cache->uncheckpointed();
    const StoreCheckpoint part{0, changes, {1, ++position, {}}};
    BOOST_REQUIRE(engine->apply({{&part, 1}, {}}).ok());
    cache->checkpointed();
  }

  KeptEngineFactory factory;
  CacheBudget budget{0};
  std::unique_ptr<Engine> engine;
  std::optional<StateCache> cache;
  std::optional<KeyValueStore<std::string, std::string>> store;
  Timestamp now{};
  std::int64_t position = 0;
};

using Logged = std::vector<std::pair<std::string, bool>>;

BOOST_AUTO_TEST_SUITE(ttl)

// KF-1, KF-2
BOOST_AUTO_TEST_CASE(keys_are_there_for_their_time_on_every_engine_whatever_is_lost) {
  for (const EngineKind& kind : engine_kinds()) {
    const std::size_t seeds = kind.name == "memory" ? 600 : 25;
    for_seeds("ttl on " + std::string{kind.name}, seeds, [&](std::uint64_t seed) {
      const auto clock = seed % 2 == 0 ? TtlClock::kEventTime : TtlClock::kWallClock;
      Simulation{kind, clock, seed}.run();
    });
  }
}

BOOST_AUTO_TEST_CASE(a_key_is_gone_at_its_write_plus_ttl_and_a_write_renews_it) {
  Fixture f;
  f.tell_time(1000);
  f.store->put("a", "1");
  f.tell_time(1099);
  BOOST_TEST(f.store->get("a").has_value());
  f.store->put("a", "2");
  f.tell_time(1198);
  BOOST_TEST(*f.store->get("a") == "2");
  f.tell_time(1199);
  BOOST_TEST(!f.store->get("a").has_value());
  BOOST_TEST(!f.store->timestamp("a").has_value());
  BOOST_TEST(!f.store->erase("a").has_value());
  BOOST_TEST(f.cache->figures().expired_keys == 1U);
}

BOOST_AUTO_TEST_CASE(a_tombstone_is_of_the_time_at_which_the_key_was_over) {
  Fixture f;
  f.tell_time(1000);
  f.store->put("a", "1");
  BOOST_TEST((f.commit() == Logged{{"a", false}}));
  f.tell_time(5000);
  f.cache->sweep(10);
  const auto changes = f.cache->prepare();
  BOOST_REQUIRE(changes.size() == 1U);
  BOOST_TEST(changes[0].deleted);
  BOOST_TEST(changes[0].logged);
  BOOST_TEST(to_millis(changes[0].timestamp) == 1100);
}

BOOST_AUTO_TEST_CASE(by_the_wall_clock_the_clock_stamps_each_write) {
  Fixture f{TtlClock::kWallClock};
  f.cache->set_time(from_millis(7000));
  f.now = from_millis(3);  // What the record says.
  f.store->put("a", "1");
  BOOST_TEST(to_millis(*f.store->timestamp("a")) == 7000);
  BOOST_TEST(to_millis(f.cache->prepare()[0].timestamp) == 7000);
}

// Whatever the size of the store: a step looks at as many entries as it is told, removes no more,
// and goes on where it was.
BOOST_AUTO_TEST_CASE(a_sweep_does_a_bounded_piece_of_work_and_goes_on_there) {
  constexpr int kKeys = 1000;
  constexpr std::size_t kStep = 16;
  for (const bool in_engine : {false, true}) {
    Fixture f;
    f.tell_time(1000);
    for (int i = 0; i < kKeys; ++i) f.store->put("key-" + std::to_string(i), "v");
    static_cast<void>(f.commit());
    if (in_engine) {
      f.checkpoint();
      f.cache->trim();
      BOOST_REQUIRE(f.cache->figures().entries == 0U);
    }
    f.tell_time(2000);
    std::size_t steps = 0;
    for (std::size_t removed = 0; removed < kKeys; ++steps) {
      BOOST_REQUIRE(steps <= kKeys / kStep + 1);
      f.cache->sweep(kStep);
      const std::size_t dirty = f.cache->dirty().size();
      BOOST_REQUIRE(dirty - removed <= kStep);
      removed = dirty;
    }
    BOOST_TEST(steps >= kKeys / kStep);
    BOOST_TEST(f.commit().size() == static_cast<std::size_t>(kKeys));
    BOOST_TEST(f.cache->figures().expired_keys == static_cast<std::size_t>(kKeys));
  }
}

// While no key can have expired since the last pass, a sweep asks nothing of the engine.
BOOST_AUTO_TEST_CASE(a_store_without_expired_keys_costs_nothing) {
  Fixture f;
  f.tell_time(1000);
  for (int i = 0; i < 100; ++i) f.store->put("key-" + std::to_string(i), "v");
  static_cast<void>(f.commit());
  f.checkpoint();
  f.cache->trim();
  f.tell_time(1050);
  f.cache->sweep(1000);  // The first pass, which learns what there is.
  const std::size_t scans = f.factory.probe->scans;
  for (std::int64_t now = 1050; now < 1100; ++now) {
    f.tell_time(now);
    f.store->put("new", "v");
    f.cache->sweep(1000);
  }
  BOOST_TEST(f.factory.probe->scans == scans);
  f.tell_time(1100);
  f.cache->sweep(1000);
  BOOST_TEST(f.factory.probe->scans == scans + 1);
  BOOST_TEST(f.commit().size() == 101U);
  f.checkpoint();
  for (int i = 0; i < 50; ++i) f.cache->sweep(1000);  // Time stands still.
  BOOST_TEST(f.factory.probe->scans == scans + 1);
}

// Eviction moves the last entry of the cache to where the pass has been already.
BOOST_AUTO_TEST_CASE(a_key_that_moves_in_the_cache_during_a_pass_is_not_forgotten) {
  Fixture f;
  f.tell_time(1050);
  f.store->put("a", "1");
  static_cast<void>(f.commit());
  f.checkpoint();
  f.now = from_millis(1000);
  f.store->put("b", "late");
  f.cache->sweep(1);  // Sees `a` in the engine ...
  f.cache->sweep(1);  // ... and passes it in the cache, where `b` is the next.
  f.cache->trim();
  BOOST_REQUIRE(f.cache->figures().entries == 1U);
  f.cache->sweep(1);
  f.tell_time(1100);
  f.cache->sweep(10);
  BOOST_TEST((f.commit() == Logged{{"b", true}}));
}

BOOST_AUTO_TEST_CASE(prefetched_keys_and_scans_leave_out_what_has_expired) {
  Fixture f;
  f.tell_time(1000);
  f.store->put("a", "1");
  f.tell_time(1050);
  f.store->put("b", "2");
  static_cast<void>(f.commit());
  f.checkpoint();
  f.cache->trim();
  f.tell_time(1100);
  const auto count = [&] {
    std::size_t entries = 0;
    for ([[maybe_unused]] const auto& entry : f.store->all()) ++entries;
    return entries;
  };
  BOOST_TEST(count() == 1U);  // From the engine.
  const std::array<std::string_view, 2> keys{"a", "b"};
  f.cache->prefetch(keys);
  BOOST_TEST(count() == 1U);
  BOOST_TEST(!f.store->get("a").has_value());
  BOOST_TEST(f.store->get("b").has_value());
  BOOST_TEST((f.commit() == Logged{{"a", true}}));  // Found on the way: removed.
}

// Queries read beside the cache: what is over is shown to them neither from it, nor from a commit
// that the engine lacks, nor from the engine.
BOOST_AUTO_TEST_CASE(queries_of_both_levels_leave_out_what_has_expired) {
  Fixture f;
  f.tell_time(1000);
  f.store->put("a", "1");
  f.tell_time(1050);
  f.store->put("b", "2");
  const auto shown = [&] {
    for (const auto level : {ReadLevel::kLatest, ReadLevel::kCommitted}) {
      BOOST_TEST(!f.cache->read("a", level).has_value());
      BOOST_TEST(f.cache->read("b", level).has_value());
      std::optional<std::string> end;
      const auto scan = f.cache->scan_part({}, {}, level, 10, &end);
      BOOST_REQUIRE(scan->valid());
      BOOST_TEST(scan->key() == "b");
      scan->next();
      BOOST_TEST(!scan->valid());
    }
  };
  static_cast<void>(f.commit());
  f.tell_time(1100);
  shown();
  f.store->put("b", "3");  // Live and committed differ.
  shown();
  static_cast<void>(f.commit());
  f.checkpoint();
  f.cache->trim();
  shown();
}

// Times at the ends of what 64 bits hold, and below 0: nothing wraps around.
BOOST_AUTO_TEST_CASE(times_below_0_and_at_both_ends_expire_in_order) {
  const auto engine = engines::memory()->open({{}, {"store"}});
  BOOST_REQUIRE(engine.has_value());
  CacheBudget budget{1 << 20};
  StateCache cache{**engine, 0, value_ops<std::string>(), budget,
                   KeyLayout::with_ttl(kTtl, TtlClock::kEventTime)};
  Timestamp said{};
  KeyValueStore<std::string, std::string> store{cache, [&] { return said; }};
  const auto put = [&](const std::string& key, Timestamp at) {
    said = at;
    store.put(key, "v");
  };
  const auto found = [&] {
    std::string keys;
    for (const auto& entry : store.all()) keys += entry.key;
    return keys;
  };
  cache.set_time(Timestamp::min());  // Nothing can be over yet.
  put("a", Timestamp::min());
  put("b", Timestamp::min() + kTtl);
  BOOST_TEST(found() == "ab");
  cache.set_time(Timestamp::min() + kTtl);
  BOOST_TEST(found() == "b");
  put("c", from_millis(-100));
  put("d", from_millis(-99));
  cache.set_time(from_millis(0));
  BOOST_TEST(found() == "d");
  put("e", Timestamp::max() - kTtl);
  put("f", Timestamp::max());
  cache.set_time(Timestamp::max());
  BOOST_TEST(found() == "f");
  cache.sweep(100);
  cache.expire_changed();
  for (const Change& change : cache.prepare()) {
    if (change.deleted) BOOST_CHECK(change.timestamp > Timestamp::min());
    if (change.key == "e") BOOST_CHECK(change.timestamp == Timestamp::max());
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace

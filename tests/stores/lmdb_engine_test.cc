// SPDX-License-Identifier: Apache-2.0
//
// What LMDB adds to engine_conformance_test: a file that grows or is full, long keys, crashes, and
// damage.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "millrace/engine.h"
#include "stores/file_descriptor.h"
#include "tests/stores/checkpoint_series.h"
#include "tests/stores/engine_model.h"

namespace millrace::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMebibyte = std::size_t{1} << 20;

std::unique_ptr<Engine> open(const fs::path& directory, const LmdbOptions& options = {}) {
  return must(engines::lmdb(options)->open({directory, CheckpointSeries::store_names()}));
}

bool contains(const Status& status, std::string_view text) {
  return status.message().find(text) != std::string::npos;
}

Changes megabytes(int count, char fill) {
  Changes changes;
  for (int i = 0; i < count * 16; ++i)
    changes["key" + std::to_string(i)] = std::string(65'000, fill);
  return changes;
}

BOOST_AUTO_TEST_SUITE(lmdb_engine)

BOOST_AUTO_TEST_CASE(the_file_grows_by_itself) {
  const TemporaryDirectory temporary;
  const LmdbOptions options{.map_bytes = kMebibyte, .map_bytes_max = 64 * kMebibyte};
  const auto changes = megabytes(20, 'a');
  {
    const auto engine = open(temporary.path(), options);
    BOOST_REQUIRE(apply(*engine, {changes, {}}, at(1)).ok());
    BOOST_TEST(must(scanned(*engine, 0)).size() == changes.size());
  }
  // Opened again with the small first limit.
  const auto engine = open(temporary.path(), options);
  BOOST_TEST(must(scanned(*engine, 0)).size() == changes.size());
  BOOST_TEST(apply(*engine, {megabytes(20, 'b'), {}}, at(2)).ok());
}

BOOST_AUTO_TEST_CASE(a_full_file_is_unavailable_names_the_setting_and_changes_nothing) {
  const TemporaryDirectory temporary;
  const LmdbOptions options{.map_bytes = kMebibyte, .map_bytes_max = 4 * kMebibyte};
  auto engine = open(temporary.path(), options);
  BOOST_REQUIRE(apply(*engine, {{{"k", "v"}}, {}}, at(1)).ok());
  for (int attempt = 0; attempt < 2; ++attempt) {
    const Status full = apply(*engine, {megabytes(8, 'a'), {}}, at(2));
    BOOST_TEST((full.code() == Code::kUnavailable), full.to_string());
    BOOST_TEST(contains(full, "lmdb_map_bytes_max"), full.message());
    BOOST_TEST(contains(full, std::to_string(4 * kMebibyte)), full.message());
    BOOST_TEST(contains(full, (temporary.path() / "data.mdb").string()), full.message());
    BOOST_TEST((must(engine->position(0)) == at(1)));
    BOOST_TEST((must(scanned(*engine, 0)) == Entries{{"k", "v"}}));
  }
  BOOST_REQUIRE(apply(*engine, {{{"k", "w"}}, {}}, at(2)).ok());
  BOOST_REQUIRE(engine->close().ok());
  engine = open(temporary.path());
  BOOST_TEST(apply(*engine, {megabytes(8, 'a'), {}}, at(3)).ok());
}

// A scan holds on to the mapped pages.
BOOST_AUTO_TEST_CASE(the_file_does_not_grow_under_an_open_scan) {
  const TemporaryDirectory temporary;
  const auto engine = open(temporary.path(), {.map_bytes = kMebibyte});
  BOOST_REQUIRE(apply(*engine, {{{"k", "v"}}, {}}, at(1)).ok());
  {
    const auto scan = must(engine->scan(0, {}, {}));
    const Status refused = apply(*engine, {megabytes(8, 'a'), {}}, at(2));
    BOOST_TEST((refused.code() == Code::kUnavailable), refused.to_string());
    BOOST_TEST(contains(refused, "scan"), refused.message());
    BOOST_TEST(scan->value() == "v");
  }
  BOOST_TEST(apply(*engine, {megabytes(8, 'a'), {}}, at(2)).ok());
}

BOOST_AUTO_TEST_CASE(scans_are_bounded) {
  const TemporaryDirectory temporary;
  const auto engine = open(temporary.path(), {.scans_max = 2});
  const auto first = must(engine->scan(0, {}, {}));
  auto second = must(engine->scan(0, {}, {}));
  BOOST_TEST((engine->scan(0, {}, {}).error().code() == Code::kUnavailable));
  BOOST_TEST(!must(engine->get(0, "k")));
  second.reset();
  BOOST_TEST(engine->scan(0, {}, {}).has_value());
}

BOOST_AUTO_TEST_CASE(keys_of_any_length_keep_their_order) {
  const TemporaryDirectory temporary;
  Changes changes;
  for (std::size_t length = 500; length < 520; ++length) {
    for (const char* end : {"", "a", "b"}) {
      changes[std::string(length, 'a') + end] = std::to_string(length);
    }
  }
  changes[std::string(100'000, 'k')] = "long";
  changes["b"] = "short";
  auto engine = open(temporary.path());
  BOOST_REQUIRE(apply(*engine, {changes, {}}, at(1)).ok());
  BOOST_REQUIRE(engine->close().ok());
  engine = open(temporary.path());
  Entries expected;
  fold(expected, changes);
  BOOST_TEST((must(scanned(*engine, 0)) == expected));
  for (const auto& [key, value] : expected) {
    BOOST_REQUIRE((must(engine->get(0, key)) == value));
    BOOST_REQUIRE((must(scanned(*engine, 0, key, key)) == Entries{{key, value}}));
    changes[key].reset();
  }
  BOOST_REQUIRE(apply(*engine, {changes, {}}, at(2)).ok());
  BOOST_TEST(engine->statistics(0).entries_estimate == 0U);
}

// Owned by one task at a time, but called by whichever thread runs it.
BOOST_AUTO_TEST_CASE(calls_may_come_from_changing_threads) {
  const TemporaryDirectory temporary;
  const auto engine = open(temporary.path());
  std::unique_ptr<EngineScan> scan;
  std::string seen;
  const auto in_a_thread = [](auto&& call) { std::thread{call}.join(); };
  in_a_thread([&] { BOOST_REQUIRE(apply(*engine, {{{"a", "1"}, {"b", "2"}}, {}}, at(1)).ok()); });
  in_a_thread([&] { scan = must(engine->scan(0, {}, {})); });
  in_a_thread([&] { BOOST_REQUIRE(apply(*engine, {{{"a", "3"}}, {}}, at(2)).ok()); });
  in_a_thread([&] { seen += must(engine->get(0, "a")).value_or(""); });
  for (int i = 0; i < 2; ++i) {
    in_a_thread([&] { seen += scan->value(), scan->next(); });
  }
  in_a_thread([&] { scan.reset(); });
  BOOST_TEST(seen == "312");
}

BOOST_AUTO_TEST_CASE(a_file_in_use_is_refused_with_its_path) {
  const TemporaryDirectory temporary;
  const auto engine = open(temporary.path());
  const auto second = engines::lmdb()->open({temporary.path(), {"accounts"}});
  BOOST_REQUIRE(!second.has_value());
  BOOST_TEST((second.error().code() == Code::kInvalidArgument));
  BOOST_TEST(contains(second.error(), "in use by process " + std::to_string(::getpid())));
  BOOST_TEST(contains(second.error(), temporary.path().string()));
}

// A child applies the series and writes a byte into a pipe after each checkpoint, until it is
// killed.
BOOST_AUTO_TEST_CASE(kill_9_leaves_every_acknowledged_checkpoint) {
  const TemporaryDirectory temporary;
  for (std::int64_t round = 1; round <= 8; ++round) {
    std::array<int, 2> ends{};
    BOOST_REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    const pid_t child = ::fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
      const auto engine =
          engines::lmdb()->open({temporary.path(), CheckpointSeries::store_names()});
      if (!engine) ::_exit(1);
      const auto last = (*engine)->position(0);
      std::int64_t number = last && *last ? (*last)->next_offset + 1 : 1;
      while (CheckpointSeries::apply_to(**engine, number++).ok()) {
        if (::write(ends[1], "+", 1) != 1) break;
      }
      ::_exit(1);
    }
    ::close(ends[1]);
    const FileDescriptor acknowledged{ends[0]};
    std::int64_t count = 0;
    for (char byte = 0; count < round && ::read(acknowledged.get(), &byte, 1) == 1;) ++count;
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    BOOST_REQUIRE(count == round);
    for (char byte = 0; ::read(acknowledged.get(), &byte, 1) == 1;) ++count;
    const auto engine = open(temporary.path());
    static std::int64_t before = 0;
    const std::int64_t number = must(CheckpointSeries::verified(*engine));
    BOOST_TEST(number >= before + count);
    BOOST_TEST(number <= before + count + 1);  // Applied, but killed before it could say so.
    before = number;
  }
}

// LMDB has no checksums: what is found is what is missing.
BOOST_AUTO_TEST_CASE(a_cut_file_is_corruption_and_not_a_crash) {
  const TemporaryDirectory temporary;
  BOOST_REQUIRE(CheckpointSeries::apply_to(*open(temporary.path()), 1).ok());
  const fs::path file = temporary.path() / "data.mdb";
  for (const std::uintmax_t kept : {fs::file_size(file) - 4096, std::uintmax_t{8192}}) {
    fs::resize_file(file, kept);
    const auto cut = engines::lmdb()->open({temporary.path(), CheckpointSeries::store_names()});
    BOOST_REQUIRE(!cut.has_value());
    BOOST_TEST((cut.error().code() == Code::kCorruption), cut.error().to_string());
    BOOST_TEST(contains(cut.error(), file.string()));
  }
  fs::resize_file(file, 100);
  BOOST_TEST((engines::lmdb()->open({temporary.path(), {"accounts"}}).error().code() ==
              Code::kCorruption));
}

BOOST_AUTO_TEST_CASE(stores_that_are_not_asked_for_stay) {
  const TemporaryDirectory temporary;
  BOOST_REQUIRE(CheckpointSeries::apply_to(*open(temporary.path()), 1).ok());
  {
    const auto engine = must(engines::lmdb()->open({temporary.path(), {"new", "orders"}}));
    BOOST_TEST(!must(engine->position(0)));
    BOOST_TEST((must(engine->position(1)) == at(1)));
    BOOST_REQUIRE(apply(*engine, {{{"k", "v"}}, {}}, at(1)).ok());
  }
  BOOST_TEST(must(CheckpointSeries::verified(*open(temporary.path()))) == 1);
}

BOOST_AUTO_TEST_CASE(bad_options_are_refused) {
  const TemporaryDirectory temporary;
  const auto code = [&](const LmdbOptions& options, const char* store) {
    return engines::lmdb(options)->open({temporary.path(), {store}}).error().code();
  };
  BOOST_TEST((code({.map_bytes = 1}, "a") == Code::kInvalidArgument));
  BOOST_TEST((code({.map_bytes_max = 1}, "a") == Code::kInvalidArgument));
  BOOST_TEST((code({.scans_max = 0}, "a") == Code::kInvalidArgument));
  BOOST_TEST((code({}, "millrace.positions") == Code::kInvalidArgument));
  BOOST_TEST((code({}, std::string(600, 's').c_str()) == Code::kInvalidArgument));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing

// SPDX-License-Identifier: Apache-2.0
//
// Damaged files: opening or reading reports corruption, so that the state is rebuilt, or the engine
// holds a complete older checkpoint, from which the changelog catches up. Never wrong data.
// stores/README.md lists what was found.

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "millrace/engine.h"
#include "stores/rocksdb_chain.h"
#include "stores/rocksdb_database.h"
#include "tests/stores/checkpoint_series.h"
#include "tests/stores/engine_model.h"

namespace millrace::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kCheckpoints = 12;

// A closed database whose last checkpoints are in the log, earlier ones in flushed and in ingested
// tables.
class Specimen {
 public:
  Specimen() {
    const auto engine = must(engines::rocksdb()->open({whole(), CheckpointSeries::store_names()}));
    for (std::int64_t number = 1; number <= kCheckpoints; ++number) {
      BOOST_REQUIRE(CheckpointSeries::apply_to(*engine, number).ok());
    }
    BOOST_REQUIRE(engine->close().ok());
  }

  [[nodiscard]] fs::path damaged() const { return temporary_.path() / "damaged"; }

  // Damages a copy and opens it: the checkpoint found, or nullopt for corruption.
  std::optional<std::int64_t> after(const std::function<void()>& damage) {
    fs::remove_all(damaged());
    fs::copy(whole(), damaged(), fs::copy_options::recursive);
    damage();
    const auto engine = engines::rocksdb()->open({damaged(), CheckpointSeries::store_names()});
    const auto number = engine ? CheckpointSeries::verified(**engine) : engine.error();
    if (number) return *number;
    BOOST_TEST((number.error().code() == Code::kCorruption), number.error().to_string());
    return std::nullopt;
  }

  [[nodiscard]] std::vector<std::string> files(const std::string& part) const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator{whole()}) {
      const std::string name = entry.path().filename().string();
      if (name.find(part) != std::string::npos && entry.file_size() > 0) names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    BOOST_REQUIRE(!names.empty());
    return names;
  }

 private:
  [[nodiscard]] fs::path whole() const { return temporary_.path() / "whole"; }

  TemporaryDirectory temporary_;
};

void flip_byte(const fs::path& path, std::uint64_t offset) {
  std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
  file.seekg(static_cast<std::streamoff>(offset));
  const auto byte = static_cast<char>(file.get() ^ 0x55);
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(byte);
}

// Flips one byte, then cuts, at random places of each file of a kind; counts what came of it.
std::map<std::string, int> outcomes_of(const std::string& kind, int rounds) {
  const std::uint64_t seed = test_seed();
  std::map<std::string, int> outcomes;
  BOOST_TEST_CONTEXT("MILLRACE_TEST_SEED=" << seed) {
    std::mt19937_64 random{seed};
    Specimen specimen;
    for (const std::string& name : specimen.files(kind)) {
      const fs::path path = specimen.damaged() / name;
      for (int round = 0; round < rounds; ++round) {
        const bool flip = round % 2 == 0;
        const auto found = specimen.after([&] {
          const std::uint64_t offset = random() % fs::file_size(path);
          if (flip) {
            flip_byte(path, offset);
          } else {
            fs::resize_file(path, offset);
          }
        });
        const std::string outcome = !found                   ? "corruption"
                                    : *found == kCheckpoints ? "unharmed"
                                                             : "older checkpoint";
        ++outcomes[(flip ? "flipped: " : "cut: ") + outcome];
      }
    }
  }
  for (const auto& [outcome, count] : outcomes) {
    BOOST_TEST_MESSAGE(kind << " " << outcome << " " << count);
  }
  return outcomes;
}

BOOST_AUTO_TEST_SUITE(rocksdb_damage)

BOOST_AUTO_TEST_CASE(untouched_copy_is_whole) {
  Specimen specimen;
  BOOST_TEST((specimen.after([] {}) == kCheckpoints));
}

BOOST_AUTO_TEST_CASE(damaged_table_is_corruption) {
  auto outcomes = outcomes_of(".sst", 4);
  BOOST_TEST(outcomes["cut: corruption"] > 0);
  BOOST_TEST(outcomes["cut: unharmed"] == 0);
  BOOST_TEST(outcomes["cut: older checkpoint"] == 0);
  BOOST_TEST(outcomes["flipped: corruption"] > 0);
  BOOST_TEST(outcomes["flipped: older checkpoint"] == 0);
}

BOOST_AUTO_TEST_CASE(damaged_manifest_is_never_wrong_data) { outcomes_of("MANIFEST-", 30); }

BOOST_AUTO_TEST_CASE(damaged_log_is_never_wrong_data) { outcomes_of(".log", 20); }

BOOST_AUTO_TEST_CASE(damaged_current_is_corruption) {
  auto outcomes = outcomes_of("CURRENT", 20);
  BOOST_TEST(outcomes["cut: corruption"] == 10);
  BOOST_TEST(outcomes["flipped: corruption"] == 10);
}

// Without CURRENT RocksDB by itself would begin an empty database and replay the log into it.
BOOST_AUTO_TEST_CASE(missing_file_is_corruption) {
  Specimen specimen;
  for (const std::string kind : {"CURRENT", "MANIFEST-", ".sst"}) {
    for (const std::string& name : specimen.files(kind)) {
      BOOST_TEST(!specimen.after([&] { fs::remove(specimen.damaged() / name); }), name);
    }
  }
}

// A process may end between the first file of a new database and CURRENT.
BOOST_AUTO_TEST_CASE(a_database_whose_making_was_cut_off_is_made_anew) {
  for (const std::string begun : {"", "some of it"}) {
    const TemporaryDirectory temporary;
    std::ofstream{temporary.path() / "MANIFEST-000001", std::ios::binary} << begun;
    for (std::int64_t number = 1; number <= 2; ++number) {
      const auto engine =
          must(engines::rocksdb()->open({temporary.path(), CheckpointSeries::store_names()}));
      BOOST_REQUIRE(CheckpointSeries::apply_to(*engine, number).ok());
      BOOST_REQUIRE(engine->close().ok());
    }
    const auto engine =
        must(engines::rocksdb()->open({temporary.path(), CheckpointSeries::store_names()}));
    BOOST_TEST(must(CheckpointSeries::verified(*engine)) == 2);
  }
}

// A checkpoint that is there without one before it, whatever took that away.
BOOST_AUTO_TEST_CASE(missing_checkpoint_is_corruption) {
  const TemporaryDirectory temporary;
  const EngineOptions options{temporary.path(), {"accounts"}};
  {
    const RocksDbOptions rocksdb_options{{}, rocksdb::Env::Default()};
    const auto database = must(RocksDbDatabase::open(options, rocksdb_options));
    BOOST_REQUIRE(
        database->db()
            .Put({}, database->positions(), kCheckpointNumberKey, encode_checkpoint_number(2))
            .ok());
    BOOST_REQUIRE(
        database->db()
            .Merge({}, database->positions(), kCheckpointCountKey, encode_checkpoint_number(1))
            .ok());
  }
  const auto engine = engines::rocksdb()->open(options);
  BOOST_REQUIRE(!engine.has_value());
  BOOST_TEST((engine.error().code() == Code::kCorruption));
  BOOST_TEST(engine.error().message().find("number 2, but 1 are there") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing

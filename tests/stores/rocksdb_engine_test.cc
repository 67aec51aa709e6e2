// SPDX-License-Identifier: Apache-2.0
//
// What RocksDB adds to engine_conformance_test: crashes, full disks, locks and stores of other
// versions.

#include "stores/rocksdb_engine.h"

#include <fcntl.h>
#include <rocksdb/file_system.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <memory>
#include <random>
#include <string>

#include "stores/file_descriptor.h"
#include "tests/stores/checkpoint_series.h"
#include "tests/stores/engine_model.h"

namespace millrace::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCrashDirectory = "MILLRACE_TEST_CRASH_DIRECTORY";

std::unique_ptr<Engine> open(const fs::path& directory) {
  return must(engines::rocksdb()->open({directory, CheckpointSeries::store_names()}));
}

// Another process that applies the series and writes a byte into a pipe after each checkpoint. It
// is this executable, told by the environment to run the one case `crash_writer`: RocksDB's threads
// do not survive a plain fork.
class CrashWriter {
 public:
  explicit CrashWriter(const fs::path& directory) {
    std::array<int, 2> ends{};
    BOOST_REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    acknowledged_ = FileDescriptor{ends[0]};
    const FileDescriptor writing{ends[1]};
    const std::string crash_directory = std::string{kCrashDirectory} + "=" + directory.string();
    const std::array<const char*, 3> arguments{"stores_test",
                                               "--run_test=rocksdb_engine/crash_writer", nullptr};
    const std::array<const char*, 2> environment{crash_directory.c_str(), nullptr};
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
    const int error = ::posix_spawn(&process_, "/proc/self/exe", &actions, nullptr,
                                    const_cast<char* const*>(arguments.data()),
                                    const_cast<char* const*>(environment.data()));
    ::posix_spawn_file_actions_destroy(&actions);
    BOOST_REQUIRE(error == 0);
  }

  ~CrashWriter() { kill(); }
  CrashWriter(const CrashWriter&) = delete;
  CrashWriter& operator=(const CrashWriter&) = delete;

  void wait_for_checkpoints(std::int64_t count) {
    for (char byte = 0; acknowledged_count_ < count;) {
      BOOST_REQUIRE(::read(acknowledged_.get(), &byte, 1) == 1);
      if (byte == kAcknowledgement) ++acknowledged_count_;
    }
  }

  void kill() {
    if (process_ == 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = 0;
  }

  // Not part of what Boost.Test prints.
  static constexpr char kAcknowledgement = '\x06';

 private:
  FileDescriptor acknowledged_;
  std::int64_t acknowledged_count_ = 0;
  pid_t process_ = 0;
};

void spin(std::chrono::microseconds duration) {
  const auto end = std::chrono::steady_clock::now() + duration;
  while (std::chrono::steady_clock::now() < end) {
  }
}

// What a power loss leaves at worst: nothing of the log, which is written but not synced.
void drop_unsynced_log(const fs::path& directory) {
  for (const auto& entry : fs::directory_iterator{directory}) {
    if (entry.path().extension() == ".log") fs::resize_file(entry.path(), 0);
  }
}

// A file system that is full while told so.
struct DiskState {
  std::atomic<bool> full = false;
  [[nodiscard]] rocksdb::IOStatus status() const {
    return full ? rocksdb::IOStatus::NoSpace("injected") : rocksdb::IOStatus::OK();
  }
};

class LimitedFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  LimitedFile(std::unique_ptr<rocksdb::FSWritableFile>&& file, const DiskState& disk)
      : FSWritableFileOwnerWrapper(std::move(file)), disk_(disk) {}
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    if (disk_.full) return disk_.status();
    return FSWritableFileOwnerWrapper::Append(data, options, debug);
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo& verification,
                           rocksdb::IODebugContext* debug) override {
    if (disk_.full) return disk_.status();
    return FSWritableFileOwnerWrapper::Append(data, options, verification, debug);
  }

 private:
  const DiskState& disk_;
};

class LimitedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit LimitedFileSystem(const DiskState& disk)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), disk_(disk) {}
  const char* Name() const override { return "LimitedFileSystem"; }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSWritableFile> file;
    const rocksdb::IOStatus status =
        FileSystemWrapper::NewWritableFile(name, options, &file, debug);
    if (status.ok()) *result = std::make_unique<LimitedFile>(std::move(file), disk_);
    return status;
  }

 private:
  const DiskState& disk_;
};

BOOST_AUTO_TEST_SUITE(rocksdb_engine)

BOOST_AUTO_TEST_CASE(crash_writer) {
  const char* const directory = std::getenv(kCrashDirectory);
  if (directory == nullptr) return;  // Only a part of the tests below.
  const auto engine = open(directory);
  const std::int64_t begin = must(CheckpointSeries::verified(*engine)) + 1;
  for (std::int64_t number = begin;; ++number) {
    BOOST_REQUIRE(CheckpointSeries::apply_to(*engine, number).ok());
    BOOST_REQUIRE(::write(STDOUT_FILENO, &CrashWriter::kAcknowledgement, 1) == 1);
  }
}

// Kills at random moments: every acknowledged checkpoint is there, and none in part. Each process
// goes on from what the one before it left.
BOOST_AUTO_TEST_CASE(checkpoints_survive_kill_minus_nine) {
  const std::uint64_t seed = test_seed();
  BOOST_TEST_CONTEXT("MILLRACE_TEST_SEED=" << seed) {
    std::mt19937_64 random{seed};
    const TemporaryDirectory temporary;
    std::int64_t before = 0;
    for (int round = 0; round < 6; ++round) {
      CrashWriter writer{temporary.path()};
      const auto count = static_cast<std::int64_t>(1 + random() % 6);
      writer.wait_for_checkpoints(count);
      spin(std::chrono::microseconds{random() % 60'000});
      writer.kill();
      const std::int64_t after = must(CheckpointSeries::verified(*open(temporary.path())));
      BOOST_TEST(after >= before + count);
      before = after;
    }
  }
}

// B11, F16: a batch whose log is not synced, then an ingestion, which is; then the machine loses
// power. Without the flush before an ingestion its position would stand over the missing data of
// the batch.
BOOST_AUTO_TEST_CASE(power_loss_leaves_an_older_checkpoint_not_a_mixture) {
  for (const std::int64_t count : {2, 3, 4, 5, 7}) {
    const TemporaryDirectory temporary;
    CrashWriter writer{temporary.path()};
    writer.wait_for_checkpoints(count);
    writer.kill();
    drop_unsynced_log(temporary.path());
    const std::int64_t left = must(CheckpointSeries::verified(*open(temporary.path())));
    std::int64_t ingested = count;
    while (ingested > 0 && !CheckpointSeries::large(ingested)) --ingested;
    BOOST_TEST(left >= ingested);
  }
}

BOOST_AUTO_TEST_CASE(files_of_an_interrupted_ingestion_are_removed) {
  const TemporaryDirectory temporary;
  BOOST_REQUIRE(CheckpointSeries::apply_to(*open(temporary.path()), 1).ok());
  const fs::path leftover = temporary.path() / "ingest" / "0.sst";
  FileDescriptor{::open(leftover.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)};
  BOOST_REQUIRE(fs::exists(leftover));
  const auto engine = open(temporary.path());
  BOOST_TEST(!fs::exists(leftover));
  BOOST_REQUIRE(CheckpointSeries::apply_to(*engine, 2).ok());
  BOOST_REQUIRE(CheckpointSeries::apply_to(*engine, 3).ok());
  BOOST_TEST(must(CheckpointSeries::verified(*engine)) == 3);
  BOOST_TEST(fs::is_empty(temporary.path() / "ingest"));
}

// A crash between the two steps of clear leaves entries without a position; they must not come
// back.
BOOST_AUTO_TEST_CASE(half_cleared_store_is_empty_after_reopen) {
  const TemporaryDirectory temporary;
  const EngineOptions options{temporary.path(), {"accounts"}};
  {
    const RocksDbOptions rocksdb_options{{}, rocksdb::Env::Default()};
    const auto database = must(RocksDbDatabase::open(options, rocksdb_options));
    BOOST_REQUIRE(database->db().Put({}, database->store(0), "key", "value").ok());
  }
  const auto engine = must(engines::rocksdb()->open(options));
  BOOST_TEST(must(scanned(*engine, 0)).empty());
}

BOOST_AUTO_TEST_CASE(full_disk_is_unavailable_and_heals) {
  for (const std::int64_t failing : {2, 3}) {
    const TemporaryDirectory temporary;
    DiskState disk;
    const auto env = rocksdb::NewCompositeEnv(std::make_shared<LimitedFileSystem>(disk));
    const auto factory = rocksdb_engines({}, env.get());
    const EngineOptions options{temporary.path(), CheckpointSeries::store_names()};
    auto engine = must(factory->open(options));
    for (std::int64_t number = 1; number < failing; ++number) {
      BOOST_REQUIRE(CheckpointSeries::apply_to(*engine, number).ok());
    }
    disk.full = true;
    for (int attempt = 0; attempt < 3; ++attempt) {
      const Status status = CheckpointSeries::apply_to(*engine, failing);
      BOOST_TEST((status.code() == Code::kUnavailable));
      BOOST_TEST(status.message().find("disk full") != std::string::npos, status.message());
      BOOST_TEST(status.message().find(temporary.path().string()) != std::string::npos);
      BOOST_TEST(must(CheckpointSeries::verified(*engine)) == failing - 1);
    }
    disk.full = false;
    for (std::int64_t number = failing; number < failing + 4; ++number) {
      const Status status = CheckpointSeries::apply_to(*engine, number);
      BOOST_REQUIRE_MESSAGE(status.ok(), status.message());
    }
    BOOST_REQUIRE(engine->close().ok());
    engine = must(factory->open(options));
    BOOST_TEST(must(CheckpointSeries::verified(*engine)) == failing + 3);
    BOOST_REQUIRE(engine->close().ok());
  }
}

BOOST_AUTO_TEST_CASE(database_in_use_is_refused_with_its_path) {
  const TemporaryDirectory temporary;
  const auto engine = open(temporary.path());
  const auto second = engines::rocksdb()->open({temporary.path(), {"accounts"}});
  BOOST_REQUIRE(!second.has_value());
  BOOST_TEST((second.error().code() == Code::kInvalidArgument));
  BOOST_TEST(second.error().message().find("in use by another process") != std::string::npos);
  BOOST_TEST(second.error().message().find(temporary.path().string()) != std::string::npos);
}

BOOST_AUTO_TEST_CASE(stores_that_are_not_asked_for_stay) {
  const TemporaryDirectory temporary;
  BOOST_REQUIRE(CheckpointSeries::apply_to(*open(temporary.path()), 1).ok());
  {
    const auto engine = must(engines::rocksdb()->open({temporary.path(), {"new", "orders"}}));
    BOOST_TEST(!must(engine->position(0)));
    BOOST_TEST((must(engine->position(1)) == at(1)));
    BOOST_REQUIRE(apply(*engine, {{{"k", "v"}}, {}}, at(1)).ok());
  }
  BOOST_TEST(must(CheckpointSeries::verified(*open(temporary.path()))) == 1);
}

BOOST_AUTO_TEST_CASE(store_names_are_checked_and_default_is_one) {
  const TemporaryDirectory temporary;
  const auto factory = engines::rocksdb();
  for (const std::vector<std::string>& names :
       {std::vector<std::string>{""}, {"millrace.positions"}, {"a", "a"}}) {
    const auto refused = factory->open({temporary.path(), names});
    BOOST_TEST((!refused && refused.error().code() == Code::kInvalidArgument));
  }
  for (const bool cleared : {false, true}) {
    const auto engine = must(factory->open({temporary.path(), {"default"}}));
    BOOST_TEST(must(engine->get(0, "k")).has_value() == cleared);
    if (cleared) BOOST_REQUIRE(engine->clear(0).ok());
    BOOST_TEST(must(scanned(*engine, 0)).empty());
    BOOST_REQUIRE(apply(*engine, {{{"k", "v"}}}, at(1)).ok());
  }
}

// Many checkpoints: tables are compacted, the log of small ones is bounded, and nothing piles up on
// disk.
BOOST_AUTO_TEST_CASE(disk_space_is_bounded_by_the_content) {
  const TemporaryDirectory temporary;
  const auto engine = open(temporary.path());
  for (std::int64_t number = 1; number <= 40; ++number) {
    BOOST_REQUIRE(CheckpointSeries::apply_to(*engine, number).ok());
  }
  BOOST_TEST(must(CheckpointSeries::verified(*engine)) == 40);
  // One generation is 0.4 MB in a table; level 0 holds at most a few before they are merged.
  BOOST_TEST(engine->statistics(0).disk_bytes < 8U << 20);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing

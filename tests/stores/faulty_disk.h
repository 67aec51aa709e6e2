// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rocksdb/file_system.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>

namespace millrace::testing {

/// What an operation of a disk that fails does.
enum class DiskFault { kWrite, kShortWrite, kSync, kRename, kOpen };

/// A disk that fails when told to, and whose machine can lose its power: what was not synced by
/// then is gone, or torn. Wraps the real file system. Thread-safe.
class FaultyDisk final : public rocksdb::FileSystemWrapper {
 public:
  FaultyDisk() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "FaultyDisk"; }

  /// Lets the `after`-th operation of this kind from now on fail, once; 0 is the next one.
  void fail(DiskFault fault, std::uint64_t after);
  /// Whether the announced fault has come.
  [[nodiscard]] bool failed() const;
  /// From now on the process is as good as dead: nothing reaches the disk any more.
  void stop();
  /// Cuts what was written and not synced, at random places, and lets the disk work again.
  void lose_power(std::mt19937_64& random);

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReuseWritableFile(const std::string& name, const std::string& old_name,
                                      const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* result,
                                      rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus LinkFile(const std::string& from, const std::string& to,
                             const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;

 private:
  friend class FaultyFile;
  /// An error if the disk has stopped, or the announced fault is due.
  rocksdb::IOStatus attempt(DiskFault fault);
  void set_written(const std::string& name, std::uint64_t size);
  void set_synced(const std::string& name, std::uint64_t size);

  struct File {
    std::uint64_t written = 0;
    std::uint64_t synced = 0;
  };
  mutable std::mutex mutex_;
  std::map<std::string, File> files_;  // Those that were written since the start.
  std::optional<DiskFault> fault_;
  std::uint64_t until_fault_ = 0;
  bool stopped_ = false;
};

}  // namespace millrace::testing

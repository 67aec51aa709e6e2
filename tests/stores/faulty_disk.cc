// SPDX-License-Identifier: Apache-2.0
#include "tests/stores/faulty_disk.h"

#include <filesystem>
#include <utility>

namespace millrace::testing {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

/// A file under FaultyDisk.
class FaultyFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultyFile(std::unique_ptr<rocksdb::FSWritableFile>&& file, std::string name, FaultyDisk& disk)
      : FSWritableFileOwnerWrapper(std::move(file)), name_(std::move(name)), disk_(disk) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  IODebugContext* debug) override {
    if (auto status = disk_.attempt(DiskFault::kWrite); !status.ok()) return status;
    if (auto status = disk_.attempt(DiskFault::kShortWrite); !status.ok()) {
      // Half of it stands in the file. A disk that has stopped takes nothing.
      if (disk_.failed()) write({data.data(), data.size() / 2}, options, debug);
      return status;
    }
    return write(data, options, debug);
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo&, IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    if (auto status = disk_.attempt(DiskFault::kSync); !status.ok()) return status;
    auto status = FSWritableFileOwnerWrapper::Sync(options, debug);
    if (status.ok()) disk_.set_synced(name_, size_);
    return status;
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Sync(options, debug);
  }
  bool IsSyncThreadSafe() const override { return true; }

 private:
  IOStatus write(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* debug) {
    auto status = FSWritableFileOwnerWrapper::Append(data, options, debug);
    if (status.ok()) size_ += data.size();
    disk_.set_written(name_, size_);
    return status;
  }

  const std::string name_;
  FaultyDisk& disk_;
  std::uint64_t size_ = 0;
};

void FaultyDisk::fail(DiskFault fault, std::uint64_t after) {
  const std::lock_guard lock{mutex_};
  fault_ = fault;
  until_fault_ = after;
}

bool FaultyDisk::failed() const {
  const std::lock_guard lock{mutex_};
  return !fault_ && !stopped_;
}

void FaultyDisk::stop() {
  const std::lock_guard lock{mutex_};
  stopped_ = true;
}

void FaultyDisk::lose_power(std::mt19937_64& random) {
  const std::lock_guard lock{mutex_};
  for (const auto& [name, file] : files_) {
    if (!std::filesystem::exists(name) || file.written <= file.synced) continue;
    // The file system may have written any part of the rest on its own.
    const auto kept =
        std::uniform_int_distribution<std::uint64_t>{file.synced, file.written}(random);
    std::filesystem::resize_file(name, random() % 2 == 0 ? file.synced : kept);
  }
  files_.clear();
  fault_.reset();
  stopped_ = false;
}

IOStatus FaultyDisk::attempt(DiskFault fault) {
  const std::lock_guard lock{mutex_};
  if (stopped_) return IOStatus::IOError("the disk has stopped");
  if (fault_ != fault || until_fault_-- > 0) return IOStatus::OK();
  fault_.reset();
  return IOStatus::IOError("Input/output error (injected)");
}

void FaultyDisk::set_written(const std::string& name, std::uint64_t size) {
  const std::lock_guard lock{mutex_};
  files_[name].written = size;
}

void FaultyDisk::set_synced(const std::string& name, std::uint64_t size) {
  const std::lock_guard lock{mutex_};
  files_[name].synced = size;
}

IOStatus FaultyDisk::NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                     std::unique_ptr<rocksdb::FSWritableFile>* result,
                                     IODebugContext* debug) {
  if (auto status = attempt(DiskFault::kOpen); !status.ok()) return status;
  std::unique_ptr<rocksdb::FSWritableFile> file;
  auto status = FileSystemWrapper::NewWritableFile(name, options, &file, debug);
  if (!status.ok()) return status;
  {
    const std::lock_guard lock{mutex_};
    files_[name] = {};
  }
  *result = std::make_unique<FaultyFile>(std::move(file), name, *this);
  return status;
}

IOStatus FaultyDisk::ReuseWritableFile(const std::string&, const std::string&,
                                       const rocksdb::FileOptions&,
                                       std::unique_ptr<rocksdb::FSWritableFile>*, IODebugContext*) {
  return IOStatus::NotSupported("FaultyDisk: logs are not recycled");
}

IOStatus FaultyDisk::RenameFile(const std::string& from, const std::string& to,
                                const IOOptions& options, IODebugContext* debug) {
  if (auto status = attempt(DiskFault::kRename); !status.ok()) return status;
  auto status = FileSystemWrapper::RenameFile(from, to, options, debug);
  const std::lock_guard lock{mutex_};
  if (status.ok() && files_.contains(from)) {
    files_[to] = files_[from];
    files_.erase(from);
  }
  return status;
}

IOStatus FaultyDisk::LinkFile(const std::string& from, const std::string& to,
                              const IOOptions& options, IODebugContext* debug) {
  if (auto status = attempt(DiskFault::kRename); !status.ok()) return status;
  auto status = FileSystemWrapper::LinkFile(from, to, options, debug);
  const std::lock_guard lock{mutex_};
  if (status.ok() && files_.contains(from)) files_[to] = files_[from];
  return status;
}

IOStatus FaultyDisk::DeleteFile(const std::string& name, const IOOptions& options,
                                IODebugContext* debug) {
  const std::lock_guard lock{mutex_};
  if (stopped_) return IOStatus::IOError("the disk has stopped");
  files_.erase(name);
  return FileSystemWrapper::DeleteFile(name, options, debug);
}

}  // namespace millrace::testing

// SPDX-License-Identifier: Apache-2.0
#include "stores/lmdb_environment.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "stores/engine_names.h"
#include "stores/file_descriptor.h"
#include "stores/lmdb_keys.h"
#include "stores/lmdb_status.h"

namespace millrace {
namespace {

constexpr const char* kPositionsName = "millrace.positions";
constexpr const char* kDataFile = "data.mdb";
constexpr const char* kLockFile = "LOCK";
constexpr std::size_t kMapBytesMin = std::size_t{1} << 20;
constexpr unsigned kScansMax = 10'000;
// Beside the scans: the reader of single calls, and one to spare.
constexpr unsigned kOtherReaders = 2;

Status check(const LmdbOptions& options) {
  if (options.map_bytes < kMapBytesMin || options.map_bytes_max < kMapBytesMin) {
    return Status::invalid_argument("LmdbOptions: map_bytes and map_bytes_max must be at least " +
                                    std::to_string(kMapBytesMin));
  }
  if (options.scans_max >= 1 && options.scans_max <= kScansMax) return {};
  return Status::invalid_argument("LmdbOptions: scans_max must be from 1 to " +
                                  std::to_string(kScansMax));
}

// LMDB itself lets several processes in, but one that opens it twice loses its locks.
Result<FileLock> lock(const std::filesystem::path& directory) {
  const FileDescriptor opened{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!opened.valid()) {
    return Status::internal("cannot open '" + directory.string() + "': " + std::strerror(errno));
  }
  FileLock::Refusal refusal;
  auto held = FileLock::acquire(opened, kLockFile, refusal);
  if (held) return *std::move(held);
  if (refusal.error != 0) return lmdb_status(refusal.error, "write the lock file", directory);
  return Status::invalid_argument("cannot open the state in LMDB at '" + directory.string() +
                                  "': in use by process " + refusal.process_id);
}

std::size_t system_page_bytes() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

// Undoes what is not committed.
class WriteTransaction {
 public:
  explicit WriteTransaction(MDB_env* environment)
      : error_(::mdb_txn_begin(environment, nullptr, 0, &transaction_)) {}
  ~WriteTransaction() {
    if (transaction_ != nullptr) ::mdb_txn_abort(transaction_);
  }
  WriteTransaction(const WriteTransaction&) = delete;
  WriteTransaction& operator=(const WriteTransaction&) = delete;

  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] MDB_txn* get() const { return transaction_; }
  int commit() { return ::mdb_txn_commit(std::exchange(transaction_, nullptr)); }

 private:
  MDB_txn* transaction_ = nullptr;
  int error_;
};

}  // namespace

LmdbEnvironment::LmdbEnvironment(std::filesystem::path directory, const LmdbOptions& options,
                                 FileLock lock)
    : directory_(std::move(directory)), options_(options), lock_(std::move(lock)) {}

LmdbEnvironment::~LmdbEnvironment() {
  if (reader_ != nullptr) ::mdb_txn_abort(reader_);
  if (environment_ != nullptr) ::mdb_env_close(environment_);
}

Result<std::shared_ptr<LmdbEnvironment>> LmdbEnvironment::open(const EngineOptions& options,
                                                               const LmdbOptions& lmdb_options) {
  if (auto status = check_store_names(options); !status.ok()) return status;
  if (auto status = check(lmdb_options); !status.ok()) return status;
  auto held = lock(options.directory);
  if (!held) return held.error();
  std::shared_ptr<LmdbEnvironment> environment{
      new LmdbEnvironment(options.directory, lmdb_options, *std::move(held))};
  int error = ::mdb_env_create(&environment->environment_);
  if (error == 0) {
    error = ::mdb_env_set_maxdbs(environment->environment_,
                                 static_cast<MDB_dbi>(options.stores.size() + 1));
  }
  if (error == 0) error = environment->open_file();
  if (error != 0) return lmdb_status(error, "open the state", options.directory);
  if (auto status = environment->check_file(); !status.ok()) return status;
  if (auto status = environment->open_stores(options.stores); !status.ok()) return status;
  return environment;
}

int LmdbEnvironment::open_file() {
  const std::size_t page = system_page_bytes();
  const std::size_t bytes = std::min(options_.map_bytes, options_.map_bytes_max) / page * page;
  int error = ::mdb_env_set_mapsize(environment_, bytes);
  if (error == 0) {
    error = ::mdb_env_set_maxreaders(environment_, options_.scans_max + kOtherReaders);
  }
  // Calls come from changing threads: a reader belongs to its transaction, not to a thread. Pages
  // are synced at each commit, the page that makes them count only at the next: after a power loss
  // the last checkpoint may be missing, but nothing is torn.
  if (error == 0) {
    error = ::mdb_env_open(environment_, directory_.c_str(), MDB_NOTLS | MDB_NOMETASYNC,
                           S_IRUSR | S_IWUSR);
  }
  // Readers of a process that was killed would keep old pages for ever.
  int dead = 0;
  return error == 0 ? ::mdb_reader_check(environment_, &dead) : error;
}

// Reading a page of the map that the file no longer has would end the process with SIGBUS.
Status LmdbEnvironment::check_file() const {
  const std::uint64_t needed = needed_bytes();
  if (file_bytes() < needed) {
    return Status::corruption("LMDB's file '" + (directory_ / kDataFile).string() + "' has " +
                              std::to_string(file_bytes()) + " bytes of " + std::to_string(needed) +
                              "; the state has to be rebuilt from its changelogs");
  }
  if (::mdb_env_get_maxkeysize(environment_) >= static_cast<int>(kLmdbKeyBytesMax)) return {};
  return Status::internal("this LMDB was built for keys below " + std::to_string(kLmdbKeyBytesMax) +
                          " bytes");
}

Status LmdbEnvironment::open_stores(const std::vector<std::string>& names) {
  return write("open a store", [this, &names](MDB_txn* transaction) {
    int error = ::mdb_dbi_open(transaction, kPositionsName, MDB_CREATE, &positions_);
    stores_.assign(names.size(), 0);
    for (std::size_t i = 0; error == 0 && i < names.size(); ++i) {
      error = ::mdb_dbi_open(transaction, names[i].c_str(), MDB_CREATE, &stores_[i]);
    }
    return error;
  });
}

std::uint64_t LmdbEnvironment::file_bytes() const {
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(directory_ / kDataFile, error);
  return error ? 0 : bytes;
}

std::size_t LmdbEnvironment::page_bytes() const {
  MDB_stat stat{};
  return ::mdb_env_stat(environment_, &stat) == 0 ? stat.ms_psize : 0;
}

std::size_t LmdbEnvironment::map_bytes() const {
  MDB_envinfo info{};
  return ::mdb_env_info(environment_, &info) == 0 ? info.me_mapsize : 0;
}

LmdbEnvironment::Read::Read(LmdbEnvironment& environment) {
  error_ = environment.reader_ == nullptr ? ::mdb_txn_begin(environment.environment_, nullptr,
                                                            MDB_RDONLY, &environment.reader_)
                                          : ::mdb_txn_renew(environment.reader_);
  environment.broken_ = environment.broken_ || lmdb_must_reopen(error_);
  if (error_ == 0) transaction_ = environment.reader_;
}

LmdbEnvironment::Read::~Read() {
  if (transaction_ != nullptr) ::mdb_txn_reset(transaction_);
}

int LmdbEnvironment::begin_scan(MDB_txn** transaction) {
  if (open_scans_ >= options_.scans_max) return MDB_READERS_FULL;
  const int error = ::mdb_txn_begin(environment_, nullptr, MDB_RDONLY, transaction);
  if (error == 0) ++open_scans_;
  return error;
}

void LmdbEnvironment::end_scan(MDB_txn* transaction) {
  ::mdb_txn_abort(transaction);
  --open_scans_;
}

int LmdbEnvironment::attempt(const std::function<int(MDB_txn*)>& change) {
  WriteTransaction transaction{environment_};
  if (transaction.error() != 0) return transaction.error();
  if (const int error = change(transaction.get()); error != 0) return error;
  if (const int error = transaction.commit(); error != 0) return error;
  fill_file();
  return 0;
}

// LMDB does not write free pages, also not at the end of the file: without this, a file cut by
// damage could not be told from one that is as it should be.
void LmdbEnvironment::fill_file() {
  const std::uint64_t needed = needed_bytes();
  mdb_filehandle_t file = -1;
  if (file_bytes() >= needed || ::mdb_env_get_fd(environment_, &file) != 0) return;
  // Should it fail, the next opening rebuilds the state: dear, but not wrong.
  [[maybe_unused]] const int failed = ::ftruncate(file, static_cast<off_t>(needed));
}

std::uint64_t LmdbEnvironment::needed_bytes() const {
  MDB_envinfo info{};
  // A new file has no pages before something is written.
  if (::mdb_env_info(environment_, &info) != 0 || info.me_last_txnid == 0) return 0;
  return (std::uint64_t{info.me_last_pgno} + 1) * page_bytes();
}

Status LmdbEnvironment::write(std::string_view action, const std::function<int(MDB_txn*)>& change) {
  while (true) {
    const int error = attempt(change);
    broken_ = broken_ || lmdb_must_reopen(error);
    if (error != MDB_MAP_FULL) return lmdb_status(error, action, directory_);
    // Ends: each time the file gets larger, up to its bound.
    if (auto status = grow(action); !status.ok()) return status;
  }
}

Status LmdbEnvironment::grow(std::string_view action) {
  const std::size_t bytes = map_bytes();
  const std::string what = "cannot " + std::string{action} + ": LMDB's file '" +
                           (directory_ / kDataFile).string() + "' is full with " +
                           std::to_string(bytes) + " bytes";
  const std::size_t page = system_page_bytes();
  const std::size_t larger =
      (bytes > options_.map_bytes_max / 2 ? options_.map_bytes_max : 2 * bytes) / page * page;
  if (larger <= bytes) {
    return Status::unavailable(what + "; raise lmdb_map_bytes_max (LmdbOptions::map_bytes_max = " +
                               std::to_string(options_.map_bytes_max) + ")");
  }
  if (open_scans_ > 0) {
    return Status::unavailable(what + " and cannot be enlarged while a scan is open");
  }
  const int error = ::mdb_env_set_mapsize(environment_, larger);
  broken_ = broken_ || error != 0;  // The old map is gone.
  return lmdb_status(error, "enlarge the file", directory_);
}

}  // namespace millrace

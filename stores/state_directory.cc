// SPDX-License-Identifier: Apache-2.0
#include "stores/state_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <random>
#include <system_error>
#include <utility>

namespace millrace {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLockName = "LOCK";
constexpr const char* kVersionName = "VERSION";
constexpr const char* kInstanceName = "INSTANCE";
constexpr std::string_view kNewSuffix = ".new";
constexpr std::size_t kInstanceDigits = 16;
constexpr std::string_view kDiscardedPrefix = "discarded.";
constexpr std::string_view kVersionWord = "millrace ";
constexpr int kVersion = 1;
constexpr std::size_t kNameBytesMax = 249;   // As Kafka's topic names.
constexpr std::size_t kFileBytesMax = 1024;  // Of VERSION and INSTANCE.

Status failed(const std::string& what, const fs::path& path, int error) {
  const std::string text = "cannot " + what + " '" + path.string() +
                           "' (setting state_dir): " + std::generic_category().message(error);
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return Status::unavailable(text + "; the disk is full");
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOTDIR:
    case EEXIST:
    case ENOENT:
    case ELOOP:
    case ENAMETOOLONG:
      return Status::invalid_argument(text +
                                      "; set state_dir to a directory that this user may "
                                      "write to");
    default:
      return Status::internal(text);
  }
}

Status check_application_id(const std::string& id) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (!id.empty() && id.size() <= kNameBytesMax && id != "." && id != ".." &&
      std::all_of(id.begin(), id.end(), allowed)) {
    return {};
  }
  return Status::invalid_argument("application_id '" + id +
                                  "' is not usable: 1 to 249 characters of a-z, A-Z, 0-9, '.', "
                                  "'_' and '-', other than '.' and '..'");
}

bool digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_task_id(std::string_view id) {
  const std::size_t middle = id.find('_');
  return middle != std::string_view::npos && digits(id.substr(0, middle)) &&
         digits(id.substr(middle + 1));
}

bool is_engine_name(std::string_view name) {
  return !name.empty() &&
         std::all_of(name.begin(), name.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

Status check_task(std::string_view task_id, std::string_view engine_name) {
  if (is_task_id(task_id) && is_engine_name(engine_name)) return {};
  return Status::invalid_argument("'" + std::string{task_id} + "/" + std::string{engine_name} +
                                  "' names no task and engine, such as 0_3/rocksdb");
}

Result<std::vector<std::string>> names_in(const fs::path& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry{path, error}; !error && entry != fs::directory_iterator{};
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) return failed("list", path, error.value());
  std::sort(names.begin(), names.end());
  return names;
}

// Creates `name` in `parent` unless it is there, and opens it. Somebody else's directory, or one
// that others may write to, is refused: they could put files or links of theirs where an engine
// opens its own.
Result<FileDescriptor> own_directory(int parent, const std::string& name, const fs::path& path) {
  if (::mkdirat(parent, name.c_str(), S_IRWXU) != 0 && errno != EEXIST) {
    return failed("create directory", path, errno);
  }
  FileDescriptor directory{
      ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
  if (!directory.valid()) {
    struct stat link {};
    // O_DIRECTORY makes a link look like any other file.
    if (::fstatat(parent, name.c_str(), &link, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(link.st_mode)) {
      return Status::invalid_argument("'" + path.string() +
                                      "' is a symbolic link, which is refused inside state_dir; "
                                      "let state_dir itself point to the other place");
    }
    return failed("open directory", path, errno);
  }
  struct stat found {};
  if (::fstat(directory.get(), &found) != 0) return failed("examine directory", path, errno);
  if (found.st_uid != ::geteuid()) {
    return Status::invalid_argument("'" + path.string() + "' (setting state_dir) belongs to user " +
                                    std::to_string(found.st_uid) + ", not to user " +
                                    std::to_string(::geteuid()) + " of this process");
  }
  if ((found.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return Status::invalid_argument("'" + path.string() +
                                    "' (setting state_dir) may be written by other users; if its "
                                    "content is trusted: chmod go-w '" +
                                    path.string() + "'");
  }
  return directory;
}

}  // namespace

StateDirectory::StateDirectory(fs::path path, FileDescriptor directory, FileLock lock)
    : path_(std::move(path)), directory_(std::move(directory)), lock_(std::move(lock)) {}

Result<StateDirectory> StateDirectory::open(const fs::path& state_dir,
                                            const std::string& application_id) {
  if (auto status = check_application_id(application_id); !status.ok()) return status;
  std::error_code error;
  const fs::path root = fs::absolute(state_dir, error);
  if (!error) fs::create_directories(root, error);
  if (error) return failed("create directory", state_dir, error.value());
  const FileDescriptor parent{::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!parent.valid()) return failed("open directory", root, errno);

  const fs::path path = root / application_id;
  auto directory = own_directory(parent.get(), application_id, path);
  if (!directory) return directory.error();

  FileLock::Refusal refusal;
  auto lock = FileLock::acquire(*directory, kLockName, refusal);
  if (!lock && refusal.error != 0) return failed("lock", path / kLockName, refusal.error);
  if (!lock) {
    return Status::invalid_argument(
        "state directory '" + path.string() + "' is in use by process " +
        (refusal.process_id.empty() ? "(unknown)" : refusal.process_id) +
        "; stop that process, or give each instance a state_dir of its own");
  }

  StateDirectory opened{path, *std::move(directory), *std::move(lock)};
  if (auto status = opened.check_version(application_id); !status.ok()) return status;
  if (auto status = opened.remove_discarded(); !status.ok()) return status;
  return opened;
}

Status StateDirectory::check_version(const std::string& application_id) const {
  const fs::path path = path_ / kVersionName;
  const auto content = read_file(kVersionName);
  if (!content) return content.error();
  if (!content->has_value()) return write_version(application_id);
  const std::string_view text = **content;

  int version = 0;
  const char* const end = text.data() + text.size();
  const bool marked = text.starts_with(kVersionWord);
  const auto [rest, bad] =
      std::from_chars(text.data() + (marked ? kVersionWord.size() : 0), end, version);
  if (!marked || bad != std::errc{} || rest == end || *rest != '\n') {
    return Status::invalid_argument("'" + path.string() +
                                    "' was not written by Millrace or is damaged; delete the "
                                    "directory to rebuild its state from the changelogs");
  }
  if (version > kVersion) {
    return Status::invalid_argument("state directory '" + path_.string() +
                                    "' was written by a newer version of Millrace (layout " +
                                    std::to_string(version) + ", this one knows " +
                                    std::to_string(kVersion) +
                                    "); run that version, or delete the directory to rebuild its "
                                    "state from the changelogs");
  }
  if (std::string_view{rest, end} == "\n" + application_id + "\n") return {};
  return Status::invalid_argument("state directory '" + path_.string() +
                                  "' belongs to another application, as its file VERSION says; "
                                  "set another state_dir for '" +
                                  application_id + "'");
}

Status StateDirectory::write_version(const std::string& application_id) const {
  // Somebody else's files must not be taken for tasks, or deleted.
  const auto names = names_in(path_);
  if (!names) return names.error();
  for (const std::string& name : *names) {
    if (name == kLockName || name == std::string{kVersionName} + std::string{kNewSuffix}) continue;
    return Status::invalid_argument("'" + path_.string() + "' (setting state_dir) holds '" + name +
                                    "' but no file VERSION: it is not a directory of Millrace");
  }

  return write_file(kVersionName, std::string{kVersionWord} + std::to_string(kVersion) + "\n" +
                                      application_id + "\n");
}

Result<std::string> StateDirectory::instance_id() const {
  auto known = read_file(kInstanceName);
  if (!known) return known.error();
  if (!known->has_value()) {
    std::random_device random;
    std::string id;
    while (id.size() < kInstanceDigits) id += "0123456789abcdef"[random() % 16];
    if (auto status = write_file(kInstanceName, id + "\n"); !status.ok()) return status;
    return id;
  }
  const std::string id = (**known).substr(0, kInstanceDigits);
  if (id.size() == kInstanceDigits && id.find_first_not_of("0123456789abcdef") == id.npos &&
      **known == id + "\n") {
    return id;
  }
  return Status::invalid_argument("'" + (path_ / kInstanceName).string() +
                                  "' is damaged; remove it: a new one is made at the next start");
}

Result<std::optional<std::string>> StateDirectory::read_file(const char* name) const {
  const fs::path path = path_ / name;
  // Opening a FIFO would wait for a writer.
  const FileDescriptor file{
      ::openat(directory_.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
  if (!file.valid()) {
    if (errno == ENOENT) return std::optional<std::string>{};
    return failed("open", path, errno);
  }
  struct stat kind {};
  if (::fstat(file.get(), &kind) != 0) return failed("examine", path, errno);
  if (!S_ISREG(kind.st_mode)) {
    return Status::invalid_argument("'" + path.string() +
                                    "' is not a regular file and was not made by Millrace; remove "
                                    "it, or set another state_dir");
  }
  std::array<char, kFileBytesMax> bytes{};
  const ssize_t size = ::read(file.get(), bytes.data(), bytes.size());
  if (size < 0) return failed("read", path, errno);
  return std::optional<std::string>{std::in_place, bytes.data(), static_cast<std::size_t>(size)};
}

Status StateDirectory::write_file(const std::string& name, const std::string& text) const {
  const std::string temporary = name + std::string{kNewSuffix};
  const FileDescriptor file{::openat(directory_.get(), temporary.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                                     S_IRUSR | S_IWUSR)};
  // The new name must not become durable before the content.
  if (!file.valid() ||
      ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fsync(file.get()) != 0 ||
      ::renameat(directory_.get(), temporary.c_str(), directory_.get(), name.c_str()) != 0 ||
      ::fsync(directory_.get()) != 0) {
    return failed("write", path_ / name, errno);
  }
  return {};
}

Result<fs::path> StateDirectory::task_directory(std::string_view task_id,
                                                std::string_view engine_name) {
  if (auto status = check_task(task_id, engine_name); !status.ok()) return status;
  const fs::path task_path = path_ / task_id;
  const auto task = own_directory(directory_.get(), std::string{task_id}, task_path);
  if (!task) return task.error();
  const fs::path engine_path = task_path / engine_name;
  const auto engine = own_directory((*task).get(), std::string{engine_name}, engine_path);
  if (!engine) return engine.error();
  return engine_path;
}

Status StateDirectory::discard(std::string_view task_id, std::string_view engine_name) {
  if (auto status = check_task(task_id, engine_name); !status.ok()) return status;
  const fs::path task_path = path_ / task_id;
  const fs::path discarded = path_ / (std::string{kDiscardedPrefix} + std::string{task_id} + "." +
                                      std::string{engine_name});
  std::error_code error;
  fs::remove_all(discarded, error);  // Of an earlier call that could not finish.
  if (error) return failed("remove", discarded, error.value());
  // Renamed first: half an engine must never be found under its own name.
  fs::rename(task_path / engine_name, discarded, error);
  if (error == std::errc::no_such_file_or_directory) return {};
  if (error) return failed("remove", task_path / engine_name, error.value());
  fs::remove_all(discarded, error);
  if (error) return failed("remove", discarded, error.value());
  fs::remove(task_path, error);  // Stays if another engine has files in it.
  return {};
}

Result<fs::path> StateDirectory::set_aside(std::string_view task_id) {
  if (!is_task_id(task_id)) {
    return Status::invalid_argument("'" + std::string{task_id} + "' names no task, such as 0_3");
  }
  std::error_code error;
  fs::path aside = path_ / (std::string{kDiscardedPrefix} + std::string{task_id});
  // One set aside before may still be on its way out.
  for (int number = 1; fs::exists(aside, error) && !error; ++number) {
    aside = path_ /
            (std::string{kDiscardedPrefix} + std::string{task_id} + "." + std::to_string(number));
  }
  if (!error) fs::rename(path_ / task_id, aside, error);
  if (error) return failed("remove", path_ / task_id, error.value());
  return aside;
}

bool StateDirectory::is_locked(std::string_view task_id) const {
  std::error_code error;
  for (fs::directory_iterator engine{path_ / task_id, error};
       !error && engine != fs::directory_iterator{}; engine.increment(error)) {
    const fs::path lock_path = engine->path() / kLockName;
    const FileDescriptor file{
        ::open(lock_path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
    if (!file.valid()) continue;
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    // Sees locks of both kinds: of processes (RocksDB) and of open files (ours).
    if (::fcntl(file.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) return true;
  }
  return false;
}

Result<std::vector<std::string>> StateDirectory::tasks() const {
  auto names = names_in(path_);
  if (names) std::erase_if(*names, [](const std::string& name) { return !is_task_id(name); });
  return names;
}

Status StateDirectory::remove_discarded() {
  const auto names = names_in(path_);
  if (!names) return names.error();
  for (const std::string& name : *names) {
    if (!name.starts_with(kDiscardedPrefix)) continue;
    std::error_code error;
    fs::remove_all(path_ / name, error);
    if (error) return failed("remove", path_ / name, error.value());
  }
  return {};
}

}  // namespace millrace

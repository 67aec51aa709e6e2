// SPDX-License-Identifier: Apache-2.0
#include "stores/file_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace millrace {
namespace {

std::string first_line(const FileDescriptor& file) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(file.get(), text.data(), text.size(), 0);
  if (size <= 0) return {};
  const std::string all{text.data(), static_cast<std::size_t>(size)};
  return all.substr(0, all.find('\n'));
}

}  // namespace

std::optional<FileLock> FileLock::acquire(const FileDescriptor& directory, const std::string& name,
                                          Refusal& refusal) {
  FileDescriptor file{::openat(directory.get(), name.c_str(),
                               O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR)};
  if (!file.valid()) {
    refusal = {.error = errno, .process_id = {}};
    return std::nullopt;
  }
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(file.get(), F_OFD_SETLK, &lock) != 0) {
    const bool held = errno == EAGAIN || errno == EACCES;
    refusal = {.error = held ? 0 : errno, .process_id = held ? first_line(file) : std::string{}};
    return std::nullopt;
  }
  const std::string text = std::to_string(::getpid()) + "\n";
  if (::ftruncate(file.get(), 0) != 0 ||
      ::pwrite(file.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    refusal = {.error = errno, .process_id = {}};
    return std::nullopt;
  }
  return FileLock{std::move(file)};
}

}  // namespace millrace

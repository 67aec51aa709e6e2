// SPDX-License-Identifier: Apache-2.0
#include "stores/state_directory.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/stores/engine_model.h"

namespace millrace::testing {
namespace {

namespace fs = std::filesystem;

unsigned mode_of(const fs::path& path) {
  struct stat found {};
  BOOST_REQUIRE(::stat(path.c_str(), &found) == 0);
  return found.st_mode & 07777U;
}

void write(const fs::path& path, const std::string& text) { std::ofstream{path} << text; }

std::string read(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream{path}.rdbuf();
  return text.str();
}

Status refusal(const fs::path& state_dir, const std::string& application_id) {
  auto opened = StateDirectory::open(state_dir, application_id);
  return opened ? Status{} : opened.error();
}

void check_refused(const Status& status, const std::string& part) {
  BOOST_TEST((status.code() == Code::kInvalidArgument));
  BOOST_TEST(status.message().find(part) != std::string::npos, status.message());
}

BOOST_AUTO_TEST_SUITE(state_directory)

BOOST_AUTO_TEST_CASE(open_creates_private_directories_and_says_whose_they_are) {
  const TemporaryDirectory temporary;
  auto directory = StateDirectory::open(temporary.path() / "deep" / "state", "bank");
  BOOST_REQUIRE(directory.has_value());
  BOOST_TEST((*directory).path() == temporary.path() / "deep" / "state" / "bank");
  BOOST_TEST(mode_of((*directory).path()) == 0700U);
  BOOST_TEST(read((*directory).path() / "VERSION") == "millrace 1\nbank\n");
  BOOST_TEST(read((*directory).path() / "LOCK") == std::to_string(::getpid()) + "\n");
}

BOOST_AUTO_TEST_CASE(an_instance_keeps_its_id_and_no_other_has_it) {
  const TemporaryDirectory temporary;
  const auto id_in = [&](const std::string& state_dir) {
    auto directory = StateDirectory::open(temporary.path() / state_dir, "bank");
    BOOST_REQUIRE(directory.has_value());
    const auto id = directory->instance_id();
    BOOST_REQUIRE(id.has_value());
    return *id;
  };
  const std::string id = id_in("one");
  BOOST_TEST(id.size() == 16U);
  BOOST_TEST(id_in("one") == id);
  BOOST_TEST(id_in("other") != id);

  write(temporary.path() / "one" / "bank" / "INSTANCE", "half");
  auto directory = StateDirectory::open(temporary.path() / "one", "bank");
  check_refused(directory->instance_id().error(), "INSTANCE' is damaged; remove it");
}

BOOST_AUTO_TEST_CASE(a_version_file_that_is_a_fifo_is_refused_at_once) {
  const TemporaryDirectory temporary;
  fs::create_directories(temporary.path() / "bank");
  fs::permissions(temporary.path() / "bank", fs::perms::owner_all);
  const fs::path fifo = temporary.path() / "bank" / "VERSION";
  BOOST_REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  check_refused(refusal(temporary.path(), "bank"), "not a regular file");
  fs::remove(fifo);
  fs::create_directory(fifo);
  check_refused(refusal(temporary.path(), "bank"), "not a regular file");
}

BOOST_AUTO_TEST_CASE(task_directories_are_private_and_listed) {
  const TemporaryDirectory temporary;
  auto directory = StateDirectory::open(temporary.path(), "bank");
  BOOST_REQUIRE(directory.has_value());
  const auto path = (*directory).task_directory("0_3", "rocksdb");
  BOOST_REQUIRE(path.has_value());
  BOOST_TEST(*path == temporary.path() / "bank" / "0_3" / "rocksdb");
  BOOST_TEST(mode_of(*path) == 0700U);
  BOOST_TEST(mode_of((*path).parent_path()) == 0700U);
  BOOST_TEST((*directory).task_directory("0_3", "rocksdb").has_value());
  BOOST_TEST((*directory).task_directory("1_0", "lmdb").has_value());
  BOOST_TEST((*(*directory).tasks() == std::vector<std::string>{"0_3", "1_0"}));
  for (const char* id : {"", "..", "0_", "_1", "0_3/..", "a_b"}) {
    check_refused((*directory).task_directory(id, "rocksdb").error(), "names no task");
  }
  check_refused((*directory).task_directory("0_3", "../x").error(), "names no task");
}

// KF-7: the error names the directory and the process that has it; the same process is refused too.
BOOST_AUTO_TEST_CASE(second_owner_is_refused_with_path_and_process) {
  const TemporaryDirectory temporary;
  {
    auto first = StateDirectory::open(temporary.path(), "bank");
    BOOST_REQUIRE(first.has_value());
    const Status second = refusal(temporary.path(), "bank");
    check_refused(second, "state directory '" + (temporary.path() / "bank").string() +
                              "' is in use by process " + std::to_string(::getpid()) + ";");
    BOOST_TEST(refusal(temporary.path(), "other").ok());
  }
  BOOST_TEST(refusal(temporary.path(), "bank").ok());
}

// KF-7 across processes, and: a killed owner leaves no lock behind. The child only waits for its
// end.
BOOST_AUTO_TEST_CASE(lock_of_another_process_ends_with_it) {
  const TemporaryDirectory temporary;
  int ready[2];
  BOOST_REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    auto owned = StateDirectory::open(temporary.path(), "bank");
    const char answer = owned ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) == 1) ::pause();
    ::_exit(1);
  }
  char answer = 0;
  BOOST_REQUIRE(::read(ready[0], &answer, 1) == 1);
  BOOST_REQUIRE(answer == 'y');
  check_refused(refusal(temporary.path(), "bank"), "in use by process " + std::to_string(child));
  BOOST_REQUIRE(::kill(child, SIGKILL) == 0);
  BOOST_REQUIRE(::waitpid(child, nullptr, 0) == child);
  BOOST_TEST(refusal(temporary.path(), "bank").ok());
  ::close(ready[0]);
  ::close(ready[1]);
}

BOOST_AUTO_TEST_CASE(another_applications_or_a_newer_directory_is_refused) {
  const TemporaryDirectory temporary;
  BOOST_REQUIRE(refusal(temporary.path(), "bank").ok());
  const fs::path version = temporary.path() / "bank" / "VERSION";
  write(version, "millrace 1\nshop\n");
  check_refused(refusal(temporary.path(), "bank"), "belongs to another application");
  write(version, "millrace 2\nbank\nwhatever\n");
  check_refused(refusal(temporary.path(), "bank"), "newer version of Millrace (layout 2");
  for (const char* text : {"", "millrace", "millrace x\nbank\n", "millrace 1", "other 1\nbank\n"}) {
    write(version, text);
    check_refused(refusal(temporary.path(), "bank"), "not written by Millrace or is damaged");
  }
  write(version, "millrace 1\nbank\n");
  BOOST_TEST(refusal(temporary.path(), "bank").ok());
}

BOOST_AUTO_TEST_CASE(directory_with_foreign_files_is_refused) {
  const TemporaryDirectory temporary;
  fs::create_directories(temporary.path() / "bank" / "0_0");
  fs::permissions(temporary.path() / "bank", fs::perms::owner_all);
  check_refused(refusal(temporary.path(), "bank"), "holds '0_0' but no file VERSION");
}

BOOST_AUTO_TEST_CASE(links_and_directories_others_may_write_to_are_refused) {
  const TemporaryDirectory temporary;
  const fs::path path = temporary.path() / "bank";
  BOOST_REQUIRE(refusal(temporary.path(), "bank").ok());
  for (const fs::perms extra : {fs::perms::group_write, fs::perms::others_write}) {
    fs::permissions(path, fs::perms::owner_all | extra);
    check_refused(refusal(temporary.path(), "bank"), "may be written by other users");
  }
  fs::permissions(path, fs::perms::owner_all);

  fs::create_directory_symlink(path, temporary.path() / "link");
  check_refused(refusal(temporary.path(), "link"), "is a symbolic link");
  fs::create_directory_symlink("/nowhere", temporary.path() / "dangling");
  check_refused(refusal(temporary.path(), "dangling"), "is a symbolic link");
  {
    auto directory = StateDirectory::open(temporary.path(), "bank");
    BOOST_REQUIRE(directory.has_value());
    fs::create_directory_symlink(temporary.path(), path / "0_0");
    check_refused((*directory).task_directory("0_0", "rocksdb").error(), "is a symbolic link");
  }
  // state_dir itself may be one: /var/lib/x is, under systemd's DynamicUser.
  fs::create_directory_symlink(temporary.path(), temporary.path() / "root");
  BOOST_TEST(refusal(temporary.path() / "root", "bank").ok());
}

BOOST_AUTO_TEST_CASE(directory_of_another_user_is_refused) {
  const TemporaryDirectory temporary;
  if (::geteuid() == 0) {
    fs::create_directory(temporary.path() / "bank");
    BOOST_REQUIRE(::chown((temporary.path() / "bank").c_str(), 12345, 12345) == 0);
    check_refused(refusal(temporary.path(), "bank"), "belongs to user 12345");
  } else {
    check_refused(refusal("/", "usr"), "belongs to user 0");
  }
}

BOOST_AUTO_TEST_CASE(unusable_path_names_the_setting) {
  const TemporaryDirectory temporary;
  write(temporary.path() / "file", "");
  check_refused(refusal(temporary.path() / "file", "bank"), "setting state_dir");
  check_refused(refusal(temporary.path() / "file" / "below", "bank"), "setting state_dir");
  check_refused(refusal(temporary.path(), "file"), "setting state_dir");
  check_refused(refusal("/proc/millrace", "bank"), "setting state_dir");
  for (const std::string id : {"", ".", "..", "a/b", "a\nb"}) {
    check_refused(refusal(temporary.path(), id), "application_id");
  }
}

BOOST_AUTO_TEST_CASE(discard_removes_an_engine_and_only_that) {
  const TemporaryDirectory temporary;
  auto directory = StateDirectory::open(temporary.path(), "bank");
  BOOST_REQUIRE(directory.has_value());
  const auto rocksdb = (*directory).task_directory("0_3", "rocksdb");
  const auto lmdb = (*directory).task_directory("0_3", "lmdb");
  write(*rocksdb / "CURRENT", "x");
  write(*lmdb / "data", "x");
  BOOST_TEST((*directory).discard("0_3", "rocksdb").ok());
  BOOST_TEST(!fs::exists(*rocksdb));
  BOOST_TEST(fs::exists(*lmdb / "data"));
  BOOST_TEST((*directory).discard("0_3", "rocksdb").ok());
  BOOST_TEST((*directory).discard("0_3", "lmdb").ok());
  BOOST_TEST((*(*directory).tasks()).empty());
  check_refused((*directory).discard("..", "rocksdb"), "names no task");
}

// What a crash in discard leaves behind goes at the next start, and does not stop the next discard.
BOOST_AUTO_TEST_CASE(leftovers_of_a_discard_are_removed) {
  const TemporaryDirectory temporary;
  const fs::path leftover = temporary.path() / "bank" / "discarded.0_3.rocksdb";
  {
    auto directory = StateDirectory::open(temporary.path(), "bank");
    BOOST_REQUIRE(directory.has_value());
    fs::create_directory(leftover);
    write(leftover / "000001.sst", "x");
    BOOST_REQUIRE((*directory).task_directory("0_3", "rocksdb").has_value());
    BOOST_TEST((*directory).discard("0_3", "rocksdb").ok());
    BOOST_TEST(!fs::exists(leftover));
    fs::create_directory(leftover);
    write(leftover / "000001.sst", "x");
  }
  BOOST_REQUIRE(refusal(temporary.path(), "bank").ok());
  BOOST_TEST(!fs::exists(leftover));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing

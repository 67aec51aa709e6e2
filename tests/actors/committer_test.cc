// SPDX-License-Identifier: Apache-2.0
#include "actors/committer.h"

#include <boost/test/unit_test.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scoped_actor.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>

namespace millrace {
namespace {

using namespace std::chrono_literals;

// What actors have seen, in the order in which they saw it.
class Events {
 public:
  void add(const std::string& event) {
    const std::lock_guard lock{mutex_};
    events_.push_back(event);
    changed_.notify_all();
  }

  // The next one; empty: none came.
  std::string next() {
    std::unique_lock lock{mutex_};
    if (!changed_.wait_for(lock, 10s, [&] { return !events_.empty(); })) return {};
    auto event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> events_;
};

// A task whose answers to `prepare` are the test's.
using FakeTask = TaskHandle::extend<caf::reacts_to<answer_atom, Prepared>>;

FakeTask::behavior_type fake_task(FakeTask::pointer self, std::string name, Events* events) {
  auto asked = std::make_shared<caf::typed_response_promise<Prepared>>();
  return {
      [](wake_atom) {},
      [](tick_atom) {},
      [=](prepare_atom) {
        *asked = self->make_response_promise<Prepared>();
        events->add(name + " prepares");
        return *asked;
      },
      [=](committed_atom, const std::shared_ptr<const CommitPoint>&) {
        events->add(name + " is committed");
      },
      [](drain_atom) {},
      [](check_atom, const LogEnds&, bool) { return true; },
      [](close_atom, bool) { return true; },
      [](query_atom, const QueryPtr&) {},
      [=](answer_atom, const Prepared& prepared) { asked->deliver(prepared); },
  };
}

SupervisorHandle::behavior_type fake_supervisor(SupervisorHandle::pointer, Events* events) {
  return {
      [](start_atom) {},
      [](assigned_atom, const AssignmentChange&) {},
      [](revoked_atom, const AssignmentChange&) {},
      [](running_atom, TaskRef) {},
      [](failed_atom, const TaskFailure&) {},
      [=](broken_atom, const std::vector<TaskFailure>& writers) {
        for (const auto& writer : writers) {
          events->add(to_string(writer.task.id) +
                      (writer.blameless ? " blameless: " : " blamed: ") + writer.status.message());
        }
      },
      [](start_atom, TaskRef) {},
      [](fatal_atom, const Status&) {},
      [](settled_atom) {},
      [](tick_atom) {},
      [](check_atom) {},
      [](checked_atom) {},
      [](stop_atom) {},
  };
}

MembershipHandle::behavior_type fake_membership(MembershipHandle::pointer) {
  return {
      [](poll_atom) {},
      [](commit_atom, const CommitRequests& requests) -> CommitResults {
        return std::make_shared<const std::vector<Status>>(requests->size());
      },
      [](offsets_atom, const Partitions&) { return OffsetsAnswer{}; },
      [](answer_atom) {},
      [](stop_atom) { return true; },
  };
}

// Flushes a task, then asks for a commit of it, as a task does that memory presses.
void flush_and_commit(caf::event_based_actor* self, const CommitterHandle& committer, TaskId task,
                      Events* events) {
  self->request(committer, caf::infinite, flush_atom::value, std::vector<TaskId>{task})
      .then([=](bool) { events->add("flushed"); });
  self->send(committer, commit_atom::value, task);
  events->add("asked");
}

Config exactly_once() {
  Config config;
  config.application_id = "bank";
  config.bootstrap_servers = "127.0.0.1:1";  // Nobody there: nothing here needs a broker.
  config.guarantee = Guarantee::kExactlyOnce;
  config.commit_interval = 1h;  // Rounds come when they are asked for.
  config.log.level = LogLevel::kOff;
  return config;
}

// A Committer among fakes.
struct CommitterAmongFakes {
  CommitterAmongFakes() {
    app->producer = std::move(*Producer::create(app->config, {}, "bank-1"));
    const auto supervisor = system.spawn(fake_supervisor, &events);
    committer =
        system.spawn<Committer, caf::detached>(app, supervisor, system.spawn(fake_membership));
  }

  ~CommitterAmongFakes() {
    self->request(committer, caf::infinite, stop_atom::value)
        .receive([](bool) {}, [](const caf::error&) {});
  }

  FakeTask join(TaskId id) {
    auto task = system.spawn(fake_task, to_string(id), &events);
    self->send(committer, join_atom::value, CommitMember{{id, 1}, task, {"orders", id.partition}});
    return task;
  }

  void expect(const std::string& event) { BOOST_TEST_REQUIRE(events.next() == event); }

  Events events;
  const std::shared_ptr<AppContext> app = std::make_shared<AppContext>(exactly_once(), nullptr);
  caf::actor_system_config settings;
  caf::actor_system system{settings};
  caf::scoped_actor self{system};
  CommitterHandle committer;
};

BOOST_FIXTURE_TEST_SUITE(committer, CommitterAmongFakes)

// KS-14: what a task holds back from the transaction in flight goes with its offsets into the next,
// before the task may be closed.
BOOST_AUTO_TEST_CASE(a_flush_waits_for_a_commit_after_the_one_that_was_in_preparation) {
  const TaskId id{0, 0};
  const auto task = join(id);
  expect("0_0 prepares");
  self->send(task, answer_atom::value, Prepared{});
  expect("0_0 is committed");

  self->send(committer, commit_atom::value, id);
  expect("0_0 prepares");
  system.spawn(flush_and_commit, committer, id, &events);
  expect("asked");
  self->send(task, answer_atom::value, Prepared{});
  expect("0_0 is committed");
  expect("0_0 prepares");
  self->send(task, answer_atom::value, Prepared{});
  const std::set<std::string> last{events.next(), events.next()};
  BOOST_TEST(last.contains("0_0 is committed"));
  BOOST_TEST(last.contains("flushed"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace

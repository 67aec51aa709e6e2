// SPDX-License-Identifier: Apache-2.0
#include "actors/committer.h"

#include <librdkafka/rdkafka_mock.h>

#include <boost/test/unit_test.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scoped_actor.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>

#include "runtime/kafka/embedded_broker.h"
#include "tests/actors/fake_supervisor.h"

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

// Commits whatever it is asked to, with this result.
MembershipHandle::behavior_type fake_membership(MembershipHandle::pointer, const Status& result) {
  return {
      [](poll_atom) {},
      [result](commit_atom, const CommitRequests& requests) -> CommitResults {
        return std::make_shared<const std::vector<Status>>(requests->size(), result);
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

Config at_least_once() {
  auto config = exactly_once();
  config.guarantee = Guarantee::kAtLeastOnce;
  return config;
}

// A Committer among fakes.
struct CommitterAmongFakes {
  explicit CommitterAmongFakes(Config config = exactly_once())
      : app(std::make_shared<AppContext>(std::move(config), nullptr)) {
    app->producer = std::move(*Producer::create(app->config, {}, "bank-1"));
    const auto supervisor = system.spawn(
        testing::fake_supervisor,
        testing::OnBroken{[this](const std::vector<TaskFailure>& writers) {
          for (const auto& writer : writers) {
            events.add(to_string(writer.task.id) + (writer.blameless ? " blameless" : " blamed") +
                       (writer.progressed ? ", had progressed: " : ": ") + writer.status.message());
          }
        }});
    committer = system.spawn<Committer, caf::detached>(app, supervisor,
                                                       system.spawn(fake_membership, Status{}));
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
  const std::shared_ptr<AppContext> app;
  caf::actor_system_config settings;
  caf::actor_system system{settings};
  caf::scoped_actor self{system};
  CommitterHandle committer;
};

struct AtLeastOnceCommitter : CommitterAmongFakes {
  AtLeastOnceCommitter() : CommitterAmongFakes(at_least_once()) {}
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

// A producer that writes to brokers of its own, and what becomes of its records.
class Writer {
 public:
  Writer() {
    config_.application_id = "bank";
    config_.bootstrap_servers = broker_->bootstrap_servers();
    BOOST_REQUIRE(broker_->create_topic("orders", 1).ok());
    producer_ = std::move(*Producer::create(config_, {}));
  }

  // As by a broker whose limit is lower than ours.
  std::shared_ptr<AckTracker> refused(std::shared_ptr<AckTracker> acks) {
    constexpr std::int16_t kProduceRequest = 0;
    rd_kafka_mock_push_request_errors(broker_->mock(), kProduceRequest, 1,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    write(*acks);
    BOOST_REQUIRE(producer_->flush(20s).ok());
    return acks;
  }

  // As what is left of a transaction that has failed.
  std::shared_ptr<AckTracker> dropped() {
    rd_kafka_mock_broker_set_down(broker_->mock(), 1);
    auto acks = nothing();
    write(*acks);
    BOOST_REQUIRE(producer_->renew().ok());
    rd_kafka_mock_broker_set_up(broker_->mock(), 1);
    BOOST_REQUIRE((acks->status().code() == Code::kCancelled));
    return acks;
  }

  std::shared_ptr<AckTracker> nothing() { return producer_->new_tracker(); }

 private:
  void write(AckTracker& acks) {
    const auto topic = *producer_->topic("orders");
    BOOST_REQUIRE(producer_->produce(topic, 0, "k", "v", {}, nullptr, &acks).ok());
  }

  const std::unique_ptr<EmbeddedBroker> broker_ = std::move(*EmbeddedBroker::start());
  Config config_;
  std::unique_ptr<Producer> producer_;
};

// What a task hands over with these outputs and changes, which it could write all unless `refusal`
// says why not.
Prepared prepared(TaskId id, std::shared_ptr<const AckTracker> outputs,
                  std::shared_ptr<const AckTracker> changes, Status refusal = {}) {
  auto commit = std::make_shared<PreparedCommit>();
  commit->task = id;
  commit->outputs = std::move(outputs);
  commit->changelogs.push_back({{"changes", id.partition}, 0, std::move(changes)});
  commit->refusal = std::move(refusal);
  return {std::move(commit), false};
}

// One record that a broker refuses fails the transaction of all tasks.
BOOST_AUTO_TEST_CASE(the_task_whose_record_was_refused_is_to_blame_and_no_other) {
  Writer writer;
  const auto purged = join({0, 0});
  const auto blocked = join({0, 1});
  const auto poisoned = join({0, 2});
  const auto sound = join({0, 3});
  for (int i = 0; i < 4; ++i) BOOST_REQUIRE(!events.next().empty());
  const auto nothing = writer.nothing();
  const auto cancelled = Status::cancelled("the transaction has failed");
  self->send(purged, answer_atom::value, prepared({0, 0}, writer.dropped(), nothing));
  self->send(blocked, answer_atom::value, prepared({0, 1}, nothing, nothing, cancelled));
  self->send(sound, answer_atom::value, prepared({0, 3}, nothing, nothing));
  // It was stopped by its own record's failure too, which comes behind all that tells nothing.
  self->send(poisoned, answer_atom::value,
             prepared({0, 2}, writer.dropped(), writer.refused(writer.nothing()), cancelled));
  const std::string cause =
      "task 0_2: a change was not delivered: cannot write a record of 2 bytes "
      "to orders-0: Broker: Message size too large (MSG_SIZE_TOO_LARGE)";
  expect("0_0 blameless: " + cause);
  expect("0_1 blameless: " + cause);
  expect("0_2 blamed: " + cause);
  expect("0_3 blameless: " + cause);
}

// The restart limit must end what nobody can be blamed for.
BOOST_AUTO_TEST_CASE(where_no_task_has_a_cause_of_its_own_all_are_to_blame) {
  Writer writer;
  const auto first = join({0, 0});
  const auto second = join({0, 1});
  for (int i = 0; i < 2; ++i) BOOST_REQUIRE(!events.next().empty());
  const auto nothing = writer.nothing();
  self->send(first, answer_atom::value, prepared({0, 0}, nothing, nothing));
  self->send(second, answer_atom::value,
             prepared({0, 1}, nothing, nothing, Status::cancelled("the transaction has failed")));
  expect("0_0 blamed: the transaction has failed");
  expect("0_1 blamed: the transaction has failed");
}

// A limit of attempts without progress must not be held off by commits of nothing.
BOOST_AUTO_TEST_CASE(rounds_without_changes_are_no_progress) {
  Writer writer;
  const TaskId id{0, 0};
  const auto task = join(id);
  for (int i = 0; i < 3; ++i) {
    expect("0_0 prepares");
    self->send(task, answer_atom::value, Prepared{});
    expect("0_0 is committed");
    self->send(committer, commit_atom::value, id);
  }
  expect("0_0 prepares");
  const auto nothing = writer.nothing();
  self->send(task, answer_atom::value,
             prepared(id, nothing, nothing, Status::cancelled("the transaction has failed")));
  expect("0_0 blamed: the transaction has failed");
}

// Another broker may report what was dropped before the one that refused reports why.
BOOST_AUTO_TEST_CASE(a_tracker_prefers_the_cause_to_what_followed_from_it) {
  Writer writer;
  const auto acks = writer.dropped();
  BOOST_TEST((writer.refused(acks)->status().code() == Code::kInvalidArgument));
}

// KS-21: failures far apart are not failures in a row.
BOOST_FIXTURE_TEST_CASE(a_task_whose_commit_fails_after_others_has_progressed,
                        AtLeastOnceCommitter) {
  Writer writer;
  const TaskId id{0, 0};
  const auto nothing = writer.nothing();
  const auto at = [&](std::int64_t offset, const Status& refusal) {
    auto share = prepared(id, nothing, nothing, refusal);
    auto commit = std::make_shared<PreparedCommit>(*share.commit);
    commit->inputs = {{"orders", 0}};
    commit->point.sources["orders"] = offset;
    return Prepared{std::move(commit), false};
  };
  for (const std::int64_t last : {5, 6}) {
    const auto task = join(id);
    for (std::int64_t offset = 5; offset <= last; ++offset) {
      expect("0_0 prepares");
      self->send(task, answer_atom::value, at(offset, {}));
      expect("0_0 is committed");
      self->send(committer, commit_atom::value, id);
    }
    expect("0_0 prepares");
    self->send(task, answer_atom::value, at(last + 1, Status::unavailable("not delivered")));
    expect(last == 5 ? "0_0 blamed: not delivered" : "0_0 blamed, had progressed: not delivered");
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace

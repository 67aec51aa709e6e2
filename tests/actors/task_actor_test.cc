// SPDX-License-Identifier: Apache-2.0
#include "actors/task_actor.h"

#include <boost/test/unit_test.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scoped_actor.hpp>
#include <thread>

#include "millrace/topology.h"
#include "runtime/kafka/embedded_broker.h"
#include "tests/actors/fake_supervisor.h"

namespace millrace {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 20s;  // Never reached unless something is broken.

// CAF 0.17 takes a reference to the arguments of an actor that is a function: one with none is
// undefined behaviour.
struct Nothing {};

CommitterHandle::behavior_type fake_committer(CommitterHandle::pointer, Nothing) {
  return {
      [](poll_atom) {},
      [](join_atom, const CommitMember&) {},
      [](leave_atom, TaskRef) {},
      [](commit_atom, TaskId) {},
      [](flush_atom, const std::vector<TaskId>&) { return true; },
      [](void_atom) { return true; },
      [](renew_atom) {},
      [](stop_atom) { return true; },
  };
}

// A task that copies "in" to "out" under exactly-once, by an embedded broker. What Committer and
// Supervisor would tell it, the test does.
struct CopyTask {
  CopyTask() {
    BOOST_REQUIRE(broker->create_topic("in", 1).ok());
    BOOST_REQUIRE(broker->create_topic("out", 1).ok());
    Config config;
    config.application_id = "copy";
    config.bootstrap_servers = broker->bootstrap_servers();
    config.log.level = LogLevel::kOff;
    input = std::move(*Producer::create(config, {}));
    config.guarantee = Guarantee::kExactlyOnce;
    Topology topology;
    topology.stream(Topic<std::string, std::string>{"in"})
        .to(Topic<std::string, std::string>{"out"});
    topology.graph()->freeze();
    app = std::make_shared<AppContext>(config, topology.graph());
    app->producer = std::move(*Producer::create(config, {}, "copy-1"));
    app->sink = std::make_unique<KafkaSink>(*app->producer, std::map<std::string, int>{{"out", 1}});
    app->data = std::move(*DataConsumer::create(config, {}));
    BOOST_REQUIRE(app->producer->open(kPatience).ok());

    auto restored = std::make_shared<RestoredTask>();
    restored->plan = plan_task(app->graph, {0, 0}, {1}, "copy");
    restored->start.point.sources["in"] = 0;
    task = system.spawn<TaskActor>(
        app, system.spawn(testing::fake_supervisor, testing::OnBroken{[](const auto&) {}}),
        system.spawn(fake_committer, Nothing{}), TaskRef{{0, 0}, 1}, restored);
    commit();
  }

  ~CopyTask() {
    self->request(task, caf::infinite, close_atom::value, false)
        .receive([](bool) {}, [](const caf::error&) {});
  }

  CommitPoint prepare() {
    CommitPoint point;
    self->request(task, caf::infinite, prepare_atom::value)
        .receive(
            [&](const Prepared& prepared) {
              BOOST_REQUIRE(prepared.commit != nullptr);
              point = prepared.commit->point;
            },
            [](const caf::error&) { BOOST_FAIL("no answer"); });
    return point;
  }
  void is_committed(const CommitPoint& point) {
    self->send(task, committed_atom::value, std::make_shared<const CommitPoint>(point));
  }
  void commit() { is_committed(prepare()); }

  // Writes a record and waits until the task has processed it.
  void process_one() {
    static_cast<void>(input->produce(*input->topic("in"), 0, "k", "v", from_millis(1)));
    BOOST_REQUIRE(input->flush(kPatience).ok());
    ++processed;
    while (count("millrace_records_consumed_total") < processed) std::this_thread::yield();
  }

  // The task has served all messages that were sent to it before.
  void settle() {
    self->request(task, caf::infinite, check_atom::value,
                  std::make_shared<const std::vector<std::int64_t>>(), false)
        .receive([](bool) {}, [](const caf::error&) {});
  }

  int count(const std::string& series) {
    const std::string text = app->registry.text();
    const auto at = text.find('\n' + series);
    if (at == std::string::npos) return 0;
    return std::stoi(text.substr(text.find(' ', at)));
  }
  int produced() { return count("millrace_records_produced_total"); }

  const std::unique_ptr<EmbeddedBroker> broker = std::move(*EmbeddedBroker::start());
  std::unique_ptr<Producer> input;
  std::shared_ptr<AppContext> app;
  caf::actor_system_config settings;
  caf::actor_system system{settings};
  caf::scoped_actor self{system};
  TaskHandle task;
  int processed = 0;
};

BOOST_FIXTURE_TEST_SUITE(task_actor, CopyTask)

// KS-14: the outputs of records that came after the task's share in a transaction.
BOOST_AUTO_TEST_CASE(what_is_held_back_enters_the_next_transaction_as_it_begins) {
  process_one();
  BOOST_TEST(produced() == 1);
  const auto point = prepare();
  process_one();
  BOOST_TEST(produced() == 1);
  is_committed(point);
  settle();
  BOOST_TEST(produced() == 2);
}

// KS-14: there may be no next commit of a task that is to be closed, while the others have one.
BOOST_AUTO_TEST_CASE(a_drained_task_writes_what_it_held_back_with_its_next_commit_only) {
  process_one();
  const auto point = prepare();
  process_one();
  self->send(task, drain_atom::value);
  is_committed(point);
  settle();
  BOOST_TEST(produced() == 1);
  BOOST_TEST(prepare().sources.at("in") == 2);
  BOOST_TEST(produced() == 2);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace

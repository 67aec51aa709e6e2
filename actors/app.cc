// SPDX-License-Identifier: Apache-2.0
#include "millrace/app.h"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/send.hpp>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <future>
#include <iostream>
#include <mutex>
#include <thread>

#include "actors/app_context.h"
#include "actors/backup.h"
#include "actors/gateway.h"
#include "actors/start_up.h"
#include "actors/supervisor.h"
#include "metrics/process_metrics.h"

namespace millrace {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitBadConfiguration = 2;
// Messages an actor may handle before others get the thread.
constexpr std::size_t kThroughputMax = 100;

// CAF's actor system on a thread of its own. It keeps its logger in thread-local storage and waits
// at its end until every thread that made or spawned something has let go of it: ended by another
// thread than it was begun by, it would wait for ever, and any thread may stop an App.
class ActorSystem {
 public:
  using Spawn = std::function<SupervisorHandle(caf::actor_system&)>;

  ActorSystem(std::size_t threads, const Spawn& spawn) {
    auto spawned = spawned_.get_future();
    thread_ = std::thread{[this, threads, &spawn] { run(threads, spawn); }};
    try {
      supervisor_ = spawned.get();
    } catch (...) {
      thread_.join();
      throw;
    }
  }
  /// Waits for the actors.
  ~ActorSystem() {
    supervisor_ = nullptr;
    end_.set_value();
    thread_.join();
  }
  ActorSystem(const ActorSystem&) = delete;
  ActorSystem& operator=(const ActorSystem&) = delete;

  [[nodiscard]] const SupervisorHandle& supervisor() const { return supervisor_; }

 private:
  void run(std::size_t threads, const Spawn& spawn) try {
    caf::actor_system_config settings;
    if (threads > 0) settings.set("scheduler.max-threads", threads);
    settings.set("scheduler.max-throughput", kThroughputMax);
    settings.set("scheduler.policy",
                 caf::atom("sharing"));  // An idle service costs next to nothing.
    caf::actor_system system{settings};
    auto end = end_.get_future();
    spawned_.set_value(spawn(system));
    end.wait();
  } catch (...) {
    spawned_.set_exception(std::current_exception());  // Nothing above throws once it is set.
  }

  std::promise<SupervisorHandle> spawned_;
  std::promise<void> end_;
  SupervisorHandle supervisor_;
  std::thread thread_;
};

// How much longer than `shutdown_timeout` a process waits for its threads.
constexpr std::chrono::seconds kExitGrace{5};

// Ends the process if a stop does not end. A user function that never returns keeps its thread for
// ever, and with it all that the thread may touch. Nothing is lost that a crash would not lose.
class LastResort {
 public:
  explicit LastResort(const AppContext& app)
      : thread_([&app](const std::stop_token& stopped) {
          std::mutex mutex;
          std::unique_lock lock{mutex};
          std::condition_variable_any().wait_for(
              lock, stopped, app.config.shutdown_timeout + kExitGrace, [] { return false; });
          if (stopped.stop_requested()) return;
          const auto hanging = app.watchdog.hanging();
          std::cerr << app.config.application_id
                    << ": did not stop in time, the process ends without it: "
                    << (hanging.empty() ? "a user function, a store or a broker does not answer\n"
                                        : hanging)
                    << std::flush;
          std::_Exit(kExitFailed);
        }) {}

 private:
  std::jthread thread_;
};

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
}

}  // namespace

struct App::Impl {
  Impl(const Topology& topology, Config the_config, std::shared_ptr<EmbeddedKafka> the_embedded)
      : embedded(std::move(the_embedded)) {
    topology.graph()->freeze();
    context = std::make_shared<AppContext>(std::move(the_config), topology.graph());
    process = std::make_unique<metrics::ProcessMetrics>(context->registry, MILLRACE_VERSION);
  }

  // Actors end before what they use; the gateway asks both, so it ends first.
  ~Impl() { stop(); }

  void start() {
    if (started) throw ConfigError("start() was called before; one App object runs once");
    if (auto problems = context->config.problems(); !problems.empty())
      throw ConfigError(joined(problems));
    for (const auto& warning : context->config.warnings()) context->log.warn(warning);
    // The HTTP port first: a taken one is known at once.
    if (!context->config.http.empty()) {
      auto served = Gateway::start(*context);
      if (!served) throw ConfigError("http: " + served.error().message());
      gateway = *std::move(served);
      context->log.info("HTTP on " + gateway->address());
    }
    try {
      start_up(*context, embedded.get());
      std::vector<std::string> drivers;
      for (const auto& part : context->subtopologies) drivers.push_back(part.driver);
      std::sort(drivers.begin(), drivers.end());
      drivers.erase(std::unique(drivers.begin(), drivers.end()), drivers.end());
      auto member = GroupMember::create(context->config, context->log.for_kafka(), drivers);
      if (!member) throw StatusError(member.error());
      system =
          std::make_unique<ActorSystem>(context->config.threads, [&](caf::actor_system& actors) {
            // Detached: user functions that hang may have every scheduled thread.
            return actors.spawn<Supervisor, caf::detached>(context, *std::move(member));
          });
      started = true;
      caf::anon_send(system->supervisor(), start_atom::value);
    } catch (...) {
      gateway.reset();
      release();
      throw;
    }
  }

  void stop() {
    if (!system) return;
    caf::anon_send(system->supervisor(), stop_atom::value);
    if (!context->board.wait_for_end(context->config.shutdown_timeout)) {
      context->log.error("not stopped after " +
                         std::to_string(context->config.shutdown_timeout.count()) +
                         " ms; waiting for the actors all the same. What is not committed will be "
                         "processed again");
    }
    gateway.reset();
    context->producer->interrupt();
    system.reset();
    release();
  }

  // What belongs to one run, in the order of dependence: the state directory is free for others at
  // the end.
  void release() {
    context->data.reset();
    context->sink.reset();
    context->producer.reset();
    context->state_directory.reset();
  }

  std::shared_ptr<EmbeddedKafka> embedded;
  std::shared_ptr<AppContext> context;
  std::unique_ptr<metrics::ProcessMetrics> process;
  std::unique_ptr<Gateway> gateway;
  std::unique_ptr<ActorSystem> system;
  bool started = false;  // Stays so after stop(); a start that has failed may be tried again.
};

App::App(const Topology& topology, Config config, std::shared_ptr<EmbeddedKafka> embedded)
    : impl_(std::make_unique<Impl>(topology, std::move(config), std::move(embedded))) {}

App::~App() = default;

void App::start() { impl_->start(); }

void App::stop() { impl_->stop(); }

int App::run() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  // Blocked before any thread is started, so that all of them inherit it and sigtimedwait below
  // gets the signal.
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const std::string& name = impl_->context->config.application_id;
  impl_->context->stop_asked = [] {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1;
  };
  try {
    start();
  } catch (const ConfigError& error) {
    std::cerr << name << ": " << error.what() << std::endl;
    return kExitBadConfiguration;
  } catch (const TopologyError& error) {
    std::cerr << name << ": " << error.what() << std::endl;
    return kExitBadConfiguration;
  } catch (const std::exception& error) {
    std::cerr << name << ": " << error.what() << std::endl;
    return impl_->context->stop_asked() ? 0 : kExitFailed;
  }
  while (!impl_->context->board.wait_for_end(std::chrono::milliseconds{0})) {
    constexpr timespec kLook{0, 100'000'000};
    if (sigtimedwait(&signals, nullptr, &kLook) > 0) break;
  }
  {
    const LastResort last_resort{*impl_->context};
    stop();
  }
  if (state() == AppState::kStopped) return 0;
  std::cerr << name << ": " << (error().empty() ? "did not stop in time" : error()) << std::endl;
  return kExitFailed;
}

std::vector<std::string> App::check() {
  auto problems = impl_->context->config.problems();
  if (!problems.empty()) return problems;
  return check_cluster(*impl_->context, impl_->embedded.get());
}

AppState App::state() const { return impl_->context->board.app_state(); }

bool App::wait_for(AppState state, std::chrono::milliseconds timeout) {
  return impl_->context->board.wait_for(state, timeout);
}

std::string App::error() const { return impl_->context->board.error(); }

std::string App::metrics_text() const { return impl_->context->registry.text(); }

std::string App::status_json() const { return millrace::status_json(*impl_->context); }

std::string App::http_address() const {
  return impl_->gateway ? impl_->gateway->address() : std::string{};
}

void App::check_store(const std::string& name, const ValueOps& value, const KeyOps& key,
                      StoreKind kind) const {
  const auto& graph = *impl_->context->graph;
  const auto place = graph.find_store(name);
  if (!place) {
    std::string known;
    for (const auto& store : graph.stores())
      known += (known.empty() ? "" : ", ") + store.options.name();
    throw UnknownStoreError("there is no store '" + name + "'; the topology has: " + known);
  }
  check_store_types(graph.stores()[*place], value, key, kind);
}

BackupReport App::backup(const std::filesystem::path& directory, const BackupListener& listener) {
  return make_backup(*impl_->context, directory, listener);
}

AppContext& App::context() const { return *impl_->context; }

}  // namespace millrace

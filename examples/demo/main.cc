// SPDX-License-Identifier: Apache-2.0
//
// A whole application with nothing outside the process: a broker, somebody who makes payments, and
// the reducer that keeps the accounts. At the end the accounts are compared with what was paid.
#include <pthread.h>
#include <unistd.h>
#include <csignal>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "bank.h"
#include "generator.h"
#include "kafka_client.h"
#include "progress.h"

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Steady = std::chrono::steady_clock;

constexpr milliseconds kViewEvery{200};
constexpr seconds kStartMax{60};
constexpr seconds kDrainMax{60};

struct Options {
  double seconds = 0;  // 0: until a signal.
  double rate = 5000;
  std::string http = "127.0.0.1:8080";
  std::string bootstrap;
  std::string state_dir;
  int partitions = 4;
  std::uint32_t accounts = 1000;
  bool verbose = false;
};

// SIGINT and SIGTERM, taken where the program waits anyway. Made before any thread, which inherit
// it.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  /// Waits; true once a signal came.
  [[nodiscard]] bool wait(milliseconds timeout) const {
    const auto whole = std::chrono::duration_cast<seconds>(timeout);
    const timespec limit{whole.count(), std::chrono::nanoseconds{timeout - whole}.count()};
    return sigtimedwait(&set_, nullptr, &limit) > 0;
  }

 private:
  sigset_t set_{};
};

// The given directory, or a temporary one that goes with this object.
class StateDirectory {
 public:
  explicit StateDirectory(std::string given) : path_(std::move(given)), temporary_(path_.empty()) {
    if (!temporary_) return;
    path_ = (std::filesystem::temp_directory_path() / "millrace-demo.XXXXXX").string();
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot create " + path_);
  }
  ~StateDirectory() {
    std::error_code ignored;
    if (temporary_) std::filesystem::remove_all(path_, ignored);
  }
  StateDirectory(const StateDirectory&) = delete;
  StateDirectory& operator=(const StateDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  const bool temporary_;
};

// Each run is an application of its own: names that no earlier run has used.
std::string run_name() {
  std::string text(32, '\0');
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  text.resize(std::strftime(text.data(), text.size(), "%Y%m%d-%H%M%S", &utc));
  return "millrace-demo-" + text + "-" + std::to_string(getpid());
}

// Compares every account in the stores with the generator's books, and says so.
bool check(millrace::App& app, const demo::Generator& generator) {
  const auto& books = generator.books();
  std::int64_t generated = 0;
  std::int64_t stored = 0;
  std::size_t stored_accounts = 0;
  std::size_t equal = 0;
  for (const auto& [name, account] : books) generated += account.balance;
  for (const auto& [name, account, time] :
       app.store<std::string, demo::Account>(demo::kStore).all()) {
    stored += account.balance;
    ++stored_accounts;
    const auto expected = books.find(name);
    if (expected != books.end() && expected->second == account) ++equal;
  }
  const bool holds =
      generated == stored && stored_accounts == books.size() && equal == books.size();
  std::cout << "check: " << demo::grouped(generator.written()) << " payments to "
            << demo::grouped(static_cast<std::int64_t>(books.size())) << " accounts\n"
            << "  sum of all balances: " << demo::grouped(generated) << " paid, "
            << demo::grouped(stored) << " in the stores\n"
            << "  accounts with exactly their payments: " << equal << " of " << books.size()
            << ", others in the stores: " << stored_accounts - equal << '\n'
            << (holds ? "the balances hold" : "THE BALANCES DO NOT HOLD") << std::endl;
  return holds;
}

millrace::Config make_config(const Options& options, const std::string& name,
                             const std::string& state_dir, demo::Progress& progress) {
  auto config = millrace::Config::from_env();
  config.application_id = name;
  config.state_dir = state_dir;
  config.http = options.http;
  config.checkpoint_interval = seconds{2};  // So that there is something on disk to be seen.
  config.log.level = options.verbose ? millrace::LogLevel::kInfo : millrace::LogLevel::kWarn;
  config.log.sink = [&progress](auto level, auto line) { progress.log(level, line); };
  return config;
}

// Shows figures until the time is over, `is_done` says so or a signal comes. False after a signal.
template <class F>
bool watch(millrace::App& app, const demo::Topics& topics, demo::Generator& generator,
           demo::Progress& progress, const Signals& signals, std::optional<Steady::time_point> end,
           F is_done) {
  while (!end || Steady::now() < *end) {
    if (app.state() == millrace::AppState::kError) throw std::runtime_error(app.error());
    const auto figures = demo::figures_of(app, topics);
    generator.set_committed(figures.committed);
    progress.show(figures);
    if (is_done(figures)) return true;
    if (signals.wait(kViewEvery)) return false;
  }
  return true;
}

int run(const Options& options, const Signals& signals) {
  const std::string name = run_name();
  const bool embedded = options.bootstrap.empty();
  const std::string prefix = embedded ? "" : name + "-";
  const demo::Topics topics{millrace::Topic<std::string, demo::Payment>{prefix + "payments"},
                            millrace::Topic<std::string, demo::Account>{prefix + "alerts"}};
  const StateDirectory state{options.state_dir};
  demo::Progress progress;
  auto config = make_config(options, name, state.path(), progress);

  std::shared_ptr<millrace::EmbeddedKafka> kafka;
  if (embedded) {
    kafka = std::make_shared<millrace::EmbeddedKafka>();
    kafka->create_topic(topics.payments.name(), options.partitions);
    kafka->create_topic(topics.alerts.name(), options.partitions);
    config.bootstrap_servers = kafka->bootstrap_servers();
  } else {
    demo::create_topics(options.bootstrap, {topics.payments.name(), topics.alerts.name()},
                        options.partitions);
    config.bootstrap_servers = options.bootstrap;
  }

  demo::Generator generator{{.bootstrap_servers = config.bootstrap_servers,
                             .topic = topics.payments.name(),
                             .records_per_second = options.rate,
                             .accounts = options.accounts}};
  millrace::App app{bank(topics), config, kafka};
  app.start();
  std::cout << "payments -> reducer -> alerts on " << (embedded ? "the embedded broker" : "Kafka")
            << " at " << config.bootstrap_servers << ", topics " << topics.payments.name()
            << " and " << topics.alerts.name() << "\nstate in " << state.path() << '\n';
  if (const auto address = app.http_address(); !address.empty()) {
    std::cout << "http://" << address << "/status  /metrics  /topology  /stores/" << demo::kStore
              << "/account-0000\n";
  }
  std::cout << (options.seconds > 0 ? "" : "Ctrl-C ends it\n") << std::flush;

  const auto is_running = [&](const auto&) { return app.state() == millrace::AppState::kRunning; };
  const bool begun =
      watch(app, topics, generator, progress, signals, Steady::now() + kStartMax, is_running);
  if (begun && !is_running(0)) throw std::runtime_error("not running after a minute");
  if (begun) {
    generator.start();
    std::optional<Steady::time_point> end;
    if (options.seconds > 0) {
      end = Steady::now() + std::chrono::duration_cast<Steady::duration>(
                                std::chrono::duration<double>(options.seconds));
    }
    watch(app, topics, generator, progress, signals, end, [](const auto&) { return false; });
  }
  generator.stop();
  const auto is_drained = [&](const demo::Figures& figures) {
    return figures.lag == 0 && figures.committed == generator.written();
  };
  const bool patient =
      watch(app, topics, generator, progress, signals, Steady::now() + kDrainMax, is_drained);
  progress.finish();
  if (!patient) throw std::runtime_error("ended by a second signal, before all was processed");
  if (!is_drained(demo::figures_of(app, topics))) {
    throw std::runtime_error("payments are still not processed and committed after a minute");
  }
  const bool holds = check(app, generator);
  app.stop();
  progress.finish();
  if (!embedded) {
    std::cout << "left on the broker: the topics " << name << "-* and the group " << name << '\n';
  }
  return holds ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App cli{
      "Millrace's demo: account balances kept by a reducer, with nothing outside the process."};
  cli.add_option("--seconds", options.seconds, "How long payments are made; 0: until SIGINT")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  cli.add_option("--rate", options.rate, "Payments per second")
      ->check(CLI::Range(1.0, 1e6))
      ->capture_default_str();
  cli.add_option("--http", options.http,
                 "HOST:PORT of the web server; port 0: a free one; \"\": none")
      ->capture_default_str();
  cli.add_option("--bootstrap", options.bootstrap,
                 "HOST:PORT of a real Kafka, where topics are created for this run and left; "
                 "default: a broker in this process");
  cli.add_option("--state-dir", options.state_dir,
                 "Folder for the stores, which stay there; default: a temporary one");
  cli.add_option("--partitions", options.partitions, "Partitions of each topic")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  cli.add_option("--accounts", options.accounts, "Number of accounts")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  cli.add_flag("--verbose", options.verbose, "Show the application's log, not only warnings");
  cli.footer(
      "Other settings are taken from MILLRACE_* in the environment. Exit code 0: the balances "
      "hold.");
  CLI11_PARSE(cli, argc, argv);

  const Signals signals;
  try {
    return run(options, signals);
  } catch (const std::exception& error) {
    std::cerr << "demo: " << error.what() << std::endl;
    return 1;
  }
}

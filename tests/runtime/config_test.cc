// SPDX-License-Identifier: Apache-2.0
#include "millrace/config.h"

#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/config_source.h"
#include "runtime/config_table.h"
#include "runtime/engine_choice.h"
#include "runtime/suggestion.h"

namespace millrace {
namespace {

using namespace std::chrono_literals;

// A configuration file that goes away with its test.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view content) {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-config-XXXXXX").string();
    const int file = mkstemp(name.data());
    BOOST_REQUIRE(file >= 0);
    close(file);
    path_ = name;
    std::ofstream{path_} << content;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool mentions(const std::vector<std::string>& lines, std::string_view part) {
  return std::ranges::any_of(lines, [&](const std::string& line) { return contains(line, part); });
}

ConfigEntry entry(const Config& config, std::string_view key) {
  const auto entries = config.describe();
  const auto found = std::ranges::find(entries, key, &ConfigEntry::key);
  BOOST_REQUIRE(found != entries.end());
  return *found;
}

BOOST_AUTO_TEST_SUITE(config)

BOOST_AUTO_TEST_CASE(a_plain_config_needs_only_an_application_id) {
  Config config;
  BOOST_TEST(config.problems().size() == 1U);
  BOOST_TEST(mentions(config.problems(), "application_id is not set"));
  config.application_id = "bank";
  BOOST_TEST(config.problems().empty());
  const Config short_form{.application_id = "bank", .http = "8080"};
  BOOST_TEST(short_form.problems().empty());
}

// Requirement SS-25: `KAFKA_BROKER` env, default localhost:9092.
BOOST_AUTO_TEST_CASE(the_broker_comes_from_kafka_broker_unless_ours_is_set) {
  BOOST_TEST(read_config({}, "bank").bootstrap_servers == "localhost:9092");
  const Config theirs = read_config({{"KAFKA_BROKER", "kafka:19092"}}, "bank");
  BOOST_TEST(theirs.bootstrap_servers == "kafka:19092");
  BOOST_TEST(entry(theirs, "bootstrap_servers").origin == "environment (KAFKA_BROKER)");
  const Config ours = read_config(
      {{"KAFKA_BROKER", "kafka:19092"}, {"MILLRACE_BOOTSTRAP_SERVERS", "broker:9092"}}, "bank");
  BOOST_TEST(ours.bootstrap_servers == "broker:9092");
}

BOOST_AUTO_TEST_CASE(from_env_reads_the_environment_of_the_process) {
  setenv("MILLRACE_BATCH_RECORDS_MAX", "77", 1);
  const Config config = Config::from_env("bank");
  unsetenv("MILLRACE_BATCH_RECORDS_MAX");
  BOOST_TEST(config.batch_records_max == 77U);
  BOOST_TEST(config.application_id == "bank");
}

BOOST_AUTO_TEST_CASE(environment_wins_over_file_over_default_and_program_over_all) {
  const TemporaryFile file{
      "# a comment\n\n"
      "application_id = from-file\r\n"
      "commit_interval_ms=250\n"
      "  checkpoint_interval_ms =  5000  \n"
      "guarantee = exactly_once\n"
      "topic.segment.bytes = 104857600\n"
      "metric_labels.region = north\n"
      "kafka.sasl.password = a=b # c\n"};
  Config config = read_config({{"MILLRACE_CONFIG", file.path()},
                               {"MILLRACE_COMMIT_INTERVAL_MS", "300"},
                               {"MILLRACE_KAFKA_SESSION_TIMEOUT_MS", "6000"},
                               {"MILLRACE_METRIC_LABELS_DATA_CENTER", "dc1"},
                               {"MILLRACE_TOPIC_RETENTION_MS", "1000"},
                               {"MILLRACE_TEST_ANYTHING", "is ignored"},
                               {"PATH", "/bin"}},
                              "argument");
  BOOST_TEST(config.problems().empty());
  BOOST_TEST(config.application_id == "from-file");
  BOOST_TEST((config.commit_interval == 300ms));
  BOOST_TEST((config.checkpoint_interval == 5s));
  BOOST_TEST((config.guarantee == Guarantee::kExactlyOnce));
  BOOST_TEST(config.changelog_topic_configs.at("segment.bytes") == "104857600");
  BOOST_TEST(config.changelog_topic_configs.at("retention.ms") == "1000");
  BOOST_TEST(config.metric_labels.at("region") == "north");
  BOOST_TEST(config.metric_labels.at("data_center") == "dc1");
  BOOST_TEST(config.kafka.at("session.timeout.ms") == "6000");
  BOOST_TEST(config.kafka.at("sasl.password") == "a=b # c");

  BOOST_TEST(entry(config, "threads").origin == "default");
  BOOST_TEST(entry(config, "application_id").origin == file.path() + ":3");
  BOOST_TEST(entry(config, "kafka.session.timeout.ms").origin ==
             "environment (MILLRACE_KAFKA_SESSION_TIMEOUT_MS)");
  config.commit_interval = 400ms;
  BOOST_TEST(entry(config, "commit_interval_ms").origin == "program");
  BOOST_TEST(entry(config, "commit_interval_ms").value == "400");
}

BOOST_AUTO_TEST_CASE(a_transaction_must_outlast_the_commit_interval) {
  Config config;
  config.application_id = "bank";
  config.guarantee = Guarantee::kExactlyOnce;
  config.commit_interval = std::chrono::seconds{10};
  BOOST_TEST(mentions(config.problems(), "must be below kafka.transaction.timeout.ms = 10000"));
  config.kafka["transaction.timeout.ms"] = "20000";
  BOOST_TEST(config.problems().empty());
  config.kafka.clear();
  config.guarantee = Guarantee::kAtLeastOnce;
  BOOST_TEST(config.problems().empty());
}

BOOST_AUTO_TEST_CASE(the_commit_interval_follows_the_guarantee_unless_set) {
  Config config;
  BOOST_TEST((config.effective_commit_interval() == 1s));
  config.guarantee = Guarantee::kExactlyOnce;
  BOOST_TEST((config.effective_commit_interval() == 100ms));
  BOOST_TEST(entry(config, "commit_interval_ms").value == "100");
  BOOST_TEST(entry(config, "commit_interval_ms").origin == "default");
  config.commit_interval = 2s;
  BOOST_TEST((config.effective_commit_interval() == 2s));
}

BOOST_AUTO_TEST_CASE(unknown_keys_are_named_with_their_place_and_a_suggestion) {
  const TemporaryFile file{
      "application_id = bank\ncommit_interval = 5\nsasl.username = me\nnonsense\n"};
  const auto problems =
      read_config({{"MILLRACE_CONFIG", file.path()}, {"MILLRACE_CHACHE_BYTES_MAX", "1"}}, "bank")
          .problems();
  BOOST_TEST(problems.size() == 4U);
  BOOST_TEST(mentions(problems, "unknown key commit_interval (" + file.path() +
                                    ":2); did you mean commit_interval_ms?"));
  BOOST_TEST(mentions(problems, "did you mean kafka.sasl.username?"));
  BOOST_TEST(mentions(problems, "a line is not 'key = value' (" + file.path() + ":4)"));
  BOOST_TEST(mentions(problems,
                      "unknown variable MILLRACE_CHACHE_BYTES_MAX (environment); did you "
                      "mean MILLRACE_CACHE_BYTES_MAX?"));
}

BOOST_AUTO_TEST_CASE(a_key_may_stand_in_the_file_once) {
  const TemporaryFile file{"threads = 1\nthreads = 2\n"};
  const Config config = read_config({{"MILLRACE_CONFIG", file.path()}}, "bank");
  BOOST_TEST(mentions(config.problems(), "key threads stands there twice (" + file.path() + ":2)"));
  BOOST_TEST(config.threads == 1U);
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_read_is_a_problem) {
  for (const char* path : {"/does/not/exist.conf", "/"}) {
    const auto problems = read_config({{"MILLRACE_CONFIG", path}}, "bank").problems();
    BOOST_TEST(problems.size() == 1U);
    BOOST_TEST(mentions(problems, std::string{"cannot read the configuration file "} + path));
  }
}

BOOST_AUTO_TEST_CASE(bad_values_keep_the_default_and_say_what_is_allowed) {
  const Config config = read_config({{"MILLRACE_COMMIT_INTERVAL_MS", "1s"},
                                     {"MILLRACE_BATCH_RECORDS_MAX", "0"},
                                     {"MILLRACE_THREADS", "-1"},
                                     {"MILLRACE_GUARANTEE", "exactly-once"},
                                     {"MILLRACE_AUTO_CREATE_TOPICS", "yes"},
                                     {"MILLRACE_REPLICATION_FACTOR", "0"},
                                     {"MILLRACE_ENGINE", "sqlite"},
                                     {"MILLRACE_HTTP", "localhost"},
                                     {"MILLRACE_CACHE_BYTES_MAX", "99999999999999999999"}},
                                    "bank");
  const auto problems = config.problems();
  BOOST_TEST(problems.size() == 9U);
  BOOST_TEST(mentions(problems,
                      "MILLRACE_COMMIT_INTERVAL_MS = '1s' (environment "
                      "(MILLRACE_COMMIT_INTERVAL_MS)) must be a whole number of "
                      "milliseconds from 1 to 3600000"));
  BOOST_TEST(mentions(problems, "from 1 to 100000"));
  BOOST_TEST(mentions(problems, "must be one of at_least_once, exactly_once"));
  BOOST_TEST(mentions(problems, "must be true or false"));
  BOOST_TEST(mentions(problems, "must be one of rocksdb, memory"));
  BOOST_TEST(mentions(problems, "must be a port, host:port or [v6]:port"));
  BOOST_TEST(config.batch_records_max == 1024U);
}

BOOST_AUTO_TEST_CASE(values_set_by_the_program_are_checked_too) {
  Config config{.application_id = "a/b"};
  config.batch_records_max = 0;
  config.cache_bytes_max = std::numeric_limits<std::size_t>::max();
  config.task_restart_backoff = 40s;
  config.metric_labels = {{"topic", "x"}, {"9", "x"}, {"fine", "x"}};
  const auto problems = config.problems();
  BOOST_TEST(problems.size() == 6U);
  BOOST_TEST(mentions(problems, "application_id = 'a/b' (program) must be 1 to 249 characters"));
  BOOST_TEST(mentions(problems, "batch_records_max = '0' (program)"));
  BOOST_TEST(mentions(problems, "task_restart_backoff_max_ms = 30000"));
  BOOST_TEST(mentions(problems, "metric_labels.topic is a label that metrics have already"));
}

BOOST_AUTO_TEST_CASE(what_becomes_of_records_that_fail_can_be_set_by_text) {
  const Config config = read_config({{"MILLRACE_ON_DECODE_ERROR", "dead_letter"},
                                     {"MILLRACE_ON_ERROR", "skip"},
                                     {"MILLRACE_ON_PRODUCE_ERROR", "dead_letter"},
                                     {"MILLRACE_ERROR_RETRIES", "3"},
                                     {"MILLRACE_ERROR_RETRY_BACKOFF_MS", "50"},
                                     {"MILLRACE_DEAD_LETTER_TOPIC", "payments-dlq"}},
                                    "bank");
  BOOST_TEST(config.problems().empty());
  BOOST_TEST((config.on_decode_error == ErrorPolicy::kDeadLetter));
  BOOST_TEST((config.on_error == ErrorPolicy::kSkip));
  BOOST_TEST((config.on_produce_error == ErrorPolicy::kDeadLetter));
  BOOST_TEST(config.error_retries == 3U);
  BOOST_TEST(config.error_retry_backoff.count() == 50);
  BOOST_TEST(config.dead_letter_topic == "payments-dlq");
  const auto problems =
      read_config({{"MILLRACE_ON_ERROR", "retry"}, {"MILLRACE_DEAD_LETTER_TOPIC", "no name"}},
                  "bank")
          .problems();
  BOOST_TEST(problems.size() == 2U);
  BOOST_TEST(mentions(problems, "must be one of fail, skip, dead_letter"));
  BOOST_TEST(mentions(problems, "MILLRACE_DEAD_LETTER_TOPIC"));
}

BOOST_AUTO_TEST_CASE(application_ids_are_safe_as_topic_and_directory_names) {
  for (const char* good : {"a", "users-app", "A.b_c-9", "..."}) {
    BOOST_TEST(check_application_id(good).empty(), good);
  }
  for (const std::string& bad : {std::string{}, std::string{"."}, std::string{".."},
                                 std::string{"a b"}, std::string{"a/b"}, std::string(250, 'x')}) {
    BOOST_TEST(!check_application_id(bad).empty(), bad);
  }
}

BOOST_AUTO_TEST_CASE(http_addresses) {
  Config config{.application_id = "bank"};
  for (const char* good : {"", "0", "8080", "127.0.0.1:8080", "[::1]:8080", "host:65535"}) {
    config.http = good;
    BOOST_TEST(config.problems().empty(), good);
  }
  for (const char* bad : {"host", "65536", "-1", ":8080", "::1:8080", "host:", "host:80a"}) {
    config.http = bad;
    BOOST_TEST(!config.problems().empty(), bad);
  }
}

BOOST_AUTO_TEST_CASE(properties_that_guarantees_rest_on_are_refused_with_the_reason) {
  Config config{.application_id = "bank"};
  config.kafka = {{"enable.auto.commit", "true"},
                  {"group.id", "other"},
                  {"isolation.level", "read_uncommitted"},
                  {"acks", "1"},
                  {"client.rack", "r1"},
                  {"bootstrap.servers", "b"}};
  const auto problems = config.problems();
  BOOST_TEST(problems.size() == 6U);
  BOOST_TEST(mentions(problems, "kafka.acks (program) cannot be set: no record may be lost"));
  BOOST_TEST(mentions(problems, "set bootstrap_servers instead"));
  BOOST_TEST(mentions(problems, "librdkafka 2.0.2 crashes"));
}

BOOST_AUTO_TEST_CASE(properties_librdkafka_does_not_take_are_problems_at_once) {
  const auto problems = read_config({{"MILLRACE_KAFKA_SESION_TIMEOUT_MS", "6000"},
                                     {"MILLRACE_KAFKA_LINGER_MS", "soon"}},
                                    "bank")
                            .problems();
  BOOST_TEST(problems.size() == 2U);
  BOOST_TEST(mentions(problems,
                      "kafka.sesion.timeout.ms (environment "
                      "(MILLRACE_KAFKA_SESION_TIMEOUT_MS)) is not a property of this "
                      "librdkafka; did you mean session.timeout.ms?"));
  BOOST_TEST(mentions(problems, "kafka.linger.ms"));
}

// librdkafka takes 1 ms; a group would throw such a member out between any two heartbeats.
BOOST_AUTO_TEST_CASE(a_session_time_that_no_group_can_work_with_is_a_problem) {
  const auto problems = [](const std::string& session, const std::string& heartbeat) {
    Config config;
    config.application_id = "bank";
    config.kafka = {{"session.timeout.ms", session}};
    if (!heartbeat.empty()) config.kafka["heartbeat.interval.ms"] = heartbeat;
    return config.problems();
  };
  BOOST_TEST(mentions(problems("1", ""), "must be 1000 or more"));
  BOOST_TEST(mentions(problems("999", "100"), "must be 1000 or more"));
  BOOST_TEST(mentions(problems("3000", ""), "must be above kafka.heartbeat.interval.ms = 3000"));
  BOOST_TEST(mentions(problems("6000", "6000"), "must be above"));
  BOOST_TEST(problems("1000", "300").empty());
  BOOST_TEST(problems("6000", "").empty());
}

// Such properties load libraries or run commands: whoever sets a variable must not get that far.
BOOST_AUTO_TEST_CASE(the_environment_cannot_make_librdkafka_run_code) {
  const Config config = read_config({{"MILLRACE_KAFKA_PLUGIN_LIBRARY_PATHS", "evil.so"},
                                     {"MILLRACE_KAFKA_SASL_KERBEROS_KINIT_CMD", "evil"},
                                     {"MILLRACE_KAFKA_SSL_ENGINE_LOCATION", "evil.so"}},
                                    "bank");
  BOOST_TEST(config.kafka.empty());
  BOOST_TEST(config.problems().size() == 3U);
  const TemporaryFile file{"kafka.sasl.kerberos.kinit.cmd = kinit -k\n"};
  const Config allowed = read_config({{"MILLRACE_CONFIG", file.path()}}, "bank");
  BOOST_TEST(allowed.problems().empty());
  BOOST_TEST(allowed.kafka.at("sasl.kerberos.kinit.cmd") == "kinit -k");
}

BOOST_AUTO_TEST_CASE(defaults_that_are_made_of_other_settings_are_shown_as_they_are_in_force) {
  Config config{.application_id = "bank"};
  BOOST_TEST(entry(config, "client_id").value == "bank");
  BOOST_TEST(entry(config, "client_id").origin == "default");
  BOOST_TEST(entry(config, "dead_letter_topic").value == "bank-dead-letter");
  BOOST_TEST(entry(config, "dead_letter_topic").origin == "default");
  config.client_id = "node-1";
  config.dead_letter_topic = "letters";
  BOOST_TEST(entry(config, "client_id").value == "node-1");
  BOOST_TEST(entry(config, "client_id").origin == "program");
  BOOST_TEST(entry(config, "dead_letter_topic").value == "letters");
  // As clients get it.
  const Config long_id{.application_id = std::string(100, 'a')};
  BOOST_TEST(entry(long_id, "client_id").value == std::string(64, 'a'));
  // Nothing can be made of nothing; these have no default.
  BOOST_TEST(entry(Config{}, "client_id").value == "");
  BOOST_TEST(entry(Config{}, "dead_letter_topic").value == "");
  BOOST_TEST(entry(config, "group_instance_id").value == "");
}

BOOST_AUTO_TEST_CASE(secrets_are_never_shown) {
  constexpr std::string_view kSecret = "hunter2";
  Config config{.application_id = "bank"};
  for (const char* name :
       {"sasl.password", "ssl.key.password", "ssl.key.pem", "ssl.ca.pem", "ssl.keystore.password",
        "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config", "sasl.jaas.config", "x.token",
        "x.CREDENTIALS"}) {
    config.kafka[name] = kSecret;
  }
  config.kafka["sasl.username"] = "me";
  config.redis_password = kSecret;
  for (const ConfigEntry& shown : config.describe()) {
    BOOST_TEST(!contains(shown.value, kSecret), shown.key);
  }
  BOOST_TEST(entry(config, "kafka.sasl.password").value == "[hidden]");
  BOOST_TEST(entry(config, "kafka.sasl.username").value == "me");
  BOOST_TEST(entry(config, "redis_password").value == "[hidden]");
  BOOST_TEST(entry(Config{}, "redis_password").value == "");
  for (const std::string& problem : config.problems()) BOOST_TEST(!contains(problem, kSecret));
}

// KF-5: another engine is one line away.
BOOST_AUTO_TEST_CASE(the_engine_is_one_of_those_built_in) {
  for (const std::string_view name : engines::names()) {
    const Config config = read_config({{"MILLRACE_ENGINE", std::string{name}}}, "bank");
    BOOST_TEST(config.problems().empty());
    BOOST_TEST(make_engine(config)->name() == name);
  }
  BOOST_TEST(mentions(read_config({{"MILLRACE_ENGINE", "rocks"}}, "bank").problems(),
                      "must be one of rocksdb, memory"));
  BOOST_TEST(mentions(read_config({{"MILLRACE_REDIS_ADDRESS", "host:x"}}, "bank").problems(),
                      "host:port"));
  BOOST_TEST(mentions(read_config({{"MILLRACE_LMDB_MAP_BYTES_MAX", "1"}}, "bank").problems(),
                      "from 1048576 to"));
}

BOOST_AUTO_TEST_CASE(weak_transport_security_is_warned_of) {
  Config config{.application_id = "bank"};
  BOOST_TEST(config.warnings().empty());
  config.kafka = {{"security.protocol", "SASL_SSL"},
                  {"ssl.endpoint.identification.algorithm", "none"}};
  BOOST_TEST(mentions(config.warnings(), "identification.algorithm is none"));
  config.kafka = {{"security.protocol", "sasl_plaintext"}, {"sasl.mechanisms", "PLAIN"}};
  BOOST_TEST(mentions(config.warnings(), "clear text"));
}

BOOST_AUTO_TEST_CASE(every_setting_reads_back_what_it_writes) {
  const Config defaults{.application_id = "bank"};
  for (const Setting& setting : settings()) {
    const std::string text = setting.text(defaults);
    if (text.empty()) continue;
    Config other;
    BOOST_TEST(setting.set(other, text) == "", setting.key);
    BOOST_TEST(setting.text(other) == text, setting.key);
  }
}

BOOST_AUTO_TEST_CASE(the_state_directory_is_systemd_s_or_local_never_temporary) {
  unsetenv("STATE_DIRECTORY");
  BOOST_TEST(Config{}.state_dir == "./millrace-state");
  setenv("STATE_DIRECTORY", "/var/lib/bank:/var/lib/other", 1);
  BOOST_TEST(Config{}.state_dir == "/var/lib/bank");
  unsetenv("STATE_DIRECTORY");
}

BOOST_AUTO_TEST_CASE(suggestions_are_near_or_absent) {
  BOOST_TEST(edit_distance("kitten", "sitting") == 3U);
  BOOST_TEST(edit_distance("", "abc") == 3U);
  BOOST_TEST(closest("thread", {"threads", "http"}) == "threads");
  BOOST_TEST(closest("zzz", {"threads", "http"}).empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace

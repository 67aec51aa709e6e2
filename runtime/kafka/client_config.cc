// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/client_config.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "runtime/kafka/error_map.h"
#include "runtime/kafka/property_rules.h"

namespace millrace {
namespace {

using Properties = std::vector<std::pair<std::string, std::string>>;

// Long client ids make a crash in librdkafka before 2.5.0 likelier: a derived one is cut here.
constexpr std::size_t kDerivedClientIdMax = 64;

bool is_consumer(ClientRole role) { return role != ClientRole::kProducer; }

bool has_property(ClientRole role, PropertyScope scope) {
  if (scope == PropertyScope::kBoth) return true;
  return (scope == PropertyScope::kConsumer) == is_consumer(role);
}

std::string client_id(const Config& config, ClientRole role) {
  return base_client_id(config) + '-' + std::string{to_string(role)};
}

// What a user may change by `kafka.*`.
void add_defaults(Properties& properties, const Config& config, ClientRole role,
                  bool is_transactional) {
  properties.emplace_back("socket.nagle.disable", "true");
  switch (role) {
    case ClientRole::kData:
      // Both limits count per partition and must hold more than a second of its peak rate: a
      // partition over either is looked at again only a second later (librdkafka 2.0.2).
      properties.emplace_back("queued.min.messages", "1000000");
      properties.emplace_back("queued.max.messages.kbytes", "16384");
      properties.emplace_back("fetch.message.max.bytes", "4194304");
      properties.emplace_back("fetch.wait.max.ms", "50");
      properties.emplace_back("check.crcs", "false");
      break;
    case ClientRole::kRestore:
      properties.emplace_back("fetch.wait.max.ms", "10");
      properties.emplace_back("check.crcs", "true");
      break;
    case ClientRole::kProducer:
      properties.emplace_back("linger.ms", "5");
      properties.emplace_back("compression.type", "lz4");
      properties.emplace_back("queue.buffering.max.messages", "500000");
      properties.emplace_back("queue.buffering.max.kbytes", "131072");
      if (config.guarantee == Guarantee::kExactlyOnce || is_transactional) {
        // The broker answers CONCURRENT_TRANSACTIONS while the last transaction's markers are
        // being written; the default back-off of 100 ms would then be the commit's latency.
        properties.emplace_back("retry.backoff.ms", "10");
        properties.emplace_back("transaction.timeout.ms", "10000");
      }
      break;
    case ClientRole::kMembership:
      // Where it has no other connection, librdkafka (2.0.2 and later) asks the group's coordinator
      // for its own successor and closes that connection behind the question: commits and
      // heartbeats wait until the question times out. Not for librdkafka's 60 s, which cost the
      // session.
      properties.emplace_back("socket.timeout.ms", "10000");
      break;
    case ClientRole::kAdmin:
      break;
  }
}

void add_owned(Properties& properties, const Config& config, ClientRole role,
               std::string_view transactional_id) {
  properties.emplace_back("bootstrap.servers", config.bootstrap_servers);
  properties.emplace_back("client.id", client_id(config, role));
  if (role == ClientRole::kProducer) {
    properties.emplace_back("enable.idempotence", "true");
    properties.emplace_back("acks", "all");
    if (!transactional_id.empty()) {
      properties.emplace_back("transactional.id", std::string{transactional_id});
    }
    return;
  }
  properties.emplace_back("allow.auto.create.topics", "false");
  if (role == ClientRole::kAdmin) {
    // Its watermark queries tell the high watermark; the restore handle's tell the last stable
    // offset.
    properties.emplace_back("isolation.level", "read_uncommitted");
    return;
  }
  properties.emplace_back("group.id", group_id(config, role));
  properties.emplace_back("enable.auto.commit", "false");
  properties.emplace_back("enable.auto.offset.store", "false");
  properties.emplace_back("isolation.level", "read_committed");
  if (role == ClientRole::kMembership) {
    // A connection to each broker: one to ask beside the coordinator's (see socket.timeout.ms).
    properties.emplace_back("enable.sparse.connections", "false");
    properties.emplace_back("partition.assignment.strategy", "cooperative-sticky");
    if (!config.group_instance_id.empty()) {
      properties.emplace_back("group.instance.id", config.group_instance_id);
    }
    return;
  }
  // A position the log does not have must surface as an error, never as a silent jump.
  properties.emplace_back("auto.offset.reset", "error");
  properties.emplace_back("enable.partition.eof", role == ClientRole::kRestore ? "true" : "false");
}

void on_log(const rd_kafka_t* client, int level, const char* facility, const char* text) {
  static_cast<KafkaContext*>(rd_kafka_opaque(client))->log(level, facility, text);
}

// Errors that belong to no call, such as a refused login. Setting this callback takes them out of
// librdkafka's log, so they are logged here.
void on_error(rd_kafka_t* client, int error, const char* reason, void* opaque) {
  auto* context = static_cast<KafkaContext*>(opaque);
  const auto code = static_cast<rd_kafka_resp_err_t>(error);
  Status status = code == RD_KAFKA_RESP_ERR__FATAL
                      ? kafka_fatal_status(client, "the client failed for good")
                      : kafka_status(code, "the client reports", reason);
  constexpr int kSyslogError = 3;
  context->log(kSyslogError, "ERROR", status.message());
  // It only sums up the errors of the single brokers, which came before it and say why.
  if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && !context->last_error().ok()) return;
  context->remember(std::move(status));
}

Status set_properties(rd_kafka_conf_t* conf, const Properties& properties) {
  std::array<char, 512> text{};
  for (const auto& [name, value] : properties) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text.data(), text.size()) ==
        RD_KAFKA_CONF_OK) {
      continue;
    }
    // librdkafka's text may quote the value.
    const std::string why =
        is_secret(name) ? "the value is not accepted" : std::string{text.data()};
    return Status::invalid_argument("librdkafka property " + name + ": " + why);
  }
  return {};
}

}  // namespace

std::string_view to_string(ClientRole role) {
  switch (role) {
    case ClientRole::kMembership:
      return "membership";
    case ClientRole::kData:
      return "data";
    case ClientRole::kRestore:
      return "restore";
    case ClientRole::kProducer:
      return "producer";
    case ClientRole::kAdmin:
      return "admin";
  }
  return "unknown";
}

void KafkaContext::log(int level, std::string_view facility, std::string_view text) const {
  const std::lock_guard lock{log_mutex_};
  if (log_) log_(level, facility, text);
}

void KafkaContext::silence() {
  const std::lock_guard lock{log_mutex_};
  log_ = nullptr;
}

void KafkaContext::remember(Status error) {
  const std::lock_guard lock{mutex_};
  last_error_ = std::move(error);
}

void KafkaContext::forget() { remember({}); }

Status KafkaContext::last_error() const {
  const std::lock_guard lock{mutex_};
  return last_error_;
}

std::string base_client_id(const Config& config) {
  return config.client_id.empty() ? config.application_id.substr(0, kDerivedClientIdMax)
                                  : config.client_id;
}

std::string group_id(const Config& config, ClientRole role) {
  if (role == ClientRole::kMembership) return config.application_id;
  return config.application_id + '.' + std::string{to_string(role)};
}

std::string make_transactional_id(const Config& config, const std::string& instance_id) {
  const auto& instance = config.group_instance_id.empty() ? instance_id : config.group_instance_id;
  // A colon is in neither name: no two pairs of them make one id.
  return config.application_id + ':' + instance + ":0";
}

Properties client_properties(const Config& config, ClientRole role,
                             std::string_view transactional_id) {
  Properties properties;
  add_defaults(properties, config, role, !transactional_id.empty());
  for (const auto& [name, value] : config.kafka) {
    // Unknown ones are kept: create_client reports them. Config::problems() does so earlier.
    const auto scope = property_scope(name);
    if (!scope || has_property(role, *scope)) properties.emplace_back(name, value);
  }
  add_owned(properties, config, role, transactional_id);
  return properties;
}

std::int64_t number_property(const Config& config, ClientRole role, const std::string& name) {
  std::int64_t number = 0;
  const auto set = [&](std::string_view text) {
    std::from_chars(text.data(), text.data() + text.size(), number);
  };
  const ConfPtr defaults{rd_kafka_conf_new()};
  std::array<char, 32> text{};
  std::size_t size = text.size();
  rd_kafka_conf_get(defaults.get(), name.c_str(), text.data(), &size);
  set(text.data());
  for (const auto& [known, value] : client_properties(config, role)) {
    if (known == name) set(value);  // The last counts, as for librdkafka.
  }
  return number;
}

Result<KafkaClient> create_client(const Config& config, ClientOptions options) {
  ConfPtr conf{rd_kafka_conf_new()};
  if (Status status = set_properties(
          conf.get(), client_properties(config, options.role, options.transactional_id));
      !status.ok()) {
    return status;
  }
  auto context = std::make_unique<KafkaContext>(std::move(options.log), options.owner);
  rd_kafka_conf_set_opaque(conf.get(), context.get());
  rd_kafka_conf_set_log_cb(conf.get(), &on_log);
  rd_kafka_conf_set_error_cb(conf.get(), &on_error);
  if (options.configure) options.configure(conf.get());

  std::array<char, 512> text{};
  const rd_kafka_type_t type = is_consumer(options.role) ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER;
  ClientPtr client{rd_kafka_new(type, conf.get(), text.data(), text.size())};
  if (!client) {
    return kafka_status(rd_kafka_last_error(),
                        "cannot create the " + std::string{to_string(options.role)} + " client",
                        text.data());
  }
  conf.release();  // rd_kafka_new takes it over, but only when it succeeds.
  return KafkaClient{std::move(context), std::move(client)};
}

}  // namespace millrace

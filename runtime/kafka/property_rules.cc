// SPDX-License-Identifier: Apache-2.0
#include "runtime/kafka/property_rules.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>

#include "runtime/kafka/handles.h"

namespace millrace {
namespace {

using Scopes = std::map<std::string, PropertyScope, std::less<>>;

// librdkafka has no call that tells whether a property is a consumer's or a producer's, but it
// prints its table of them: "name | C/P | range | ...". Pointers (callbacks) are not in it.
Scopes parse_table(std::string_view table) {
  Scopes scopes;
  while (!table.empty()) {
    const std::size_t end = std::min(table.find('\n'), table.size());
    const std::string_view line = table.substr(0, end);
    table.remove_prefix(std::min(end + 1, table.size()));
    const std::size_t bar = line.find('|');
    if (bar == std::string_view::npos || bar + 4 >= line.size()) continue;
    const std::size_t name_end = line.find_first_of(" |");
    const std::string name{line.substr(0, name_end)};
    if (name.empty() || name.find_first_of("abcdefghijklmnopqrstuvwxyz") != 0) continue;
    // A property of topics and one of clients may share a name: the wider scope wins.
    const char mark = line[bar + 3];
    const PropertyScope scope = mark == 'C'   ? PropertyScope::kConsumer
                                : mark == 'P' ? PropertyScope::kProducer
                                              : PropertyScope::kBoth;
    const auto [position, is_new] = scopes.emplace(name, scope);
    if (!is_new && position->second != scope) position->second = PropertyScope::kBoth;
  }
  return scopes;
}

Scopes read_table() {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* stream = open_memstream(&text, &size);
  if (stream == nullptr) return {};
  rd_kafka_conf_properties_show(stream);
  std::fclose(stream);
  Scopes scopes = parse_table({text, size});
  std::free(text);
  return scopes;
}

const Scopes& scopes() {
  static const Scopes table = read_table();
  return table;
}

struct OwnedProperty {
  std::string_view name;
  std::string_view why;
};

constexpr std::string_view kCommits = "Millrace commits offsets itself, together with its state";
constexpr std::string_view kNoLoss = "no record may be lost or repeated by the producer";
constexpr std::string_view kPartitions = "Millrace chooses the partition of every record";

constexpr std::array kOwned = std::to_array<OwnedProperty>({
    {"bootstrap.servers", "set bootstrap_servers instead"},
    {"metadata.broker.list", "set bootstrap_servers instead"},
    {"client.id", "set client_id instead"},
    {"group.id", "the group is named by application_id"},
    {"group.instance.id", "set group_instance_id instead"},
    {"auto.offset.reset", "set auto_offset_reset instead"},
    {"group.protocol", "the commit guard is made for the classic group protocol"},
    {"group.remote.assignor", "the commit guard is made for the classic group protocol"},
    {"partition.assignment.strategy",
     "tasks move one by one, which needs cooperative-sticky on every member"},
    {"enable.auto.commit", kCommits},
    {"auto.commit.enable", kCommits},
    {"auto.commit.interval.ms", kCommits},
    {"enable.auto.offset.store", kCommits},
    {"offset.store.method", kCommits},
    {"offset.store.path", kCommits},
    {"offset.store.sync.interval.ms", kCommits},
    {"isolation.level", "aborted records must never reach state; it is always read_committed"},
    {"enable.partition.eof", "each client needs its own value"},
    {"enable.idempotence", kNoLoss},
    {"enable.gapless.guarantee", kNoLoss},
    {"acks", kNoLoss},
    {"request.required.acks", kNoLoss},
    {"max.in.flight", "the idempotent producer chooses it"},
    {"max.in.flight.requests.per.connection", "the idempotent producer chooses it"},
    {"queuing.strategy", kNoLoss},
    {"transactional.id", "it is derived from application_id, see guarantee"},
    {"delivery.report.only.error", "commits wait for every delivery report"},
    {"produce.offset.report", "commits need the offset of every delivery report"},
    {"partitioner", kPartitions},
    {"allow.auto.create.topics", "set auto_create_topics, which is for internal topics"},
    {"client.rack", "librdkafka 2.0.2 crashes when a fetch-from-follower lease expires"},
    {"test.mock.num.brokers", "each client would get a cluster of its own; use EmbeddedBroker"},
    {"log.queue", "logs go to Config::log"},
});

constexpr std::array kCodeRunners = std::to_array<std::string_view>({
    "plugin.library.paths",
    "sasl.kerberos.kinit.cmd",
    "ssl.engine.location",
    "ssl.providers",
});

// What librdkafka takes, but no group can work with.
struct Minimum {
  std::string_view property;
  std::int64_t value;
  std::string_view why;
};
constexpr std::array kMinima = std::to_array<Minimum>({
    {"session.timeout.ms", 1000, "the group would take every pause of the process for its end"},
});

constexpr std::array kSecretWords = std::to_array<std::string_view>(
    {"password", "secret", "key", "token", "credential", "jaas", "pem", "oauthbearer.config"});

}  // namespace

std::optional<PropertyScope> property_scope(std::string_view property) {
  const auto found = scopes().find(property);
  if (found == scopes().end()) return std::nullopt;
  return found->second;
}

const std::vector<std::string>& property_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& [name, scope] : scopes()) all.push_back(name);
    return all;
  }();
  return names;
}

std::string_view why_owned(std::string_view property) {
  const auto* found = std::ranges::find(kOwned, property, &OwnedProperty::name);
  return found == kOwned.end() ? std::string_view{} : found->why;
}

bool runs_code(std::string_view property) {
  return std::ranges::find(kCodeRunners, property) != kCodeRunners.end();
}

std::string property_value_problem(const std::string& property, const std::string& value) {
  if (runs_code(property)) return {};
  const ConfPtr conf{rd_kafka_conf_new()};
  std::array<char, 512> text{};
  if (rd_kafka_conf_set(conf.get(), property.c_str(), value.c_str(), text.data(), text.size()) ==
      RD_KAFKA_CONF_OK) {
    const auto* minimum = std::ranges::find(kMinima, property, &Minimum::property);
    if (minimum == kMinima.end() || std::atoll(value.c_str()) >= minimum->value) return {};
    return "must be " + std::to_string(minimum->value) + " or more: " + std::string{minimum->why};
  }
  return is_secret(property) ? "the value is not accepted" : text.data();
}

bool is_secret(std::string_view property) {
  std::string name{property};
  std::ranges::transform(name, name.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::ranges::any_of(
      kSecretWords, [&](std::string_view word) { return name.find(word) != std::string::npos; });
}

}  // namespace millrace

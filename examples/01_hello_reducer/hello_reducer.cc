// SPDX-License-Identifier: Apache-2.0
//
// A reducer with a reaction: every record about a user raises the user's count in the store
// `user-counts` and sends an event that says so.
#include <millrace/json.h>
#include <millrace/millrace.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace {

struct User {
  std::string name;
};
struct UserState {
  std::string name;
  std::int64_t count = 0;
};
struct UserEvent {
  std::string user;
  std::string event;
  std::int64_t count = 0;
};
// JSON for all three. A type may have any other form by specialising millrace::Serde.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(User, name)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(UserState, name, count)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(UserEvent, user, event, count)

using Users = millrace::Topic<std::string, User>;
using UserEvents = millrace::Topic<std::string, UserEvent>;

std::string from_env(const char* variable, const char* otherwise) {
  const char* value = std::getenv(variable);
  return value != nullptr ? value : otherwise;
}

// A broker in this process with both topics, for a first try without Kafka.
std::shared_ptr<millrace::EmbeddedKafka> start_broker(const Users& users, const UserEvents& events,
                                                      millrace::Config& config) {
  constexpr int kPartitions = 2;
  auto kafka = std::make_shared<millrace::EmbeddedKafka>();
  kafka->create_topic(users.name(), kPartitions);
  kafka->create_topic(events.name(), kPartitions);
  config.bootstrap_servers = kafka->bootstrap_servers();
  config.engine = "memory";  // The broker forgets with the process, so the stores may too.
  std::cout << "embedded broker at " << kafka->bootstrap_servers() << "; in two other terminals:\n"
            << "  kcat -b " << kafka->bootstrap_servers() << " -C -q -t " << events.name()
            << " -K :\n"
            << "  kcat -b " << kafka->bootstrap_servers() << " -P -t " << users.name() << " -K :\n"
            << "and type lines such as\n"
            << "  alice:{\"name\":\"Alice\"}\n"
            << std::flush;
  return kafka;
}

}  // namespace

int main(int argc, char** argv) {
  const bool embedded = argc == 2 && std::string_view{argv[1]} == "--embedded";
  if (argc > 1 && !embedded) {
    std::cerr << "usage: 01_hello_reducer [--embedded]\n";
    return 2;
  }
  const Users users{from_env("INPUT_TOPIC", "users")};
  const UserEvents user_events{from_env("OUTPUT_TOPIC", "user-events")};

  millrace::Topology topology;
  topology.stream(users).reduce<UserState>(
      "user-counts",
      [user_events](const auto& user, std::optional<UserState> state, auto& context) {
        UserState next = state.value_or(UserState{user.value().name});
        ++next.count;
        context.react(user_events, user.key(), UserEvent{next.name, "updated", next.count});
        return next;  // An empty optional would delete the key.
      },
      millrace::reacts_to(user_events));

  auto config = millrace::Config::from_env("hello-reducer");
  try {
    const auto kafka = embedded ? start_broker(users, user_events, config) : nullptr;
    return millrace::App{topology, config, kafka}.run();  // Until SIGINT or SIGTERM.
  } catch (const millrace::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}

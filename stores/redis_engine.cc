// SPDX-License-Identifier: Apache-2.0
#include "stores/redis_engine.h"

#include <algorithm>
#include <array>
#include <utility>

#include "stores/engine_names.h"
#include "stores/position_record.h"
#include "stores/remote_address.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kFieldsPerCommand = 512;
constexpr std::size_t kKeysPerRoundTrip = 8192;
constexpr milliseconds kTimeoutMin{1};
constexpr milliseconds kTimeoutMax = std::chrono::hours{1};

// Within the transaction: which keys there are below a bound is known to the server alone.
constexpr std::string_view kEraseBelow = R"(
while true do
  local keys = redis.call('ZRANGEBYLEX', KEYS[1], '-', ARGV[1], 'LIMIT', 0, 1000)
  if #keys == 0 then return 0 end
  redis.call('HDEL', KEYS[2], unpack(keys))
  redis.call('ZREM', KEYS[1], unpack(keys))
end)";

// The task's part of every name, as in "millrace:{bank:0_3}:".
std::string prefix(const EngineOptions& options) {
  return "millrace:{" + options.application_id + ":" + options.task_id + "}:";
}

Status check(const EngineOptions& options) {
  for (const std::string& id : {options.application_id, options.task_id}) {
    if (!id.empty() && id.find_first_of(":{}") == std::string::npos) continue;
    return Status::invalid_argument(
        "the Redis engine needs EngineOptions::application_id and task_id, without ':', '{' and "
        "'}', not '" +
        id + "'");
  }
  return check_store_names(options);
}

Status check(const RedisOptions& options) {
  if (const auto address = parse_remote_address(options.address); !address) return address.error();
  for (const milliseconds timeout : {options.connect_timeout, options.call_timeout}) {
    if (timeout >= kTimeoutMin && timeout <= kTimeoutMax) continue;
    return Status::invalid_argument("RedisOptions: time-outs must be from 1 ms to 1 h");
  }
  return {};
}

class RedisEngineFactory final : public EngineFactory {
 public:
  explicit RedisEngineFactory(RedisOptions options) : options_(std::move(options)) {}

  std::string_view name() const override { return "redis"; }
  bool persistent() const override { return true; }
  Result<std::unique_ptr<Engine>> open(const EngineOptions& options) override {
    if (auto status = check(options); !status.ok()) return status;
    if (auto status = check(options_); !status.ok()) return status;
    auto engine = std::make_unique<RedisEngine>(options, options_);
    if (auto status = engine->open(); !status.ok()) return status;
    return std::unique_ptr<Engine>{std::move(engine)};
  }

 private:
  const RedisOptions options_;
};

// Collects fields for a command that takes many.
class FieldCommand {
 public:
  FieldCommand(RedisConnection& connection, std::string_view command, std::string_view name)
      : connection_(connection), command_{command, name} {}

  Status add(std::initializer_list<std::string_view> words) {
    command_.insert(command_.end(), words);
    return ++fields_ < kFieldsPerCommand ? Status{} : send();
  }
  Status send() {
    if (fields_ == 0) return {};
    fields_ = 0;
    Status sent = connection_.send(command_);
    command_.resize(2);
    return sent;
  }

 private:
  RedisConnection& connection_;
  RedisCommand command_;
  std::size_t fields_ = 0;
};

Status queue_changes(RedisConnection& connection, const std::string& keys,
                     const std::string& values, std::span<const EngineChange> changes) {
  FieldCommand set{connection, "HSET", values};
  FieldCommand add{connection, "ZADD", keys};
  FieldCommand unset{connection, "HDEL", values};
  FieldCommand remove{connection, "ZREM", keys};
  Status status;
  for (const EngineChange& change : changes) {
    if (change.value) {
      status = set.add({change.key, *change.value});
      if (status.ok()) status = add.add({"0", change.key});
    } else {
      status = unset.add({change.key});
      if (status.ok()) status = remove.add({change.key});
    }
    if (!status.ok()) return status;
  }
  for (FieldCommand* command : {&set, &add, &unset, &remove}) {
    if (status.ok()) status = command->send();
  }
  return status;
}

}  // namespace

RedisEngine::RedisEngine(EngineOptions options, const RedisOptions& redis_options)
    : options_(std::move(options)),
      session_(std::make_shared<RedisSession>(redis_options, prefix(options_))) {
  for (const std::string& store : options_.stores) {
    stores_.push_back({session_->name("keys:" + store), session_->name("values:" + store), {}});
  }
}

Status RedisEngine::open() {
  if (auto status = session_->open(); !status.ok()) return status;
  return empty_stores_without_position();
}

// What a checkpoint has left that failed half-way: without its position it would never be removed.
Status RedisEngine::empty_stores_without_position() {
  const std::string positions = session_->name("positions");
  std::vector<RedisCommand> commands;
  for (StoreIndex index = 0; index < stores_.size(); ++index) {
    commands.push_back({"HEXISTS", positions, options_.stores[index]});
    commands.push_back({"EXISTS", stores_[index].keys, stores_[index].values});
  }
  const auto answers = session_->read(commands, "open the state");
  if (!answers) return answers.error();
  for (StoreIndex index = 0; index < stores_.size(); ++index) {
    const std::size_t answer = RedisSession::kFirstAnswer + 2 * std::size_t{index};
    const bool has_position = (*answers)->element[answer]->integer != 0;
    const bool has_entries = (*answers)->element[answer + 1]->integer != 0;
    if (has_position || !has_entries) continue;
    if (auto status = clear(index); !status.ok()) return status;
  }
  return {};
}

Status RedisEngine::check_open() const {
  return session_ == nullptr ? Status::internal("the Redis engine is closed") : Status{};
}

Status RedisEngine::check(StoreIndex store) const {
  if (auto status = check_open(); !status.ok()) return status;
  if (store < stores_.size()) return {};
  return Status::invalid_argument("the Redis engine has no store number " + std::to_string(store));
}

Result<std::optional<std::string>> RedisEngine::get(StoreIndex store, std::string_view key) {
  std::optional<std::string> value;
  if (auto status = multi_get(store, {&key, 1}, {&value, 1}); !status.ok()) return status;
  return value;
}

Status RedisEngine::multi_get(StoreIndex store, std::span<const std::string_view> keys,
                              std::span<std::optional<std::string>> values) {
  if (auto status = check(store); !status.ok()) return status;
  if (keys.size() != values.size()) {
    return Status::invalid_argument("multi_get needs one value per key");
  }
  for (std::size_t begin = 0; begin < keys.size(); begin += kKeysPerRoundTrip) {
    const std::size_t count = std::min(kKeysPerRoundTrip, keys.size() - begin);
    auto status = look_up(stores_[store], keys.subspan(begin, count), values.subspan(begin, count));
    if (!status.ok()) return status;
  }
  return {};
}

Status RedisEngine::look_up(const Store& store, std::span<const std::string_view> keys,
                            std::span<std::optional<std::string>> values) {
  std::vector<RedisCommand> commands;
  for (std::size_t begin = 0; begin < keys.size(); begin += kFieldsPerCommand) {
    const auto part = keys.subspan(begin, std::min(kFieldsPerCommand, keys.size() - begin));
    commands.push_back({"HMGET", store.values});
    commands.back().insert(commands.back().end(), part.begin(), part.end());
  }
  const auto answers = session_->read(commands, "read keys");
  if (!answers) return answers.error();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const redisReply& part =
        *(*answers)->element[RedisSession::kFirstAnswer + i / kFieldsPerCommand];
    const redisReply& answer = *part.element[i % kFieldsPerCommand];
    if (answer.type == REDIS_REPLY_STRING) {
      values[i] = redis_bytes(answer);
    } else {
      values[i].reset();
    }
  }
  return {};
}

Result<std::unique_ptr<EngineScan>> RedisEngine::scan(StoreIndex store,
                                                      std::optional<std::string_view> from,
                                                      std::optional<std::string_view> to) {
  if (auto status = check(store); !status.ok()) return status;
  Store& place = stores_[store];
  auto pages = std::make_shared<RedisPages>(session_, place.keys, place.values, from, to);
  pages->fill();
  if (!pages->status().ok()) return pages->status();
  std::erase_if(place.scans, [](const auto& scan) { return scan.expired(); });
  place.scans.push_back(pages);
  return std::unique_ptr<EngineScan>{std::make_unique<RedisScan>(std::move(pages))};
}

Status RedisEngine::read_scans(Store& store) {
  for (const auto& scan : store.scans) {
    const auto pages = scan.lock();
    if (pages == nullptr) continue;
    if (auto status = pages->read_rest(); !status.ok()) return status;
  }
  store.scans.clear();
  return {};
}

Status RedisEngine::apply(const Checkpoint& checkpoint) {
  if (auto status = check_open(); !status.ok()) return status;
  auto status = check_stores(checkpoint, options_, "the Redis engine");
  for (const StoreCheckpoint& part : checkpoint.stores) {
    const bool changes = !part.changes.empty() || part.erase_below;
    if (status.ok() && changes) status = read_scans(stores_[part.store]);
  }
  if (!status.ok()) return status;
  return session_->write([&](RedisConnection& connection) { return queue(connection, checkpoint); },
                         "write a checkpoint");
}

Status RedisEngine::queue(RedisConnection& connection, const Checkpoint& checkpoint) const {
  const std::string positions = session_->name("positions");
  for (const StoreCheckpoint& part : checkpoint.stores) {
    const Store& store = stores_[part.store];
    Status status;
    if (part.erase_below) {
      status = connection.send({"EVAL", kEraseBelow, "2", store.keys, store.values,
                                "(" + std::string{*part.erase_below}});
    }
    if (status.ok()) status = queue_changes(connection, store.keys, store.values, part.changes);
    if (status.ok()) {
      status = connection.send(
          {"HSET", positions, options_.stores[part.store], encode_position(part.position)});
    }
    if (!status.ok()) return status;
  }
  return connection.send(
      {"HSET", positions, kSourceOffsetsKey, encode_source_offsets(checkpoint.source_offsets)});
}

Result<std::optional<std::string>> RedisEngine::read_record(std::string_view name) {
  const std::string positions = session_->name("positions");
  const std::array commands{RedisCommand{"HGET", positions, name}};
  const auto answers = session_->read(commands, "read a position");
  if (!answers) return answers.error();
  const redisReply& answer = *(*answers)->element[RedisSession::kFirstAnswer];
  if (answer.type != REDIS_REPLY_STRING) return std::optional<std::string>{};
  return std::optional<std::string>{redis_bytes(answer)};
}

Result<std::optional<EnginePosition>> RedisEngine::position(StoreIndex store) {
  if (auto status = check(store); !status.ok()) return status;
  const auto bytes = read_record(options_.stores[store]);
  if (!bytes) return bytes.error();
  if (!*bytes) return std::optional<EnginePosition>{};
  const auto position = decode_position(**bytes);
  if (!position) return position.error();
  return std::optional<EnginePosition>{*position};
}

Result<std::map<std::string, std::int64_t>> RedisEngine::source_offsets() {
  if (auto status = check_open(); !status.ok()) return status;
  const auto bytes = read_record(kSourceOffsetsKey);
  if (!bytes) return bytes.error();
  if (!*bytes) return std::map<std::string, std::int64_t>{};
  return decode_source_offsets(**bytes);
}

Status RedisEngine::clear(StoreIndex store) {
  if (auto status = check(store); !status.ok()) return status;
  Store& place = stores_[store];
  if (auto status = read_scans(place); !status.ok()) return status;
  return session_->write(
      [&](RedisConnection& connection) {
        Status sent = connection.send({"UNLINK", place.keys, place.values});
        if (!sent.ok()) return sent;
        return connection.send({"HDEL", session_->name("positions"), options_.stores[store]});
      },
      "clear a store");
}

EngineStatistics RedisEngine::statistics(StoreIndex store) {
  if (!check(store).ok()) return {};
  const Store& place = stores_[store];
  const std::array commands{RedisCommand{"ZCARD", place.keys},
                            RedisCommand{"MEMORY", "USAGE", place.keys},
                            RedisCommand{"MEMORY", "USAGE", place.values}};
  const auto answers = session_->read(commands, "read statistics");
  if (!answers) return {};
  EngineStatistics result;
  const auto number = [&](std::size_t i) {
    const redisReply& answer = *(*answers)->element[RedisSession::kFirstAnswer + i];
    return answer.type == REDIS_REPLY_INTEGER ? static_cast<std::uint64_t>(answer.integer) : 0;
  };
  result.entries_estimate = number(0);
  result.memory_bytes = number(1) + number(2);
  return result;
}

Status RedisEngine::close() {
  session_.reset();
  return {};
}

namespace engines {

std::shared_ptr<EngineFactory> redis(RedisOptions options) {
  return std::make_shared<RedisEngineFactory>(std::move(options));
}

}  // namespace engines
}  // namespace millrace

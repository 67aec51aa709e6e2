// SPDX-License-Identifier: Apache-2.0
//
// An engine of one's own: values are scrambled on their way to another engine, and back.
#include <millrace/millrace.h>

#include <iostream>
#include <list>

namespace {
using namespace millrace;
using Value = std::optional<std::string>;
using Bound = std::optional<std::string_view>;
using Offsets = std::map<std::string, std::int64_t>;

std::string scrambled(std::string_view bytes) {
  std::string result{bytes};
  for (char& byte : result) byte = static_cast<char>(byte ^ 0x55);  // A real one would encrypt.
  return result;
}

struct ScrambledScan final : EngineScan {
  explicit ScrambledScan(std::unique_ptr<EngineScan> inner) : to_(std::move(inner)) { read(); }
  bool valid() const override { return to_->valid(); }
  void next() override { to_->next(), read(); }
  std::string_view key() const override { return to_->key(); }
  std::string_view value() const override { return value_; }
  Status status() const override { return to_->status(); }
  void read() { value_ = to_->valid() ? scrambled(to_->value()) : ""; }
  std::unique_ptr<EngineScan> to_;
  std::string value_;
};

struct ScrambledEngine final : Engine {
  explicit ScrambledEngine(std::unique_ptr<Engine> inner) : to_(std::move(inner)) {}

  Status apply(const Checkpoint& checkpoint) override {
    std::vector<StoreCheckpoint> parts{checkpoint.stores.begin(), checkpoint.stores.end()};
    std::vector<std::vector<EngineChange>> changes;
    std::list<std::string> values;  // The changes borrow them.
    for (StoreCheckpoint& part : parts) {
      changes.emplace_back(part.changes.begin(), part.changes.end());
      for (EngineChange& change : changes.back()) {
        if (change.value) change.value = values.emplace_back(scrambled(*change.value));
      }
      part.changes = changes.back();
    }
    return to_->apply({parts, checkpoint.source_offsets});
  }
  Result<Value> get(StoreIndex store, std::string_view key) override {
    Value value;
    Status status = multi_get(store, {&key, 1}, {&value, 1});
    return status.ok() ? Result<Value>{value} : status;
  }
  Status multi_get(StoreIndex store, std::span<const std::string_view> keys,
                   std::span<Value> values) override {
    Status status = to_->multi_get(store, keys, values);
    for (Value& value : values) value = value ? Value{scrambled(*value)} : std::nullopt;
    return status;
  }
  Result<std::unique_ptr<EngineScan>> scan(StoreIndex store, Bound from, Bound to) override {
    auto scan = to_->scan(store, from, to);
    if (!scan) return scan;
    return std::unique_ptr<EngineScan>{std::make_unique<ScrambledScan>(*std::move(scan))};
  }
  Result<std::optional<EnginePosition>> position(StoreIndex store) override {
    return to_->position(store);
  }
  Result<Offsets> source_offsets() override { return to_->source_offsets(); }
  Status clear(StoreIndex store) override { return to_->clear(store); }
  EngineStatistics statistics(StoreIndex store) override { return to_->statistics(store); }
  Status close() override { return to_->close(); }
  std::unique_ptr<Engine> to_;
};

struct ScrambledFactory final : EngineFactory {
  std::string_view name() const override { return "scrambled"; }
  bool persistent() const override { return true; }
  Result<std::unique_ptr<Engine>> open(const EngineOptions& options) override {
    auto inner = engines::rocksdb()->open(options);
    if (!inner) return inner;
    return std::unique_ptr<Engine>{std::make_unique<ScrambledEngine>(*std::move(inner))};
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: 03_custom_engine DIRECTORY\n", 2;
  const Topic<std::string, std::string> words{"words"};
  const StoreOptions lines = StoreOptions{"lines"}.engine(std::make_shared<ScrambledFactory>());
  Topology topology;
  topology.stream(words).group_by_key().reduce(
      lines, [](const std::string& line, const std::string& word) { return line + " " + word; });
  TestDriver driver{topology, {.state_dir = argv[1]}};
  for (const char* word : {"hello", "engine"}) driver.input(words).pipe("alice", word);
  driver.close();
  driver.restart();
  std::cout << driver.store<std::string, std::string>("lines").get("alice").value_or("lost")
            << '\n';
}

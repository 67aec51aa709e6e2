// SPDX-License-Identifier: Apache-2.0
#include "tests/runtime/simulator_shapes.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

namespace millrace::testing {
namespace {

const Topic<std::string, std::int64_t> input{"input"};
const Topic<std::string, std::int64_t> second{"second"};

constexpr std::chrono::milliseconds kTtl{60};

void write_time(Reference& reference, const std::string& key) {
  auto& written = reference.written.try_emplace(key, reference.record_time).first->second;
  written = std::max(written, reference.record_time);
}

std::int64_t mixed(std::int64_t state, std::int64_t value) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(state) * 31 +
                                   static_cast<std::uint64_t>(value));
}

void count_into(Contents& store, const std::string& key) {
  store[key] = number_bytes((store.contains(key) ? number_of(store[key]) : 0) + 1);
}

// State that depends on the order of the records; divisible by 7: deleted; by 5: a reaction; by 13:
// throws.
std::optional<std::int64_t> reduced(const Record<std::string, std::int64_t>& record,
                                    std::optional<std::int64_t> state, Context& context) {
  const std::int64_t next = mixed(state.value_or(1), record.value());
  if (record.value() % 5 == 0) context.react(simulated_output, record.key(), next);
  if (record.value() % 13 == 0) throw std::runtime_error("divisible by 13");
  if (record.value() % 7 == 0) return std::nullopt;
  return next;
}

void fold_reduced(Reference& reference, std::size_t store, const std::string& key,
                  std::int64_t value) {
  Contents& contents = reference.stores[store];
  const std::int64_t next = mixed(contents.contains(key) ? number_of(contents[key]) : 1, value);
  if (value % 13 == 0) return;
  if (value % 5 == 0) reference.outputs.emplace(key, number_bytes(next));
  if (value % 7 == 0) {
    contents.erase(key);
  } else {
    contents[key] = number_bytes(next);
  }
}

class Summing final : public Processor<std::string, std::int64_t, std::string, std::int64_t> {
 public:
  void start(Context& context) override {
    sums_.emplace(context.store<std::string, std::int64_t>("sums"));
  }
  void process(const Record<std::string, std::int64_t>& record, Context&) override {
    if (!record.has_key() || !record.has_value()) return;
    sums_->put(record.key(), sums_->get(record.key()).value_or(0) + record.value());
  }

 private:
  std::optional<KeyValueStore<std::string, std::int64_t>> sums_;
};

// Each version is made of the one before it.
class SummingVersions final
    : public Processor<std::string, std::int64_t, std::string, std::int64_t> {
 public:
  void start(Context& context) override {
    versions_.emplace(context.versioned_store<std::string, std::int64_t>("versions"));
  }
  void process(const Record<std::string, std::int64_t>& record, Context&) override {
    if (!record.has_key() || !record.has_value()) return;
    const auto before = versions_->get_as_of(record.key(), record.timestamp());
    versions_->put(record.key(), mixed(before ? before->value : 1, record.value()),
                   record.timestamp());
  }

 private:
  std::optional<VersionedStore<std::string, std::int64_t>> versions_;
};

void fold_version(Reference& reference, const std::string& key, std::int64_t value) {
  const KeyLayout layout = KeyLayout::versioned(kSimulatedHistory);
  Contents& versions = reference.stores[0];
  std::string at;
  layout.compose(key, to_millis(reference.record_time), 0, at);
  const auto before = versions.lower_bound(at);  // Later ones stand first.
  const bool found = before != versions.end() && layout.key_of(before->first) == key;
  versions[at] = KeyLayout::kPresentVersion +
                 number_bytes(mixed(found ? number_of(before->second.substr(1)) : 1, value));
}

std::vector<Shape> make_shapes() {
  const auto append = [](std::string& so_far, const Record<std::string, std::int64_t>& record) {
    so_far += std::to_string(record.value()) + ' ';
  };
  return {
      {"count",
       [] {
         Topology topology;
         topology.stream(input).group_by_key().count("counts");
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t) {
         count_into(reference.stores[0], key);
       }},
      {"reducer with reactions, skipping",
       [] {
         Topology topology;
         topology.stream(input).reduce<std::int64_t>("states", reduced,
                                                     reacts_to(simulated_output));
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         fold_reduced(reference, 0, key, value);
       },
       true},
      {"reduce of values",
       [] {
         Topology topology;
         topology.stream(input).group_by_key().reduce("values", mixed);
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         Contents& store = reference.stores[0];
         store[key] =
             number_bytes(store.contains(key) ? mixed(number_of(store[key]), value) : value);
       }},
      {"aggregate on the heap",
       [append] {
         Topology topology;
         topology.stream(input).group_by_key().aggregate<std::string>("texts", append);
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         reference.stores[0][key] += std::to_string(value) + ' ';
       }},
      {"two stores",
       [] {
         Topology topology;
         auto stream = topology.stream(input);
         stream.group_by_key().count("counts");
         stream.reduce<std::int64_t>("states", reduced, reacts_to(simulated_output));
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         if (value % 13 == 0) return;
         count_into(reference.stores[0], key);
         fold_reduced(reference, 1, key, value);
       },
       true},
      {"two inputs, one store",
       [] {
         Topology topology;
         topology.store<std::string, std::int64_t>("sums");
         topology.stream(input).process<Summing>(connects("sums"));
         topology.stream(second).process<Summing>(connects("sums"));
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         Contents& store = reference.stores[0];
         store[key] = number_bytes((store.contains(key) ? number_of(store[key]) : 0) + value);
       }},
      {"versions",
       [] {
         Topology topology;
         topology.versioned_store<std::string, std::int64_t>(
             "versions", {.history_retention = kSimulatedHistory});
         topology.stream(input).process<SummingVersions>(connects("versions"));
         return topology;
       },
       fold_version},
      {"table behind a table, every update",
       [append] {
         Topology topology;
         topology.stream(input)
             .group_by_key()
             .count(StoreOptions{"counts"}.forward_every_update())
             .to_stream()
             .group_by_key()
             .aggregate<std::string>("texts", append);
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t) {
         count_into(reference.stores[0], key);
         reference.stores[1][key] += std::to_string(number_of(reference.stores[0][key])) + ' ';
       }},
      {"table behind a table, at commits",
       [] {
         Topology topology;
         auto counts = topology.stream(input).group_by_key().count("counts").to_stream();
         counts.to(simulated_output);
         counts.group_by_key().reduce("latest",
                                      [](std::int64_t, std::int64_t value) { return value; });
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t) {
         count_into(reference.stores[0], key);
         reference.stores[1] = reference.stores[0];
       },
       false, true},
      {"count with a time to live",
       [] {
         Topology topology;
         topology.stream(input).group_by_key().count(StoreOptions{"counts"}.ttl(kTtl));
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t) {
         expire(reference, kTtl);
         write_time(reference, key);
         count_into(reference.stores[0], key);
       },
       false, false, kTtl},
      {"reducer with a time to live, skipping",
       [] {
         Topology topology;
         topology.stream(input).reduce<std::int64_t>(StoreOptions{"states"}.ttl(kTtl), reduced,
                                                     reacts_to(simulated_output));
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         if (value % 13 == 0) {  // It leaves no trace, in the time neither.
           reference.stream_time = reference.stream_time_before;
           return;
         }
         expire(reference, kTtl);
         if (value % 7 == 0) {
           reference.written.erase(key);
         } else {
           write_time(reference, key);
         }
         fold_reduced(reference, 0, key, value);
       },
       true, false, kTtl},
      {"table on its source topic",
       [] {
         Topology topology;
         topology.table(input, "rows");
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         reference.stores[0][key] = number_bytes(value);
       },
       false,
       false,
       {},
       [](Reference& reference, const std::string& key) { reference.stores[0].erase(key); }},
      {"table on its source topic with a count behind it, beside a stream",
       [] {
         Topology topology;
         auto updates =
             topology.table(input, StoreOptions{"rows"}.forward_every_update()).to_stream();
         updates.to(simulated_output);
         updates.group_by_key().count("counts");
         topology.store<std::string, std::int64_t>("sums");
         updates.process<Summing>(connects("sums"));
         topology.stream(second).process<Summing>(connects("sums"));
         return topology;
       },
       [](Reference& reference, const std::string& key, std::int64_t value) {
         Contents& sums = reference.stores[2];
         sums[key] = number_bytes((sums.contains(key) ? number_of(sums[key]) : 0) + value);
         if (reference.topic == second.name()) return;
         reference.stores[0][key] = number_bytes(value);
         count_into(reference.stores[1], key);
         reference.outputs.emplace(key, number_bytes(value));
       },
       false,
       false,
       {},
       [](Reference& reference, const std::string& key) {
         if (reference.topic == input.name()) reference.stores[0].erase(key);
       },
       true},
  };
}

}  // namespace

std::string number_bytes(std::int64_t number) {
  std::string out;
  Serde<std::int64_t>::encode(number, out);
  return out;
}

std::int64_t number_of(const std::string& bytes) { return *Serde<std::int64_t>::decode(bytes); }

void expire(Reference& reference, std::chrono::milliseconds ttl) {
  std::erase_if(reference.written, [&](const auto& key) {
    if (key.second + ttl > reference.stream_time) return false;
    reference.stores[0].erase(key.first);
    return true;
  });
}

const std::vector<Shape>& simulated_shapes() {
  static const std::vector<Shape> kShapes = make_shapes();
  return kShapes;
}

}  // namespace millrace::testing

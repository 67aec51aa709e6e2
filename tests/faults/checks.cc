// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/checks.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "runtime/commit_point.h"
#include "tests/support/process.h"

namespace millrace::testing {
namespace {

constexpr std::size_t kShown = 5;
constexpr std::chrono::seconds kTransactionMax{30};  // transaction.timeout.ms, 10 s, and slack.
// So few offsets at the end of a log may be markers of transactions, which no commit has to cover.
constexpr std::int64_t kMarkersMax = 64;

// Collects what is wrong with keys, and says how many there are and which the first are.
class Differences {
 public:
  void note(const std::string& what) {
    if (++count_ <= kShown) text_ << "; " << what;
  }
  void report(const std::string& invariant, const std::string& where,
              std::vector<Violation>& violations) const {
    if (count_ == 0) return;
    violations.push_back(
        {invariant, where + ": " + std::to_string(count_) + " wrong" + text_.str()});
  }

 private:
  std::size_t count_ = 0;
  std::ostringstream text_;
};

std::string shown(const std::string& value) {
  const bool text = std::all_of(value.begin(), value.end(), [](char c) { return c >= ' '; });
  return text ? "'" + value + "'" : std::to_string(from_big_endian(value));
}

// What is committed for one stage: of each partition the offsets by topic, and the changelog's end.
struct Committed {
  std::map<std::string, std::vector<std::int64_t>> sources;
  std::vector<std::int64_t> changelog_ends;
};

Committed committed_of(KafkaClientForTests& kafka, const Stage& stage,
                       const std::string& application, std::vector<Violation>& violations) {
  Committed result;
  const auto partitions = static_cast<std::size_t>(kafka.partitions(stage.inputs.front()));
  result.changelog_ends.resize(partitions);
  // One task commits all its inputs at once, but they are read one after the other: the newest
  // point of a partition says what belongs together.
  std::vector<std::uint64_t> sequences(partitions);
  for (const auto& topic : stage.inputs) result.sources[topic].resize(partitions);
  for (const auto& topic : stage.inputs) {
    const auto offsets = kafka.committed(application, topic);
    const auto ends = kafka.ends(topic);
    for (std::size_t p = 0; p < partitions; ++p) {
      const auto offset = offsets.at(p).offset.value_or(0);
      if (offset > ends.at(p).high) {
        violations.push_back({"I4", topic + "-" + std::to_string(p) + ": committed offset " +
                                        std::to_string(offset) + " is behind the log's end " +
                                        std::to_string(ends.at(p).high)});
      }
      const auto point = decode_metadata(offsets.at(p).metadata);
      if (!point) {
        if (offsets.at(p).offset) {
          violations.push_back({"I5", topic + "-" + std::to_string(p) +
                                          ": an offset is committed without a commit point"});
        }
        continue;
      }
      if (const auto inside = point->sources.find(topic_hash(topic));
          inside == point->sources.end() || inside->second != offset) {
        violations.push_back({"I5", topic + "-" + std::to_string(p) + ": the committed offset " +
                                        std::to_string(offset) +
                                        " is not that of its commit point"});
        continue;
      }
      if (point->sequence <= sequences[p]) continue;
      sequences[p] = point->sequence;
      for (auto& [name, sources] : result.sources) {
        const auto inside = point->sources.find(topic_hash(name));
        sources[p] = inside != point->sources.end() ? inside->second : 0;
      }
      const auto end = point->changelog_ends.find(topic_hash(stage.changelog));
      result.changelog_ends[p] = end != point->changelog_ends.end() ? end->second : 0;
    }
  }
  return result;
}

void compare(const State& expected, const State& found, const std::string& where,
             std::vector<Violation>& violations) {
  Differences differences;
  for (const auto& [key, value] : expected) {
    const auto at = found.find(key);
    if (at == found.end()) {
      differences.note(key + " is missing, expected " + shown(value));
    } else if (at->second != value) {
      differences.note(key + " is " + shown(at->second) + ", expected " + shown(value));
    }
  }
  for (const auto& [key, value] : found) {
    if (!expected.contains(key)) differences.note(key + " is too much, " + shown(value));
  }
  differences.report("I5", where, violations);
}

// Per key: every result up to the expected one is there. Exactly once: in order, and nothing twice.
void check_output(KafkaClientForTests& kafka, const Workload& workload, const Stage& stage,
                  const State& expected, Guarantee guarantee, std::vector<Violation>& violations) {
  struct Seen {
    std::int64_t last = 0;
    std::vector<bool> results;
    bool newest_is_right = false;
  };
  std::map<std::string, Seen> seen;
  Differences order;
  kafka.read(stage.output, [&](const StoredRecord& record) {
    const auto& key = record.key.value();
    auto& of_key = seen[key];
    const auto n = sequence_of(workload, record.value.value());
    if (n != of_key.last + 1 && guarantee == Guarantee::kExactlyOnce) {
      order.note(key + " goes from " + std::to_string(of_key.last) + " to " + std::to_string(n) +
                 " at " + std::to_string(record.partition) + "@" + std::to_string(record.offset));
    }
    of_key.last = n;
    if (n < 1) return order.note(key + " has a result " + std::to_string(n));
    if (of_key.results.size() < static_cast<std::size_t>(n))
      of_key.results.resize(static_cast<std::size_t>(n));
    of_key.results[static_cast<std::size_t>(n - 1)] = true;
    const auto value = expected.find(key);
    if (value != expected.end() && value->second == record.value) of_key.newest_is_right = true;
  });
  Differences lost;
  for (const auto& [key, value] : expected) {
    const auto& of_key = seen[key];
    const auto n = static_cast<std::size_t>(sequence_of(workload, value));
    const auto size = std::min(n, of_key.results.size());
    const auto missing = n - static_cast<std::size_t>(std::count(
                                 of_key.results.begin(),
                                 of_key.results.begin() + static_cast<std::ptrdiff_t>(size), true));
    if (missing > 0) {
      lost.note(key + " has " + std::to_string(missing) + " of " + std::to_string(n) +
                " results not in the output");
    } else if (!of_key.newest_is_right) {
      lost.note(key + " has no result " + shown(value));
    }
  }
  order.report("I3", stage.output, violations);
  lost.report("I1", stage.output, violations);
}

// W3: the credit of each debit that is committed is there.
void check_credits(KafkaClientForTests& kafka, const std::string& debits,
                   const std::string& credits, const std::vector<std::int64_t>& committed,
                   Guarantee guarantee, std::vector<Violation>& violations) {
  std::map<std::string, int> seen;  // By "PARTITION@OFFSET" of the transfer.
  kafka.read(credits, [&](const StoredRecord& record) {
    ++seen[record.value->substr(0, record.value->find(' '))];
  });
  Differences lost;
  Differences twice;
  kafka.read(debits, [&](const StoredRecord& record) {
    if (record.offset >= committed.at(static_cast<std::size_t>(record.partition))) return;
    const auto id = std::to_string(record.partition) + "@" + std::to_string(record.offset);
    const auto times = seen.find(id);
    if (times == seen.end()) {
      lost.note("the transfer " + id + " has no credit");
    } else if (times->second > 1 && guarantee == Guarantee::kExactlyOnce) {
      twice.note("the transfer " + id + " has " + std::to_string(times->second) + " credits");
    }
  });
  lost.report("I7", credits, violations);
  twice.report("I2", credits, violations);
}

}  // namespace

bool is_visible_soon(KafkaClientForTests& kafka, const std::string& topic) {
  const auto ends = kafka.ends(topic);
  return wait_until(
      [&] {
        const auto stable = kafka.stable_ends(topic);
        for (std::size_t p = 0; p < ends.size(); ++p) {
          if (stable.at(p).high < ends[p].high) return false;
        }
        return true;
      },
      kTransactionMax);
}

CheckResult check_results(KafkaClientForTests& kafka, const Workload& workload,
                          const std::string& application, Guarantee guarantee) {
  CheckResult result;
  for (const auto& stage : workload.stages) {
    const auto committed = committed_of(kafka, stage, application, result.violations);
    // An open transaction of a worker that was killed hides what others have committed behind it.
    for (const auto& topic : workload.topics) {
      if (guarantee == Guarantee::kExactlyOnce && !is_visible_soon(kafka, topic))
        result.violations.push_back({"I10", topic + " has a transaction that does not end"});
    }
    State expected;
    for (const auto& topic : stage.inputs) {
      const auto& offsets = committed.sources.at(topic);
      kafka.read(topic, [&](const StoredRecord& record) {
        if (record.offset >= offsets.at(static_cast<std::size_t>(record.partition))) return;
        stage.apply(expected, record, topic);
        ++result.records;
      });
    }
    State found;
    if (kafka.partitions(stage.changelog) > 0) {
      kafka.read(stage.changelog, [&](const StoredRecord& record) {
        if (record.offset >=
            committed.changelog_ends.at(static_cast<std::size_t>(record.partition)))
          return;
        if (record.value) {
          found[record.key.value()] = *record.value;
        } else {
          found.erase(record.key.value());
        }
      });
    }
    compare(expected, found, stage.changelog, result.violations);
    if (!stage.output.empty())
      check_output(kafka, workload, stage, expected, guarantee, result.violations);
    if (stage.store == "debits") {
      check_credits(kafka, stage.inputs.front(), workload.stages.at(1).inputs.front(),
                    committed.sources.at(stage.inputs.front()), guarantee, result.violations);
    }
  }
  return result;
}

bool all_committed(KafkaClientForTests& kafka, const Workload& workload,
                   const std::string& application) {
  for (const auto& stage : workload.stages) {
    for (const auto& topic : stage.inputs) {
      const auto ends = kafka.ends(topic);
      const auto offsets = kafka.committed(application, topic);
      if (ends.empty() || offsets.size() != ends.size()) return false;
      std::set<std::size_t> perhaps;  // Partitions of which only markers may be left.
      for (std::size_t p = 0; p < ends.size(); ++p) {
        const auto offset = offsets[p].offset.value_or(0);
        if (offset >= ends[p].high) continue;
        if (ends[p].high - offset > kMarkersMax) return false;
        perhaps.insert(p);
      }
      if (perhaps.empty()) continue;
      bool left = false;
      kafka.read(topic, [&](const StoredRecord& record) {
        const auto p = static_cast<std::size_t>(record.partition);
        left = left || (perhaps.contains(p) && record.offset >= offsets[p].offset.value_or(0));
      });
      if (left) return false;
    }
  }
  return true;
}

}  // namespace millrace::testing

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/engine.h"
#include "stores/memory_engine.h"

namespace millrace::testing {

/// What a KeptEngine was asked for, and what it shall answer.
struct EngineProbe {
  std::size_t gets = 0;
  std::size_t multi_gets = 0;
  std::size_t keys_of_multi_gets = 0;
  std::size_t applies = 0;
  std::size_t scans = 0;
  std::size_t scanned = 0;  // Entries that scans have moved on from.
  std::optional<Status> fail_reads;
  std::optional<Status> fail_apply;
};

/// Counts the steps of a scan.
class CountedScan final : public EngineScan {
 public:
  CountedScan(std::unique_ptr<EngineScan> scan, std::shared_ptr<EngineProbe> probe)
      : scan_(std::move(scan)), probe_(std::move(probe)) {}
  bool valid() const override { return scan_->valid(); }
  void next() override {
    ++probe_->scanned;
    scan_->next();
  }
  std::string_view key() const override { return scan_->key(); }
  std::string_view value() const override { return scan_->value(); }
  Status status() const override { return scan_->status(); }

 private:
  std::unique_ptr<EngineScan> scan_;
  std::shared_ptr<EngineProbe> probe_;
};

/// A memory engine whose content outlives its closing, as that of a disk does. Counts calls and can
/// be told to fail.
class KeptEngine final : public Engine {
 public:
  KeptEngine(std::shared_ptr<MemoryEngine> content, std::shared_ptr<EngineProbe> probe)
      : content_(std::move(content)), probe_(std::move(probe)) {}

  Result<std::optional<std::string>> get(StoreIndex store, std::string_view key) override {
    ++probe_->gets;
    if (probe_->fail_reads) return *probe_->fail_reads;
    return content_->get(store, key);
  }
  Status multi_get(StoreIndex store, std::span<const std::string_view> keys,
                   std::span<std::optional<std::string>> values) override {
    ++probe_->multi_gets;
    probe_->keys_of_multi_gets += keys.size();
    if (probe_->fail_reads) return *probe_->fail_reads;
    return content_->multi_get(store, keys, values);
  }
  Result<std::unique_ptr<EngineScan>> scan(StoreIndex store, std::optional<std::string_view> from,
                                           std::optional<std::string_view> to) override {
    ++probe_->scans;
    auto scan = content_->scan(store, from, to);
    if (!scan) return scan;
    return std::unique_ptr<EngineScan>{std::make_unique<CountedScan>(*std::move(scan), probe_)};
  }
  Status apply(const Checkpoint& checkpoint) override {
    ++probe_->applies;
    if (probe_->fail_apply) return *probe_->fail_apply;
    return content_->apply(checkpoint);
  }
  Result<std::optional<EnginePosition>> position(StoreIndex store) override {
    return content_->position(store);
  }
  Result<std::map<std::string, std::int64_t>> source_offsets() override {
    return content_->source_offsets();
  }
  Status clear(StoreIndex store) override { return content_->clear(store); }
  EngineStatistics statistics(StoreIndex store) override { return content_->statistics(store); }
  Status close() override { return {}; }

 private:
  std::shared_ptr<MemoryEngine> content_;
  std::shared_ptr<EngineProbe> probe_;
};

/// Opens KeptEngines over one content until the disk is lost. For one task.
class KeptEngineFactory final : public EngineFactory {
 public:
  explicit KeptEngineFactory(std::string name = "kept") : name_(std::move(name)) {}

  std::string_view name() const override { return name_; }
  bool persistent() const override { return false; }  // It needs no directory.
  Result<std::unique_ptr<Engine>> open(const EngineOptions& options) override {
    if (!content_) content_ = std::make_shared<MemoryEngine>(options.stores.size());
    return std::unique_ptr<Engine>{std::make_unique<KeptEngine>(content_, probe)};
  }

  void lose_disk() { content_.reset(); }
  /// A disk with other content takes its place.
  void put_back(MemoryEngine content) {
    content_ = std::make_shared<MemoryEngine>(std::move(content));
  }
  /// Null before the first opening.
  [[nodiscard]] MemoryEngine* content() const { return content_.get(); }

  const std::shared_ptr<EngineProbe> probe = std::make_shared<EngineProbe>();

 private:
  std::string name_;
  std::shared_ptr<MemoryEngine> content_;
};

}  // namespace millrace::testing

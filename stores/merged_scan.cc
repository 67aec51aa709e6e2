// SPDX-License-Identifier: Apache-2.0
#include "stores/merged_scan.h"

#include <utility>

#include "stores/engine_value.h"

namespace millrace {

MergedScan::MergedScan(const ValueOps& ops, std::vector<Item> overlay,
                       std::unique_ptr<EngineScan> engine, std::int64_t live_from)
    : ops_(ops),
      overlay_(std::move(overlay)),
      engine_(std::move(engine)),
      live_from_(live_from),
      decoded_(std::make_unique_for_overwrite<char[]>(ops.size)) {
  settle();
}

MergedScan::~MergedScan() {
  drop_decoded();
  for (const Item& item : overlay_) {
    if (item.present) ops_.destroy(item.value.get());
  }
}

void MergedScan::next() {
  if (place_ == Place::kOverlay) {
    ++at_;
  } else {
    engine_->next();
  }
  settle();
}

std::string_view MergedScan::key() const {
  return place_ == Place::kOverlay ? std::string_view{overlay_[at_].key} : engine_->key();
}

const void* MergedScan::value() const {
  return place_ == Place::kOverlay ? overlay_[at_].value.get() : decoded_.get();
}

Timestamp MergedScan::timestamp() const {
  return place_ == Place::kOverlay ? overlay_[at_].timestamp : decoded_timestamp_;
}

// Moves on to the next entry that exists: the overlay wins over the engine, deleted ones are passed
// over.
void MergedScan::settle() {
  drop_decoded();
  for (;;) {
    const bool engine_valid = engine_ && engine_->valid();
    if (engine_ && !engine_valid && !engine_->status().ok()) throw StoreFailure(engine_->status());
    if (at_ == overlay_.size() && !engine_valid) {
      place_ = Place::kEnd;
      return;
    }
    if (at_ < overlay_.size() && (!engine_valid || overlay_[at_].key <= engine_->key())) {
      if (engine_valid && overlay_[at_].key == engine_->key()) engine_->next();
      if (overlay_[at_].present) {
        place_ = Place::kOverlay;
        return;
      }
      ++at_;
      continue;
    }
    decoded_timestamp_ = timestamp_of(engine_->value());
    if (to_millis(decoded_timestamp_) < live_from_) {
      engine_->next();
      continue;
    }
    place_ = Place::kEngine;
    return decode(engine_->value());
  }
}

void MergedScan::decode(std::string_view engine_value) {
  const auto status = decode_value(ops_, engine_value, decoded_.get());
  if (!status.ok())
    throw StoreFailure(Status::internal("a stored value cannot be decoded: " + status.message()));
  has_decoded_ = true;
}

void MergedScan::drop_decoded() {
  if (has_decoded_) ops_.destroy(decoded_.get());
  has_decoded_ = false;
}

}  // namespace millrace

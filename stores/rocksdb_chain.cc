// SPDX-License-Identifier: Apache-2.0
#include "stores/rocksdb_chain.h"

#include <optional>

#include "stores/big_endian.h"

namespace millrace {
namespace {

std::optional<std::uint64_t> decode(std::string_view bytes) {
  if (bytes.size() != sizeof(std::uint64_t)) return std::nullopt;
  return take_big_endian<std::uint64_t>(bytes);
}

class CheckpointCountOperator final : public rocksdb::AssociativeMergeOperator {
 public:
  bool Merge(const rocksdb::Slice& /*key*/, const rocksdb::Slice* existing_value,
             const rocksdb::Slice& value, std::string* new_value,
             rocksdb::Logger* /*logger*/) const override {
    const auto before = existing_value == nullptr ? std::optional<std::uint64_t>{0}
                                                  : decode(existing_value->ToStringView());
    const auto added = decode(value.ToStringView());
    if (!before || !added) return false;
    *new_value = encode_checkpoint_number(*before + *added);
    return true;
  }

  // Written into the database's OPTIONS file: never change it.
  const char* Name() const override { return "millrace.CheckpointCount"; }
};

}  // namespace

std::shared_ptr<rocksdb::MergeOperator> checkpoint_count_operator() {
  return std::make_shared<CheckpointCountOperator>();
}

std::string encode_checkpoint_number(std::uint64_t number) {
  std::string bytes;
  append_big_endian(bytes, number);
  return bytes;
}

Result<std::uint64_t> verified_checkpoint_number(std::string_view number, std::string_view count) {
  if (number.empty() && count.empty()) return std::uint64_t{0};
  const auto last = decode(number);
  const auto present = decode(count);
  if (!last || !present) return Status::corruption("the checkpoint number is damaged");
  if (*last == *present) return *last;
  return Status::corruption("the last checkpoint is number " + std::to_string(*last) + ", but " +
                            std::to_string(*present) + " are there: a log or manifest was cut");
}

}  // namespace millrace

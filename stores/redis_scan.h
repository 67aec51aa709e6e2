// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/engine.h"
#include "stores/redis_session.h"

namespace millrace {

/// The entries of a store between two keys, read page by page. Shared by a scan and its engine,
/// which has the rest read before it changes the store: Redis itself knows no cuts.
class RedisPages {
 public:
  RedisPages(std::shared_ptr<RedisSession> session, std::string keys, std::string values,
             std::optional<std::string_view> from, std::optional<std::string_view> to);

  /// Reads what is not read yet, however much that is.
  Status read_rest();

  /// Goes to the first entry that is not read, or to the end.
  void fill();
  [[nodiscard]] bool valid() const { return next_ < entries_.size(); }
  void next();
  [[nodiscard]] const std::pair<std::string, std::string>& entry() const { return entries_[next_]; }
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  Status read_page();

  const std::shared_ptr<RedisSession> session_;
  const std::string keys_;
  const std::string values_;
  std::string from_;  ///< As ZRANGEBYLEX takes it.
  const std::string to_;
  std::vector<std::pair<std::string, std::string>> entries_;
  std::size_t next_ = 0;
  bool complete_ = false;
  Status status_;
};

class RedisScan final : public EngineScan {
 public:
  explicit RedisScan(std::shared_ptr<RedisPages> pages) : pages_(std::move(pages)) {}

  bool valid() const override { return pages_->valid(); }
  void next() override { pages_->next(); }
  std::string_view key() const override { return pages_->entry().first; }
  std::string_view value() const override { return pages_->entry().second; }
  Status status() const override { return pages_->status(); }

 private:
  const std::shared_ptr<RedisPages> pages_;
};

}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
#include "stores/redis_scan.h"

#include <array>

namespace millrace {
namespace {

constexpr std::string_view kEntriesPerPage = "256";
constexpr std::size_t kEntriesPerPageNumber = 256;

std::string bound(char kind, std::string_view key) { return kind + std::string{key}; }

}  // namespace

RedisPages::RedisPages(std::shared_ptr<RedisSession> session, std::string keys, std::string values,
                       std::optional<std::string_view> from, std::optional<std::string_view> to)
    : session_(std::move(session)),
      keys_(std::move(keys)),
      values_(std::move(values)),
      from_(from ? bound('[', *from) : "-"),
      to_(to ? bound('[', *to) : "+") {}

Status RedisPages::read_page() {
  constexpr std::string_view kAction = "scan a store";
  const std::array select{
      RedisCommand{"ZRANGEBYLEX", keys_, from_, to_, "LIMIT", "0", kEntriesPerPage}};
  const auto selected = session_->read(select, kAction);
  if (!selected) return selected.error();
  const redisReply& keys = *(*selected)->element[RedisSession::kFirstAnswer];
  if (keys.elements == 0) {
    complete_ = true;
    return {};
  }
  RedisCommand look_up{"HMGET", values_};
  for (std::size_t i = 0; i < keys.elements; ++i) look_up.push_back(redis_bytes(*keys.element[i]));
  const auto found = session_->read({&look_up, 1}, kAction);
  if (!found) return found.error();
  const redisReply& values = *(*found)->element[RedisSession::kFirstAnswer];
  for (std::size_t i = 0; i < keys.elements; ++i) {
    if (i >= values.elements || values.element[i]->type != REDIS_REPLY_STRING) {
      return Status::corruption("a key in Redis ('" + keys_ + "') has no value; the state has to " +
                                "be rebuilt from its changelogs");
    }
    entries_.emplace_back(redis_bytes(*keys.element[i]), redis_bytes(*values.element[i]));
  }
  complete_ = keys.elements < kEntriesPerPageNumber;
  from_ = bound('(', entries_.back().first);
  return {};
}

Status RedisPages::read_rest() {
  while (!complete_ && status_.ok()) {
    if (auto status = read_page(); !status.ok()) return status;
  }
  return {};
}

void RedisPages::fill() {
  if (valid() || complete_ || !status_.ok()) return;
  entries_.clear();
  next_ = 0;
  status_ = read_page();
  if (!status_.ok()) entries_.clear();
}

void RedisPages::next() {
  ++next_;
  fill();
}

}  // namespace millrace

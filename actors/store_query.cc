// SPDX-License-Identifier: Apache-2.0
#include "millrace/store_query.h"

#include <algorithm>
#include <future>
#include <memory>

#include "actors/store_reader.h"
#include "millrace/app.h"

namespace millrace {
namespace {

// How long a read waits for a task that is busy with a batch.
constexpr std::chrono::seconds kQueryTimeout{10};

constexpr std::size_t kPageEntriesMax = 1000;

// Starts a read and waits for its answer.
template <class T, class Start>
Result<T> awaited(const std::string& store, const Start& start) {
  auto promise = std::make_shared<std::promise<Result<T>>>();
  auto future = promise->get_future();
  start([promise](Result<T> answer) { promise->set_value(std::move(answer)); });
  if (future.wait_for(kQueryTimeout) != std::future_status::ready) {
    return Status::unavailable("store '" + store + "': its task did not answer in time; ask again");
  }
  return future.get();
}

Result<ReadPage> page_of(AppContext& app, const std::string& store, std::int32_t partition,
                         const ReadRequest& request) {
  return awaited<ReadPage>(store, [&](const ReadAnswer& answer) {
    read_partition(app, store, partition, request, answer);
  });
}

Status check_limit(const std::string& store, std::size_t limit) {
  if (limit > 0) return {};
  return Status::invalid_argument("store '" + store +
                                  "': a limit of 0 entries would read pages without end; ask for 1 "
                                  "or more");
}

std::size_t page_size(std::size_t limit, std::size_t have) {
  return std::min(kPageEntriesMax, limit - have);
}

void append(std::vector<StoredEntry>& entries, std::vector<StoredEntry> more) {
  entries.insert(entries.end(), std::make_move_iterator(more.begin()),
                 std::make_move_iterator(more.end()));
}

}  // namespace

Result<StoreReads::Entries> StoreReads::of_key(ReadRequest request, std::size_t limit) const {
  if (auto status = check_limit(store_, limit); !status.ok()) return status;
  AppContext& app = app_->context();
  request.level = level_;
  request.entries_max = page_size(limit, 0);
  auto first = awaited<KeyPage>(
      store_, [&](const KeyAnswer& answer) { read_key(app, store_, request, answer); });
  if (!first) return first.error();
  Entries found{std::move(first->page.entries)};
  auto resume = std::move(first->page.resume);
  while (resume && found.size() < limit) {
    request.after = std::move(resume);
    request.entries_max = page_size(limit, found.size());
    auto page = page_of(app, store_, first->partition, request);
    if (!page) return page.error();
    append(found.entries, std::move(page->entries));
    resume = std::move(page->resume);
  }
  return found;
}

Result<StoreReads::Entries> StoreReads::of_all(ReadRequest request, std::size_t limit,
                                               const PageToken& from) const {
  if (auto status = check_limit(store_, limit); !status.ok()) return status;
  AppContext& app = app_->context();
  request.level = level_;
  request.after = from.after_;
  auto partitions = partitions_to_read(app, store_);
  if (!partitions) return partitions.error();
  Entries found;
  for (const std::int32_t partition : *partitions) {
    if (partition < from.partition_) continue;
    if (partition > from.partition_) request.after.reset();
    for (;;) {
      if (found.size() >= limit) {
        found.next.partition_ = partition;
        found.next.after_ = std::move(request.after);
        return found;
      }
      request.entries_max = page_size(limit, found.size());
      auto page = page_of(app, store_, partition, request);
      if (!page) return page.error();
      append(found.entries, std::move(page->entries));
      if (!page->resume) break;
      request.after = std::move(page->resume);
    }
  }
  return found;
}

void StoreReads::throw_status(const Status& status) {
  if (const auto reason = not_ready_reason(status)) throw NotReadyError(*reason, status.message());
  throw StatusError(status);
}

}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace millrace::bench {

/// One run, as the command line describes it.
struct Options {
  std::string workload;
  std::string bootstrap = "127.0.0.1:9092";
  std::string input;
  std::string output;  ///< Default: `<application_id>-out`.
  std::int64_t records = 0;
  std::string store = "rocksdb";
  std::size_t threads = 1;
  std::string state_dir;
  std::string application_id;
  std::string guarantee = "at_least_once";
  std::optional<std::chrono::milliseconds> commit_interval;
  std::int32_t partitions = 4;  ///< Of the output topic.
  bool keep = false;            ///< Topics, group and state stay: the first half of `restore`.
  bool filled = false;          ///< `restore`: that half is there, from a run with `keep`.
};

/// The store of `count` and `restore`.
inline constexpr const char* kStore = "counts";

}  // namespace millrace::bench

// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine_choice.h"

namespace millrace {

std::shared_ptr<EngineFactory> make_engine(const Config& config) {
  if (config.engine == "memory") return engines::memory();
  if (config.engine == "lmdb") return engines::lmdb({.map_bytes_max = config.lmdb_map_bytes_max});
  if (config.engine == "redis") {
    return engines::redis({.address = config.redis_address,
                           .user = config.redis_user,
                           .password = config.redis_password});
  }
  return engines::rocksdb({config.rocksdb_block_cache_bytes, config.rocksdb_write_buffer_bytes},
                          config.rocksdb);
}

}  // namespace millrace

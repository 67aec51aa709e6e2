// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/config.h"
#include "millrace/error.h"
#include "runtime/kafka/handles.h"

namespace millrace {

/// What a client of librdkafka is for; each has its own properties.
enum class ClientRole : std::uint8_t {
  kMembership,  ///< Joins the group, commits; its fetch assignment stays empty.
  kData,        ///< Reads inputs by manual assignment; never subscribes, never commits.
  kRestore,     ///< Reads changelogs.
  kProducer,    ///< Idempotent; transactional when a transactional id is given.
  kAdmin,       ///< Metadata and topic management; a consumer handle, which never creates topics.
};

/// "membership", "data", "restore", "producer", "admin".
[[nodiscard]] std::string_view to_string(ClientRole role);

/// Receives librdkafka's log lines. `level` is syslog's (3 error, 4 warning, 6 info, 7 debug).
/// Called from librdkafka's threads, also at the same time.
using KafkaLog = std::function<void(int level, std::string_view facility, std::string_view text)>;

/// What every callback of librdkafka gets as its `opaque`: cast it to `KafkaContext*`.
class KafkaContext {
 public:
  KafkaContext(KafkaLog log_sink, void* callback_owner)
      : owner(callback_owner), log_(std::move(log_sink)) {}

  void log(int level, std::string_view facility, std::string_view text) const;

  /// Logs nothing from now on: of a client that outlives what it logged to.
  void silence();

  /// Remembers an error that librdkafka reports apart from any call (authentication, TLS, DNS).
  void remember(Status error);

  /// Drops it: the client has been seen to work.
  void forget();

  /// The newest such error, ok if there was none since. Explains time-outs. Any thread.
  [[nodiscard]] Status last_error() const;

  /// Whom the callbacks belong to; as given in `ClientOptions::owner`.
  void* const owner;

 private:
  mutable std::mutex log_mutex_;
  KafkaLog log_;  // Guarded by log_mutex_.
  mutable std::mutex mutex_;
  Status last_error_;
};

struct ClientOptions {
  ClientRole role = ClientRole::kData;
  KafkaLog log;                  ///< Empty: dropped. Never stderr.
  void* owner = nullptr;         ///< For callbacks, see KafkaContext.
  std::string transactional_id;  ///< kProducer only; empty: idempotent without transactions.
  /// Called last, to set callbacks and interceptors (`rd_kafka_conf_set_rebalance_cb`, ...).
  std::function<void(rd_kafka_conf_t*)> configure;
};

/// A client with the context its callbacks use. Movable; destroys the client first.
class KafkaClient {
 public:
  KafkaClient() = default;
  KafkaClient(std::unique_ptr<KafkaContext> context, ClientPtr client)
      : context_(std::move(context)), client_(std::move(client)) {}

  KafkaClient(KafkaClient&&) = default;
  KafkaClient& operator=(KafkaClient&& other) noexcept {
    client_ = std::move(other.client_);  // First: the old client's threads use the old context.
    context_ = std::move(other.context_);
    return *this;
  }

  [[nodiscard]] rd_kafka_t* get() const { return client_.get(); }
  [[nodiscard]] KafkaContext& context() const { return *context_; }
  explicit operator bool() const { return client_ != nullptr; }

  /// Destroys the client now; blocks until its threads have ended.
  void reset() { client_.reset(); }

 private:
  std::unique_ptr<KafkaContext> context_;
  ClientPtr client_;
};

/// The properties of a role in the order they are applied: our defaults, the user's `config.kafka`
/// where they exist for that kind of client, and what Millrace owns.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> client_properties(
    const Config& config, ClientRole role, std::string_view transactional_id = {});

/// What a client of `role` has for a property that is a number: as set, else librdkafka's default,
/// also where what is set is no number.
[[nodiscard]] std::int64_t number_property(const Config& config, ClientRole role,
                                           const std::string& name);

/// Makes a client. Does not wait for a broker. kInvalidArgument for a property librdkafka refuses.
[[nodiscard]] Result<KafkaClient> create_client(const Config& config, ClientOptions options);

/// `<application id>:<instance>:0`: the producer of an instance, by which its next run ends what
/// this one has left open. Applications and instances that differ have ids that differ. The
/// instance is the static member's id if there is one, else `instance_id`, which must differ
/// between instances and stay the same over restarts.
[[nodiscard]] std::string make_transactional_id(const Config& config,
                                                const std::string& instance_id);

/// `client_id`, or what is made of the application id where it is empty. Each client's is that with
/// `-<role>` behind it.
[[nodiscard]] std::string base_client_id(const Config& config);

/// `<application id>` for the group, `<application id>.data` and `.restore` for the readers that
/// never join.
[[nodiscard]] std::string group_id(const Config& config, ClientRole role);

}  // namespace millrace

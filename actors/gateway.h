// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "actors/app_context.h"
#include "actors/http_server.h"

namespace millrace {

/// The HTTP face of an App: /metrics, /livez, /readyz, /startupz, /status, /topology,
/// /stores/NAME/KEY. Read-only.
///
/// Its own thread; asks tasks by message and never blocks.
class Gateway {
 public:
  /// Listens at `config.http`. invalid_argument if the address cannot be had. `app` must outlive
  /// the gateway.
  static Result<std::unique_ptr<Gateway>> start(AppContext& app);

  /// "127.0.0.1:8080".
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  Gateway(std::unique_ptr<HttpServer> server, std::string address)
      : server_(std::move(server)), address_(std::move(address)) {}

  std::unique_ptr<HttpServer> server_;
  std::string address_;
};

/// The body of /status: states, assignment, lag, restore progress and stores.
[[nodiscard]] std::string status_json(const AppContext& app);

}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "actors/app_context.h"
#include "millrace/embedded_kafka.h"
#include "runtime/kafka/admin.h"

namespace millrace {

/// Everything between an App's construction and its first actor: looks at the cluster, creates
/// changelogs, opens the state directory and the clients. Fills `app`. Throws the typed errors of
/// App::start.
void start_up(AppContext& app, EmbeddedKafka* embedded);

/// The problems that start_up would meet with the cluster, one sentence each. Changes nothing.
[[nodiscard]] std::vector<std::string> check_cluster(const AppContext& app,
                                                     EmbeddedKafka* embedded);

}  // namespace millrace

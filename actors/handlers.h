// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <caf/scheduled_actor.hpp>

#include "actors/log.h"

namespace millrace {

/// Replaces CAF's default handlers, which print to stdout, by lines in the log. For every actor,
/// first thing.
void install_handlers(caf::scheduled_actor* self, const Log& log);

}  // namespace millrace

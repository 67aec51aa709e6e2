// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "actors/app_context.h"

namespace millrace {

/// An error if a source topic has more partitions than when the App started: nobody would read the
/// new ones, and what their keys have done so far lies in the state of other tasks. Tasks and
/// changelogs are as many as there were partitions then.
Status check_growth(const AppContext& app, const PartitionCounts& counts);

}  // namespace millrace

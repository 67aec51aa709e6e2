// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Everything of Millrace but the JSON serdes, which are opt-in: `#include <millrace/json.h>`.

#include "millrace/app.h"             // IWYU pragma: export
#include "millrace/config.h"          // IWYU pragma: export
#include "millrace/embedded_kafka.h"  // IWYU pragma: export
#include "millrace/error.h"           // IWYU pragma: export
#include "millrace/processor.h"       // IWYU pragma: export
#include "millrace/serde.h"           // IWYU pragma: export
#include "millrace/stream.h"          // IWYU pragma: export
#include "millrace/test_driver.h"     // IWYU pragma: export
#include "millrace/topic.h"           // IWYU pragma: export
#include "millrace/topology.h"        // IWYU pragma: export

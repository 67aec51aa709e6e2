// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace millrace {

/// The header of a changelog record that withdraws a version: one that a crash has left in the
/// changelog, which no commit covers. A record cannot take it out, since versions are told apart by
/// their times; this one gives the value that was in effect before, so that Kafka Streams, which
/// does not know the header, reads no other value at any time. A restore removes the version: what
/// is processed next must not find a later time answered already.
inline constexpr const char* kWithdrawnHeader = "millrace-withdrawn";

}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
//
// What becomes of a record that cannot be processed, once it is not to be tried again.
#include "millrace/functions.h"
#include "runtime/dead_letter.h"
#include "runtime/task.h"

namespace millrace {
namespace {

// What goes with a kind of error.
struct Failing {
  DropReason reason;
  const char* setting;
  Code code;  // Under the policy fail.
};
Failing failing_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kDecode:
      return {DropReason::kDecodeError, "on_decode_error", Code::kInternal};
    case ErrorKind::kProduce:
      return {DropReason::kProduceError, "on_produce_error", Code::kInvalidArgument};
    case ErrorKind::kProcess:
      break;
  }
  return {DropReason::kUserError, "on_error", Code::kInternal};
}

}  // namespace

// The first source above a node of which this task has a partition.
const Task::Input& Task::input_above(NodeIndex node) const {
  std::vector<NodeIndex> above{node};
  for (std::size_t i = 0; i < above.size(); ++i) {
    const Node& spec = plan_.graph->nodes()[above[i]];
    for (const Input& input : inputs_) {
      if (input.source_name == spec.name) return input;
    }
    above.insert(above.end(), spec.parents.begin(), spec.parents.end());
  }
  return inputs_.front();
}

// Ok where the policy lets the task go on: nothing is left of the record then but a log line, a
// count and, where asked for, a dead letter, which is in the same commit as the record's offset.
Status Task::give_up(const Input& input, ErrorContext error, const HeaderSource* headers) {
  const bool is_record = error.origin.offset >= 0;
  const std::string text = (is_record ? "record " + to_string(error.origin)
                                      : "a change of table " + std::string{error.origin.topic}) +
                           " (timestamp " + std::to_string(to_millis(error.timestamp)) +
                           "): " + std::string{error.message};
  if (input.errors.handler) {
    try {
      error.policy = input.errors.handler(error);
    } catch (const std::exception& thrown) {
      return Status::internal(text + "; and the error handler threw: " + thrown.what());
    } catch (...) {
      return Status::internal(text + "; and the error handler threw no std::exception");
    }
  }
  const Failing failing = failing_of(error.kind);
  if (error.policy == ErrorPolicy::kFail) {
    return Status{failing.code, text +
                                    "; the policy is fail: correct the record or the code, or "
                                    "set " +
                                    failing.setting + " to skip or dead_letter"};
  }
  if (error.policy == ErrorPolicy::kDeadLetter) {
    try {
      write_dead_letter(input, error, headers);
    } catch (const SinkFailure& failure) {
      return failure.status();
    }
  }
  drop(failing.reason);
  say(text + (error.policy == ErrorPolicy::kSkip
                  ? "; skipped"
                  : "; written to " + outputs_[input.dead_letters].topic));
  return {};
}

void Task::write_dead_letter(const Input& input, const ErrorContext& error,
                             const HeaderSource* headers) {
  const Output& output = outputs_[input.dead_letters];
  const auto letter =
      dead_letter(error, plan_.application_id, headers != nullptr ? headers->headers() : Headers{},
                  settings_.message_bytes_max);
  // Those of one partition stay in their order.
  produce_to(input.dead_letters, error.origin.partition % output.target.partitions, letter.key,
             letter.value, error.timestamp, &letter.headers);
  metrics_.dead_letters().add();
}

// Not for each record: there may be a flood of them.
void Task::say(const std::string& text) {
  if (!settings_.log) return;
  say_what_was_left_out();
  if (log_limit_.admit(clock_.elapsed())) settings_.log(LogLevel::kWarn, text);
}

void Task::say_what_was_left_out() {
  const auto count = log_limit_.left_out(clock_.elapsed());
  if (count == 0) return;
  settings_.log(LogLevel::kWarn, "task " + id_text_ + ": " + std::to_string(count) +
                                     " more failures of records, not logged one by one");
}

}  // namespace millrace

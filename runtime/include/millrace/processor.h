// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "millrace/operators.h"

namespace millrace {

/// The context of a processor: adds `forward` to what every user function learns.
template <class K, class V>
class ProcessorContext : public Context {
 public:
  ProcessorContext(const OperatorBuild& build, const std::string& name,
                   const std::vector<ReactionSink>& reactions)
      : Context(build.context(), name, reactions), outputs_(build) {}

  /// Hands a record to the operators behind, now, with the timestamp of the record in hand.
  void forward(const K& key, const V& value) { forward(key, value, this->timestamp()); }
  void forward(const K& key, const V& value, Timestamp timestamp) {
    outputs_.forward({&key, &value, timestamp, this->header_source()});
  }
  /// A null value: a tombstone where a table reads it.
  void forward_tombstone(const K& key) {
    outputs_.forward({&key, nullptr, this->timestamp(), this->header_source()});
  }

 private:
  detail::Outputs<K, V> outputs_;
};

/// User code that sees every record of a stream, may keep stores, and forwards what it likes.
///
/// One object per task, made by the default constructor or the arguments given to `process`, used
/// by one thread at a time. Exceptions go to the error policy, named with topic-partition@offset.
template <class KIn, class VIn, class KOut, class VOut>
class Processor {
 public:
  using Context = ProcessorContext<KOut, VOut>;
  using InputKey = KIn;
  using InputValue = VIn;
  using OutputKey = KOut;
  using OutputValue = VOut;

  virtual ~Processor() = default;

  /// Called once, before the first record: the place to take stores from the context.
  virtual void start(Context& context) { static_cast<void>(context); }
  virtual void process(const Record<KIn, VIn>& record, Context& context) = 0;
};

namespace detail {

template <class P>
class Process final : public Operator,
                      public Receiver<typename P::InputKey, typename P::InputValue> {
 public:
  Process(const OperatorBuild& build, std::unique_ptr<P> processor)
      : name_(build.name()),
        reactions_(build.reactions()),
        context_(build, name_, reactions_),
        processor_(std::move(processor)) {}

  void receive(const Record<typename P::InputKey, typename P::InputValue>& record) override {
    context_.set_record(record.timestamp(), record.header_source());
    user_code(name_, [&] {
      if (!started_) processor_->start(context_);
      started_ = true;
      processor_->process(record, context_);
    });
  }

 private:
  const std::string name_;
  const std::vector<ReactionSink> reactions_;
  typename P::Context context_;
  std::unique_ptr<P> processor_;
  bool started_ = false;
};

}  // namespace detail
}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include "millrace/record.h"
#include "millrace/state_cache.h"

namespace millrace {

/// A user function threw. Made where it was called, judged by the error policy in Task.
class UserCodeError final : public Error {
 public:
  UserCodeError(const std::string& thrower, const std::string& what)
      : Error("user_code", "operator " + thrower + " threw: " + what), operator_name(thrower) {}

  const std::string operator_name;
};

/// The topic could not be written to. Not the user's fault: the task is dropped and starts again.
class SinkFailure final : public Error {
 public:
  explicit SinkFailure(Status status)
      : Error("sink_failure", status.message()), status_(std::move(status)) {}
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  Status status_;
};

namespace detail {

/// Runs user code: what it throws gets the operator's name. Failures of stores, sinks and of
/// operators further down the path pass through as they are.
template <class F>
decltype(auto) user_code(const std::string& operator_name, F&& function) {
  try {
    return std::forward<F>(function)();
  } catch (const UserCodeError&) {
    throw;
  } catch (const StoreFailure&) {
    throw;
  } catch (const SinkFailure&) {
    throw;
  } catch (const std::exception& e) {
    throw UserCodeError(operator_name, e.what());
  } catch (...) {
    throw UserCodeError(operator_name, "something that is no std::exception");
  }
}

/// A function of the whole record. Asked first: a generic lambda gets the record.
template <class F, class K, class V>
concept RecordFunction = std::invocable < const F&,
        const Record<K, V>
& > ;

/// A function of the value alone, or a member pointer.
template <class F, class K, class V>
concept ValueFunction = !RecordFunction<F, K, V> && std::invocable<const F&, const V&>;

/// What operators accept: `f(const Record<K, V>&)`, `f(const V&)` or a member of V.
template <class F, class K, class V>
concept RecordOrValueFunction = RecordFunction<F, K, V> || ValueFunction<F, K, V>;

template <class F, class K, class V>
decltype(auto) call(const F& function, const Record<K, V>& record) {
  if constexpr (RecordFunction<F, K, V>) {
    return std::invoke(function, record);
  } else {
    return std::invoke(function, record.value());
  }
}

template <class F, class K, class V>
using CallResult = std::remove_cvref_t<decltype(call(std::declval<const F&>(),
                                                     std::declval<const Record<K, V>&>()))>;

}  // namespace detail
}  // namespace millrace

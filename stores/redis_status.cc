// SPDX-License-Identifier: Apache-2.0
#include "stores/redis_status.h"

#include <algorithm>
#include <array>
#include <string>

namespace millrace {
namespace {

constexpr std::array kNotNow =
    std::to_array<std::string_view>({"LOADING", "MASTERDOWN", "BUSY", "OOM", "MISCONF", "READONLY",
                                     "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "UNKILLABLE"});
constexpr std::array kNotAllowed =
    std::to_array<std::string_view>({"NOAUTH", "WRONGPASS", "NOPERM", "DENIED", "NOPROTO"});

std::string_view code_of(std::string_view error) { return error.substr(0, error.find(' ')); }

template <class Codes>
bool is_one_of(std::string_view code, const Codes& codes) {
  return std::ranges::find(codes, code) != codes.end();
}

}  // namespace

Status redis_error(std::string_view error, std::string_view action, std::string_view where) {
  const std::string message =
      "cannot " + std::string{action} + " in " + std::string{where} + ": " + std::string{error};
  const std::string_view code = code_of(error);
  if (is_one_of(code, kNotNow)) return Status::unavailable(message);
  if (is_one_of(code, kNotAllowed)) {
    return Status::invalid_argument(message + "; check redis_user, redis_password and its rights");
  }
  if (code == "MOVED" || code == "ASK" || code == "CROSSSLOT") {
    return Status::invalid_argument(message + "; a Redis cluster is not supported");
  }
  if (code == "WRONGTYPE") {
    return Status::corruption(message + "; somebody else uses these names");
  }
  return Status::internal(message);
}

bool redis_must_reconnect(std::string_view error) {
  const std::string_view code = code_of(error);
  return code == "READONLY" || code == "MASTERDOWN";
}

Status redis_login_error(std::string_view error, std::string_view where) {
  const std::string_view code = code_of(error);
  const std::string action = "log in";
  if (is_one_of(code, kNotNow)) return redis_error(code, action, where);
  return Status::invalid_argument("cannot log in to " + std::string{where} + " (" +
                                  std::string{code} + "); check redis_user and redis_password");
}

}  // namespace millrace

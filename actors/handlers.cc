// SPDX-License-Identifier: Apache-2.0
#include "actors/handlers.h"

#include <caf/message.hpp>
#include <caf/result.hpp>
#include <caf/sec.hpp>
#include <caf/system_messages.hpp>

namespace millrace {

void install_handlers(caf::scheduled_actor* self, const Log& log) {
  self->set_default_handler(
      [&log, name = std::string{self->name()}](caf::scheduled_actor*,
                                               caf::message_view&) -> caf::result<caf::message> {
        log.error("actor " + name + ": unexpected message");
        return caf::sec::unexpected_message;
      });
  self->set_exception_handler([&log, name = std::string{self->name()}](
                                  caf::scheduled_actor*, std::exception_ptr& thrown) -> caf::error {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      log.error("actor " + name + " failed: " + e.what());
    } catch (...) {
      log.error("actor " + name + " failed");
    }
    return caf::sec::runtime_error;
  });
  self->set_down_handler([](caf::scheduled_actor*, caf::down_msg&) {});
  self->set_error_handler(
      [&log, name = std::string{self->name()}](caf::scheduled_actor*, caf::error&) {
        log.error("actor " + name + ": a request got an error for an answer");
      });
}

}  // namespace millrace

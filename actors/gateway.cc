// SPDX-License-Identifier: Apache-2.0
#include "actors/gateway.h"

#include <algorithm>
#include <boost/beast/core/detail/base64.hpp>
#include <nlohmann/json.hpp>

#include "actors/http_address.h"
#include "actors/store_reader.h"

namespace millrace {
namespace {

constexpr int kOk = 200;
constexpr int kBadRequest = 400;
constexpr int kNotFound = 404;
constexpr int kServerError = 500;
constexpr int kUnavailable = 503;

constexpr std::string_view kEndpoints =
    "/metrics, /livez, /readyz, /startupz, /status, /topology, /stores/NAME/KEY";

HttpResponse text(int status, std::string body) { return {status, "text/plain; charset=utf-8", std::move(body), {}}; }

namespace base64 = boost::beast::detail::base64;

std::string base64_encoded(std::string_view bytes) {
  std::string out(base64::encoded_size(bytes.size()), '\0');
  out.resize(base64::encode(out.data(), bytes.data(), bytes.size()));
  return out;
}

// nullopt for what is no base64.
std::optional<std::string> base64_decoded(std::string encoded) {
  // In a query '+' arrives as a space; the URL-safe alphabet is taken too.
  std::replace(encoded.begin(), encoded.end(), ' ', '+');
  std::replace(encoded.begin(), encoded.end(), '-', '+');
  std::replace(encoded.begin(), encoded.end(), '_', '/');
  std::string out(base64::decoded_size(encoded.size()) + 3, '\0');
  const auto [written, taken] = base64::decode(out.data(), encoded.data(), encoded.size());
  // It stops at what it does not know; only padding may be left.
  if (encoded.find_first_not_of('=', taken) != std::string::npos || encoded.size() - taken > 2) return std::nullopt;
  out.resize(written);
  return out;
}

// Liveness asks nothing of Kafka: a broker outage must not make an orchestrator kill the process.
HttpResponse live(const AppContext& app) {
  const AppState state = app.board.app_state();
  const bool alive = state != AppState::kError && state != AppState::kStopped;
  return text(alive ? kOk : kUnavailable, std::string{to_string(state)} + "\n");
}

HttpResponse ready(const AppContext& app) {
  const AppState state = app.board.app_state();
  return text(state == AppState::kRunning ? kOk : kUnavailable, std::string{to_string(state)} + "\n");
}

HttpResponse started(const AppContext& app) {
  return text(app.board.was_running() ? kOk : kUnavailable, std::string{to_string(app.board.app_state())} + "\n");
}

std::string entry_json(const std::string& store, const std::string& key_text, const StoreEntry& entry) {
  nlohmann::json body{{"store", store}, {"key", key_text}, {"timestamp", to_millis(entry.timestamp)}};
  if (!entry.json.empty()) {
    body["value"] = nlohmann::json::parse(entry.json, nullptr, false);
  } else {
    body["value_base64"] = base64_encoded(entry.value);
    body["value_bytes"] = entry.value.size();
  }
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void store_entry(AppContext& app, const HttpRequest& request, const HttpRespond& respond) {
  const std::string& name = request.segments[1];
  const auto place = app.graph->find_store(name);
  if (!place) return respond(http_error(kNotFound, "unknown_store", "there is no store '" + name + "'"));
  const StoreSpec& spec = app.graph->stores()[*place];
  if (spec.layout.kind() != StoreKind::kKeyValue) {
    return respond(http_error(kBadRequest, "store_type",
                              "store '" + name + "' is a " + std::string{to_string(spec.layout.kind())} +
                                  " store; only key-value stores can be queried by key"));
  }

  std::optional<std::string> key;
  std::string key_text;
  const auto asked = request.query.find("key");
  if (asked != request.query.end()) key_text = asked->second;
  constexpr std::string_view kBase64 = "base64:";
  if (request.segments.size() > 2) {
    key_text = request.segments[2];
    key = spec.key->from_text(key_text);
  } else if (key_text.starts_with(kBase64)) {
    key = base64_decoded(key_text.substr(kBase64.size()));
  } else if (asked != request.query.end()) {
    key = spec.key->from_text(key_text);
  }
  if (!key) {
    return respond(http_error(kBadRequest, "bad_key",
                              "'" + key_text + "' is no key of store '" + name +
                                  "': text and decimal integers are written as they are, other keys as "
                                  "/stores/" + name + "?key=base64:..."));
  }
  read_entry(app, name, *key, [respond, name, key_text](Result<std::optional<StoreEntry>> entry) {
    if (!entry) {
      const bool retry = entry.error().code() == Code::kUnavailable;
      return respond(http_error(retry ? kUnavailable : kServerError, to_string(entry.error().code()), entry.error().message()));
    }
    if (!entry->has_value()) {
      return respond(http_error(kNotFound, "no_such_key", "store '" + name + "' has no key '" + key_text + "'"));
    }
    respond({kOk, "application/json", entry_json(name, key_text, **entry), {}});
  });
}

void handle(AppContext& app, const HttpRequest& request, const HttpRespond& respond) {
  const auto& path = request.segments;
  const std::string first = path.empty() ? "" : path[0];
  if (path.size() == 1) {
    if (first == "metrics") {
      return respond({kOk, "text/plain; version=0.0.4; charset=utf-8", app.registry.text(), {}});
    }
    if (first == "livez") return respond(live(app));
    if (first == "readyz") return respond(ready(app));
    if (first == "startupz") return respond(started(app));
    if (first == "status") return respond({kOk, "application/json", status_json(app), {}});
    if (first == "topology") return respond(text(kOk, app.graph->describe()));
  }
  if (first == "stores" && (path.size() == 2 || path.size() == 3)) return store_entry(app, request, respond);
  respond(http_error(kNotFound, "not_found", "there is nothing at '" + request.path + "'; try " + std::string{kEndpoints}));
}

nlohmann::json task_json(TaskId id, const TaskStatus& task) {
  nlohmann::json inputs = nlohmann::json::array();
  for (const auto& input : task.inputs) {
    inputs.push_back({{"topic", input.partition.topic},
                      {"partition", input.partition.partition},
                      {"position", input.position},
                      {"committed", input.committed},
                      {"lag", input.lag < 0 ? nlohmann::json(nullptr) : nlohmann::json(input.lag)}});
  }
  nlohmann::json stores = nlohmann::json::array();
  for (const auto& store : task.stores) {
    stores.push_back({{"name", store.name},
                      {"engine", store.engine},
                      {"entries_estimate", store.entries},
                      {"disk_bytes", store.disk_bytes},
                      {"restore", {{"position", store.restore_position},
                                   {"end", store.restore_end},
                                   {"remaining", store.restore_end - store.restore_position},
                                   {"eta_s", store.restore_eta_s}}}});
  }
  return {{"id", to_string(id)},   {"state", to_string(task.state)}, {"inputs", inputs},
          {"stores", stores},      {"restarts", task.restarts},      {"error", task.error}};
}

}  // namespace

std::string status_json(const AppContext& app) {
  nlohmann::json tasks = nlohmann::json::array();
  nlohmann::json assignment = nlohmann::json::array();
  for (const auto& [id, task] : app.board.tasks()) {
    tasks.push_back(task_json(id, task));
    for (const auto& input : task.inputs) assignment.push_back(to_string(input.partition));
  }
  const nlohmann::json body{{"application_id", app.config.application_id},
                            {"state", to_string(app.board.app_state())},
                            {"error", app.board.error()},
                            {"version", MILLRACE_VERSION},
                            {"guarantee", to_string(app.config.guarantee)},
                            {"assignment", assignment},
                            {"tasks", tasks}};
  return body.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<std::unique_ptr<Gateway>> Gateway::start(AppContext& app) {
  auto where = parse_http_address(app.config.http);
  if (!where) return where.error();
  HttpOptions options;
  options.address = where->first;
  options.port = where->second;
  options.on_error = [&app](const std::string& what) { app.log.warn("HTTP: " + what); };
  auto server = HttpServer::start(std::move(options), [&app](const HttpRequest& request, HttpRespond respond) {
    handle(app, request, respond);
  });
  if (!server) return server.error();
  const std::string& host = (*server)->address();
  const std::string shown = host.find(':') == std::string::npos ? host : "[" + host + "]";
  std::string address = shown + ":" + std::to_string((*server)->port());
  return std::unique_ptr<Gateway>{new Gateway(*std::move(server), std::move(address))};
}

}  // namespace millrace

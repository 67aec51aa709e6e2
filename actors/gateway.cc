// SPDX-License-Identifier: Apache-2.0
#include "actors/gateway.h"

#include <algorithm>
#include <boost/beast/core/detail/base64.hpp>
#include <charconv>
#include <cstddef>
#include <memory>
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

HttpResponse text(int status, std::string body) {
  return {status, "text/plain; charset=utf-8", std::move(body), {}};
}

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
  if (encoded.find_first_not_of('=', taken) != std::string::npos || encoded.size() - taken > 2)
    return std::nullopt;
  out.resize(written);
  return out;
}

// Liveness asks nothing of Kafka: a broker outage must not make an orchestrator kill the process.
HttpResponse live(const AppContext& app) {
  const AppState state = app.board.app_state();
  const bool alive = state != AppState::kError && state != AppState::kStopped;
  if (const auto hanging = app.watchdog.hanging(); alive && !hanging.empty())
    return text(kUnavailable, hanging);
  return text(alive ? kOk : kUnavailable, std::string{to_string(state)} + "\n");
}

HttpResponse ready(const AppContext& app) {
  const AppState state = app.board.app_state();
  return text(state == AppState::kRunning ? kOk : kUnavailable,
              std::string{to_string(state)} + "\n");
}

HttpResponse started(const AppContext& app) {
  return text(app.board.was_running() ? kOk : kUnavailable,
              std::string{to_string(app.board.app_state())} + "\n");
}

// The value as JSON where its type has that, else in base64.
void put_value(const StoreSpec& spec, const StoredEntry& entry, nlohmann::json& body) {
  const ValueOps& ops = *spec.value;
  body["timestamp"] = to_millis(entry.timestamp);
  if (ops.to_json != nullptr) {
    const auto room =
        std::make_unique_for_overwrite<std::max_align_t[]>(ops.size / sizeof(std::max_align_t) + 1);
    if (ops.decode(entry.value, room.get()).ok()) {
      body["value"] = nlohmann::json::parse(ops.to_json(room.get()), nullptr, false);
      ops.destroy(room.get());
      return;
    }
  }
  // Of a version: without the byte that says whether it has a value.
  const std::string_view value{entry.value};
  const std::string_view bytes =
      spec.layout.kind() == StoreKind::kVersioned ? value.substr(1) : value;
  body["value_base64"] = base64_encoded(bytes);
  body["value_bytes"] = bytes.size();
}

// What a store has under a key: an entry, or those of a window or session store.
nlohmann::json found_json(const StoreSpec& spec, const ReadPage& page) {
  nlohmann::json body;
  if (!spec.layout.expires()) {
    put_value(spec, page.entries.front(), body);
    return body;
  }
  body["entries"] = nlohmann::json::array();
  body["more"] = page.resume.has_value();
  const bool session = spec.layout.kind() == StoreKind::kSession;
  for (const auto& entry : page.entries) {
    nlohmann::json shown{{"start", session ? entry.detail : entry.time}};
    if (session) shown["end"] = entry.time;
    put_value(spec, entry, shown);
    body["entries"].push_back(std::move(shown));
  }
  return body;
}

bool is_deleted_version(const StoreSpec& spec, const StoredEntry& entry) {
  return spec.layout.kind() == StoreKind::kVersioned &&
         entry.value.starts_with(KeyLayout::kDeletedVersion);
}

// Sets what the query of the URL says beside the key; what is wrong with it, else empty.
std::string read_options(const HttpRequest& request, StoreKind kind, ReadRequest& read) {
  for (const auto& [name, value] : request.query) {
    if (name == "key") continue;
    if (name == "level") {
      if (value != "latest" && value != "committed")
        return "level is latest or committed, not '" + value + "'";
      read.level = value == "latest" ? ReadLevel::kLatest : ReadLevel::kCommitted;
      continue;
    }
    std::int64_t* const target = name == "from"                    ? &read.time_from
                                 : name == "to" || name == "as_of" ? &read.time_to
                                                                   : nullptr;
    if (target == nullptr)
      return "there is no parameter '" + name + "'; there are key, level, from, to and as_of";
    const bool timed = kind == StoreKind::kWindow || kind == StoreKind::kSession;
    if (name == "as_of" ? kind != StoreKind::kVersioned : !timed) {
      return name + " is for " + (name == "as_of" ? "versioned" : "window and session") +
             " stores, this one is a " + std::string{to_string(kind)} + " store; leave it out";
    }
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), *target);
    if (error != std::errc{} || end != value.data() + value.size()) {
      return name + " is a time in milliseconds, not '" + value + "'";
    }
  }
  return {};
}

void store_entry(AppContext& app, const HttpRequest& request, const HttpRespond& respond) {
  const std::string& name = request.segments[1];
  const auto place = app.graph->find_store(name);
  if (!place)
    return respond(http_error(kNotFound, "unknown_store", "there is no store '" + name + "'"));
  const StoreSpec& spec = app.graph->stores()[*place];

  ReadRequest read;
  std::string key_text;
  const auto asked = request.query.find("key");
  if (asked != request.query.end()) key_text = asked->second;
  constexpr std::string_view kBase64 = "base64:";
  if (request.segments.size() > 2) {
    key_text = request.segments[2];
    read.key = spec.key->from_text(key_text);
  } else if (key_text.starts_with(kBase64)) {
    read.key = base64_decoded(key_text.substr(kBase64.size()));
  } else if (asked != request.query.end()) {
    read.key = spec.key->from_text(key_text);
  }
  if (!read.key) {
    return respond(
        http_error(kBadRequest, "bad_key",
                   "'" + key_text + "' is no key of store '" + name +
                       "': text and decimal integers are written as they are, other keys as "
                       "/stores/" +
                       name + "?key=base64:..."));
  }
  if (const auto wrong = read_options(request, spec.layout.kind(), read); !wrong.empty()) {
    return respond(http_error(kBadRequest, "bad_parameter", wrong));
  }
  read_key(app, name, read, [respond, name, key_text, &spec](Result<KeyPage> answer) {
    if (!answer) {
      const auto reason = not_ready_reason(answer.error());
      return respond(http_error(reason ? kUnavailable : kServerError,
                                reason ? to_string(*reason) : to_string(answer.error().code()),
                                answer.error().message()));
    }
    const auto& entries = answer->page.entries;
    const bool more = spec.layout.expires() && answer->page.resume;
    if ((entries.empty() && !more) ||
        (!entries.empty() && is_deleted_version(spec, entries.front()))) {
      return respond(http_error(kNotFound, "no_such_key",
                                "store '" + name + "' has no key '" + key_text + "'"));
    }
    auto body = found_json(spec, answer->page);
    body["store"] = name;
    body["key"] = key_text;
    respond({kOk,
             "application/json",
             body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
             {}});
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
  if (first == "stores" && (path.size() == 2 || path.size() == 3))
    return store_entry(app, request, respond);
  respond(http_error(kNotFound, "not_found",
                     "there is nothing at '" + request.path + "'; try " + std::string{kEndpoints}));
}

nlohmann::json task_json(TaskId id, const TaskStatus& task) {
  nlohmann::json inputs = nlohmann::json::array();
  for (const auto& input : task.inputs) {
    inputs.push_back(
        {{"topic", input.partition.topic},
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
                      {"restore",
                       {{"position", store.restore_position},
                        {"end", store.restore_end},
                        {"remaining", store.restore_end - store.restore_position},
                        {"eta_s", store.restore_eta_s}}}});
  }
  return {{"id", to_string(id)}, {"state", to_string(task.state)}, {"inputs", inputs},
          {"stores", stores},    {"restarts", task.restarts},      {"error", task.error}};
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
  auto server = HttpServer::start(
      std::move(options),
      [&app](const HttpRequest& request, HttpRespond respond) { handle(app, request, respond); });
  if (!server) return server.error();
  const std::string& host = (*server)->address();
  const std::string shown = host.find(':') == std::string::npos ? host : "[" + host + "]";
  std::string address = shown + ":" + std::to_string((*server)->port());
  return std::unique_ptr<Gateway>{new Gateway(*std::move(server), std::move(address))};
}

}  // namespace millrace

// SPDX-License-Identifier: Apache-2.0
#include "actors/http_server.h"

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/actors/http_client.h"

using namespace millrace;
using namespace std::chrono_literals;

namespace {

// Long enough never to pass in a test, short enough for a hanging test to end.
constexpr auto kNever = 60s;

HttpOptions patient() {
  HttpOptions options;
  options.header_timeout = kNever;
  options.idle_timeout = kNever;
  options.request_timeout = kNever;
  return options;
}

std::unique_ptr<HttpServer> started(HttpOptions options, HttpHandler handler) {
  auto server = HttpServer::start(std::move(options), std::move(handler));
  if (!server) BOOST_FAIL(server.error().message());
  return std::move(*server);
}

HttpResponse text(std::string body) {
  HttpResponse response;
  response.content_type = "text/plain";
  response.body = std::move(body);
  return response;
}

void answer_with_path(const HttpRequest& request, const HttpRespond& respond) {
  respond(text(request.method + " " + request.path));
}

// More than the buffers of both ends of a connection hold.
std::string large_body() {
  std::string body;
  body.resize(32'000'000, 'x');
  return body;
}

std::string request_with_host(const std::string& host) {
  return "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(http_server)

BOOST_AUTO_TEST_CASE(request_reaches_the_handler_and_its_answer_the_client) {
  std::promise<HttpRequest> seen;
  const auto server =
      started(patient(), [&](const HttpRequest& request, const HttpRespond& respond) {
        seen.set_value(request);
        HttpResponse response = text("hello");
        response.headers.emplace_back("X-Own", "1");
        respond(response);
      });
  BOOST_TEST(server->port() != 0);
  BOOST_TEST(server->address() == "127.0.0.1");

  HttpClient client{server->port()};
  client.send(
      "GET /stores/a%2Fb?limit=10 HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\nx-a: 2\r\n"
      "Content-Length: 3\r\n\r\nxyz");
  const auto answer = client.read_answer();
  BOOST_TEST(answer.status == 200);
  BOOST_TEST(answer.body == "hello");
  for (const char* header :
       {"Content-Type: text/plain", "Content-Length: 5", "X-Own: 1", "Cache-Control: no-store"}) {
    BOOST_CHECK_MESSAGE(answer.has(header), answer.head);
  }
  BOOST_TEST(answer.head.find("Server:") == std::string::npos);

  const HttpRequest request = seen.get_future().get();
  BOOST_TEST(request.method == "GET");
  BOOST_TEST(request.path == "/stores/a%2Fb");
  BOOST_TEST(request.segments.at(1) == "a/b");
  BOOST_TEST(request.query.at("limit") == "10");
  BOOST_TEST(request.headers.at("x-a") == "1, 2");
  BOOST_TEST(request.body == "xyz");
}

BOOST_AUTO_TEST_CASE(connection_is_kept_and_serves_pipelined_requests_in_order) {
  const auto server = started(patient(), answer_with_path);
  HttpClient client{server->port()};
  BOOST_TEST(client.get("/1").body == "GET /1");
  BOOST_TEST(client.get("/2").body == "GET /2");
  client.send(
      "GET /3 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /4 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  BOOST_TEST(client.read_answer().body == "GET /3");
  BOOST_TEST(client.read_answer().body == "GET /4");
}

BOOST_AUTO_TEST_CASE(connection_closes_when_the_client_says_so) {
  const auto server = started(patient(), answer_with_path);
  for (const char* request : {"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                              "GET / HTTP/1.0\r\n\r\n"}) {
    HttpClient client{server->port()};
    client.send(request);
    BOOST_TEST(client.read_answer().status == 200);
    BOOST_TEST(client.closes_without_a_word());
  }
}

BOOST_AUTO_TEST_CASE(head_is_answered_like_get_without_the_body) {
  const auto server = started(patient(), answer_with_path);
  HttpClient client{server->port()};
  const auto answer = client.get("/a", "HEAD");
  BOOST_TEST(answer.status == 200);
  BOOST_TEST(answer.has("Content-Length: 7"));
  BOOST_TEST(client.get("/b").body == "GET /b");  // Nothing of a body was in between.
}

BOOST_AUTO_TEST_CASE(other_methods_are_refused_with_those_allowed) {
  const auto server = started(patient(), answer_with_path);
  for (const char* method : {"POST", "DELETE", "OPTIONS", "MADEUP"}) {
    HttpClient client{server->port()};
    const auto answer = client.get("/", method);
    BOOST_TEST(answer.status == 405);
    BOOST_TEST(answer.has("Allow: GET, HEAD"));
    BOOST_TEST(client.closes_without_a_word());
  }
}

BOOST_AUTO_TEST_CASE(malformed_requests_are_answered_400) {
  const auto server = started(patient(), answer_with_path);
  const std::string both_lengths =  // Two readings of where the body ends: request smuggling.
      "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
      "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  for (const char* request :
       {"nonsense\r\n\r\n", "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /?a=% HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", both_lengths.c_str()}) {
    HttpClient client{server->port()};
    client.send(request);
    const auto answer = client.read_answer();
    BOOST_CHECK_MESSAGE(answer.status == 400, request << answer.head);
    BOOST_TEST(answer.body.find("\"bad_request\"") != std::string::npos);
    BOOST_TEST(client.closes_without_a_word());
  }
}

BOOST_AUTO_TEST_CASE(headers_beyond_the_limit_are_answered_431) {
  HttpOptions options = patient();
  options.header_bytes_max = 512;
  const auto server = started(options, answer_with_path);
  const std::string much(100'000, 'x');
  for (const std::string& request :
       {"GET /" + much + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Much: " + much + "\r\n\r\n"}) {
    HttpClient client{server->port()};
    client.send(request);
    BOOST_TEST(client.read_answer().status == 431);
    BOOST_TEST(client.closes_without_a_word());
  }
  HttpClient client{server->port()};
  client.send("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(400, 'x') + "\r\n\r\n");
  BOOST_TEST(client.read_answer().status == 200);
}

BOOST_AUTO_TEST_CASE(bodies_beyond_the_limit_are_answered_413) {
  HttpOptions options = patient();
  options.body_bytes_max = 10;
  const auto server = started(options, [](const HttpRequest& request, const HttpRespond& respond) {
    respond(text(request.body));
  });
  const std::string head = "GET / HTTP/1.1\r\nHost: localhost\r\n";
  for (const char* rest : {"Content-Length: 11\r\n\r\n01234567890",
                           "Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n"}) {
    HttpClient client{server->port()};
    client.send(head + rest);
    BOOST_TEST(client.read_answer().status == 413);
    BOOST_TEST(client.closes_without_a_word());
  }
  HttpClient client{server->port()};
  client.send(head + "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n");
  BOOST_TEST(client.read_answer().body == "0123456789");
}

// A client that never completes its header is cut off after the header's time, however often it
// sends a byte; the test waits for the closing, and the long idle timeout cannot be the reason.
BOOST_AUTO_TEST_CASE(slow_header_is_cut_off) {
  HttpOptions options = patient();
  options.header_timeout = 100ms;
  const auto server = started(options, answer_with_path);
  HttpClient silent{server->port()};
  BOOST_TEST(silent.closes_without_a_word());
  HttpClient slow{server->port()};
  slow.send("GET / HTTP/1.1\r\nHost: loc");
  BOOST_TEST(slow.closes_without_a_word());
  HttpClient slow_later{server->port()};
  BOOST_TEST(slow_later.get("/").status == 200);
  slow_later.send("G");
  BOOST_TEST(slow_later.closes_without_a_word());
}

BOOST_AUTO_TEST_CASE(slow_body_is_cut_off) {
  HttpOptions options = patient();
  options.request_timeout = 100ms;
  const auto server = started(options, answer_with_path);
  HttpClient client{server->port()};
  client.send("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc");
  BOOST_TEST(client.closes_without_a_word());
}

BOOST_AUTO_TEST_CASE(idle_connection_is_closed) {
  HttpOptions options = patient();
  options.idle_timeout = 50ms;
  const auto server = started(options, answer_with_path);
  HttpClient client{server->port()};
  BOOST_TEST(client.get("/").status == 200);
  BOOST_TEST(client.closes_without_a_word());
}

// Or a few hundred of them would keep the probe of an orchestrator out, which then kills the
// process.
BOOST_AUTO_TEST_CASE(idle_connections_make_room_for_new_ones_the_longest_idle_first) {
  HttpOptions options = patient();
  options.connections_max = 3;
  const auto server = started(options, answer_with_path);
  HttpClient silent{server->port()};
  HttpClient first{server->port()};
  BOOST_TEST(first.get("/").status == 200);
  HttpClient second{server->port()};
  BOOST_TEST(second.get("/").status == 200);
  HttpClient third{server->port()};
  BOOST_TEST(third.get("/livez").status == 200);
  BOOST_TEST(silent.closes_without_a_word());
  HttpClient fourth{server->port()};
  BOOST_TEST(fourth.get("/livez").status == 200);
  BOOST_TEST(first.closes_without_a_word());
  BOOST_TEST(second.get("/").status == 200);
}

BOOST_AUTO_TEST_CASE(connections_at_work_are_kept_and_others_closed_beyond_the_limit) {
  HttpOptions options = patient();
  options.connections_max = 2;
  std::mutex mutex;
  std::vector<HttpRespond> waiting;
  std::latch both{2};
  const auto server = started(options, [&](const HttpRequest&, const HttpRespond& respond) {
    const std::lock_guard lock{mutex};
    waiting.push_back(respond);
    if (waiting.size() <= 2) both.count_down();
  });
  HttpClient first{server->port()};
  HttpClient second{server->port()};
  for (HttpClient* client : {&first, &second}) {
    client->send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  }
  both.wait();
  HttpClient third{server->port()};
  BOOST_TEST(third.closes_without_a_word());
  for (const auto& respond : waiting) respond(text("done"));
  BOOST_TEST(first.read_answer().body == "done");
  BOOST_TEST(second.read_answer().body == "done");
}

BOOST_AUTO_TEST_CASE(answer_may_come_from_another_thread_later) {
  std::thread worker;
  const auto server =
      started(patient(), [&](const HttpRequest& request, const HttpRespond& respond) {
        worker = std::thread{[respond, path = request.path] {
          respond(text("later " + path));
          respond(text("ignored"));
        }};
      });
  HttpClient client{server->port()};
  BOOST_TEST(client.get("/a").body == "later /a");
  worker.join();
  BOOST_TEST(client.get("/b").body == "later /b");
  worker.join();
}

BOOST_AUTO_TEST_CASE(missing_answer_is_504_and_a_late_one_goes_nowhere) {
  HttpOptions options = patient();
  options.request_timeout = 50ms;
  HttpRespond late;  // Used by the handler, on the server's thread, only.
  const auto server =
      started(options, [&late](const HttpRequest& request, const HttpRespond& respond) {
        if (request.path == "/never") {
          late = respond;
        } else {
          late(text("late"));
          respond(text("in time"));
        }
      });
  HttpClient client{server->port()};
  BOOST_TEST(client.get("/never").status == 504);
  BOOST_TEST(client.get("/a").body == "in time");
}

BOOST_AUTO_TEST_CASE(handler_that_throws_is_answered_500_and_reported) {
  std::promise<std::string> reported;
  HttpOptions options = patient();
  options.on_error = [&reported](const std::string& message) { reported.set_value(message); };
  const auto server = started(options, [](const HttpRequest& request, const HttpRespond& respond) {
    if (request.path == "/good") return respond(text("good"));
    throw std::runtime_error("secret cause");
  });
  HttpClient client{server->port()};
  const auto answer = client.get("/bad");
  BOOST_TEST(answer.status == 500);
  BOOST_TEST(answer.body.find("secret") == std::string::npos);
  BOOST_TEST(reported.get_future().get() == "the handler of /bad threw: secret cause");
  BOOST_TEST(client.get("/good").body == "good");
}

BOOST_AUTO_TEST_CASE(answer_that_would_break_the_protocol_is_replaced_by_500) {
  const auto server =
      started(patient(), [](const HttpRequest& request, const HttpRespond& respond) {
        HttpResponse response = text("x");
        if (request.path == "/header") response.headers.emplace_back("X-A", "1\r\nX-B: 2");
        if (request.path == "/type") response.content_type = "text/plain\n";
        if (request.path == "/status") response.status = 1000;
        respond(response);
      });
  HttpClient client{server->port()};
  for (const char* path : {"/header", "/type", "/status"}) {
    BOOST_TEST(client.get(path).status == 500, path);
  }
}

BOOST_AUTO_TEST_CASE(status_without_body_drops_the_body) {
  const auto server = started(patient(), [](const HttpRequest&, const HttpRespond& respond) {
    HttpResponse response = text("dropped");
    response.status = 204;
    respond(response);
  });
  HttpClient client{server->port()};
  BOOST_TEST(client.get("/").status == 204);
  BOOST_TEST(client.get("/").status == 204);
}

BOOST_AUTO_TEST_CASE(large_answer_arrives_whole) {
  const std::string large = large_body();
  const auto server = started(
      patient(), [&](const HttpRequest&, const HttpRespond& respond) { respond(text(large)); });
  HttpClient client{server->port()};
  BOOST_CHECK(client.get("/").body == large);
}

BOOST_AUTO_TEST_CASE(foreign_host_is_refused_on_loopback) {
  const auto server = started(patient(), answer_with_path);
  HttpClient rebound{server->port()};
  rebound.send(request_with_host("evil.example:" + std::to_string(server->port())));
  const auto answer = rebound.read_answer();
  BOOST_TEST(answer.status == 421);
  BOOST_TEST(answer.body.find("host_not_allowed") != std::string::npos);
  HttpClient client{server->port()};
  for (const char* host : {"localhost", "127.0.0.1:80", "[::1]"}) {
    client.send(request_with_host(host));
    BOOST_TEST(client.read_answer().status == 200, host);
  }
}

BOOST_AUTO_TEST_CASE(host_check_can_be_widened_and_switched_off) {
  HttpOptions widened = patient();
  widened.allowed_hosts = {"bank.example"};
  HttpOptions unchecked = patient();
  unchecked.check_host = false;
  for (const HttpOptions& options : {widened, unchecked}) {
    const auto server = started(options, answer_with_path);
    HttpClient client{server->port()};
    client.send(request_with_host("bank.example"));
    BOOST_TEST(client.read_answer().status == 200);
  }
}

BOOST_AUTO_TEST_CASE(taken_port_and_unknown_address_are_named) {
  const auto server = started(patient(), answer_with_path);
  HttpOptions taken;
  taken.port = server->port();
  const auto second = HttpServer::start(taken, answer_with_path);
  BOOST_REQUIRE(!second.has_value());
  BOOST_CHECK(second.error().code() == Code::kInvalidArgument);
  BOOST_TEST(second.error().message() ==
             "cannot listen on 127.0.0.1:" + std::to_string(server->port()) +
                 ": Address already in use");

  for (const char* address : {"192.0.2.1", "300.0.0.1", "no such name"}) {
    HttpOptions bad;
    bad.address = address;
    const auto result = HttpServer::start(bad, answer_with_path);
    BOOST_REQUIRE(!result.has_value());
    BOOST_CHECK(result.error().code() == Code::kInvalidArgument);
    BOOST_TEST(result.error().message().find(address) != std::string::npos);
  }
}

// Connections in every state must not delay stop(), and must be closed when it returns.
BOOST_AUTO_TEST_CASE(stop_is_prompt_with_open_connections) {
  std::promise<HttpRespond> held;
  const auto server =
      started(patient(), [&held](const HttpRequest& request, const HttpRespond& respond) {
        if (request.path == "/held") return held.set_value(respond);
        respond(text(large_body()));
      });
  HttpClient silent{server->port()};
  HttpClient half{server->port()};
  half.send("GET / HT");
  HttpClient not_reading{server->port()};
  not_reading.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
  HttpClient waiting{server->port()};
  waiting.send("GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const HttpRespond respond = held.get_future().get();

  const auto begin = std::chrono::steady_clock::now();
  server->stop();
  BOOST_CHECK(std::chrono::steady_clock::now() - begin < 1s);
  BOOST_TEST(silent.closes_without_a_word());
  BOOST_TEST(half.closes_without_a_word());
  BOOST_TEST(waiting.closes_without_a_word());
  BOOST_CHECK_THROW(HttpClient{server->port()}, std::runtime_error);
  respond(text("too late"));
  server->stop();
}

BOOST_AUTO_TEST_CASE(answer_may_come_when_the_server_is_gone) {
  std::promise<HttpRespond> held;
  auto server = started(patient(), [&held](const HttpRequest&, const HttpRespond& respond) {
    held.set_value(respond);
  });
  HttpClient client{server->port()};
  client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const HttpRespond respond = held.get_future().get();
  server.reset();
  respond(text("too late"));
  BOOST_TEST(client.closes_without_a_word());
}

// Answers from other threads race with stop(): a sanitizer would see a session or an io_context
// used after its end.
BOOST_AUTO_TEST_CASE(stop_may_race_with_answers) {
  for (int round = 0; round < 20; ++round) {
    std::mutex mutex;
    std::vector<std::thread> workers;
    auto server = started(patient(), [&](const HttpRequest&, const HttpRespond& respond) {
      const std::lock_guard lock{mutex};
      workers.emplace_back([respond] { respond(text("x")); });
    });
    std::vector<std::unique_ptr<HttpClient>> clients;
    for (int i = 0; i < 4; ++i) {
      clients.push_back(std::make_unique<HttpClient>(server->port()));
      clients.back()->send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    BOOST_TEST(clients.front()->read_answer().status == 200);
    server.reset();
    for (auto& worker : workers) worker.join();
  }
}

BOOST_AUTO_TEST_CASE(stopped_port_is_free_at_once) {
  auto server = started(patient(), answer_with_path);
  HttpOptions options = patient();
  options.port = server->port();
  HttpClient client{server->port()};
  BOOST_TEST(client.get("/").status == 200);
  server.reset();
  const auto again = started(options, answer_with_path);
  HttpClient next{again->port()};
  BOOST_TEST(next.get("/").status == 200);
}

BOOST_AUTO_TEST_SUITE_END()

// SPDX-License-Identifier: Apache-2.0
#include "actors/http_address.h"

#include <boost/test/unit_test.hpp>
#include <string>

using namespace millrace;

namespace {

std::string read(std::string_view text) {
  const auto result = parse_http_address(text);
  if (!result) return "error: " + result.error().message();
  return result->first + " " + std::to_string(result->second);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(http_address)

BOOST_AUTO_TEST_CASE(a_port_alone_listens_on_loopback) {
  BOOST_TEST(read("8080") == "127.0.0.1 8080");
  BOOST_TEST(read("0") == "127.0.0.1 0");
  BOOST_TEST(read("65535") == "127.0.0.1 65535");
}

BOOST_AUTO_TEST_CASE(a_host_may_be_a_name_or_numeric) {
  BOOST_TEST(read("localhost:80") == "localhost 80");
  BOOST_TEST(read("my-host.example:80") == "my-host.example 80");
  BOOST_TEST(read("0.0.0.0:9090") == "0.0.0.0 9090");
  BOOST_TEST(read("[::1]:8080") == "::1 8080");
  BOOST_TEST(read("[::]:0") == ":: 0");
}

BOOST_AUTO_TEST_CASE(anything_else_is_refused_with_the_way_out) {
  const auto mentions = [](std::string_view text, const std::string& hint) {
    const std::string message = read(text);
    return message.starts_with("error: '" + std::string{text} + "'") &&
           message.find(hint) != std::string::npos;
  };
  for (const char* text : {"", "localhost", "65536", "-1", "80 ", "[::1]"}) {
    BOOST_CHECK_MESSAGE(mentions(text, "HOST:PORT"), read(text));
  }
  for (const char* text : {"localhost:", "localhost:http", "a:65536", "a:-1", "a:+1", "a: 1"}) {
    BOOST_CHECK_MESSAGE(mentions(text, "from 0 to 65535"), read(text));
  }
  BOOST_CHECK_MESSAGE(mentions(":8080", "0.0.0.0:PORT"), read(":8080"));
  BOOST_CHECK_MESSAGE(mentions("::1:8080", "brackets"), read("::1:8080"));
  for (const char* text : {"a b:1", "http//a:1", "[]:1", "[a]:1", "[::1:1", "a]:1"}) {
    BOOST_CHECK_MESSAGE(read(text).starts_with("error: "), read(text));
  }
}

BOOST_AUTO_TEST_CASE(loopback_answers_only_its_own_names) {
  const HostCheck check{"127.0.0.1", {}};
  for (const char* host : {"localhost", "LocalHost:8080", "localhost.", "127.0.0.1", "127.0.0.1:1",
                           "[::1]", "[::1]:8080"}) {
    BOOST_CHECK_MESSAGE(check.allows(host), host);
  }
  for (const char* host :
       {"", "evil.example", "evil.example:8080", "localhost.evil.example", "localhost:http",
        "localhost:80:80", "127.0.0.2", "10.0.0.1", "::1", "[::2]", "localhost evil"}) {
    BOOST_CHECK_MESSAGE(!check.allows(host), host);
  }
}

BOOST_AUTO_TEST_CASE(allowed_names_and_the_bound_address_pass_too) {
  const HostCheck check{"127.0.0.7", {"Bank.Example"}};
  BOOST_TEST(check.allows("bank.example:8080"));
  BOOST_TEST(check.allows("127.0.0.7:8080"));
  BOOST_TEST(!check.allows("other.example"));
  BOOST_TEST((HostCheck{"::1", {}}.allows("[::1]:8080")));
  BOOST_TEST(!(HostCheck{"::1", {}}.allows("evil.example")));
}

BOOST_AUTO_TEST_CASE(other_addresses_check_names_only_when_some_are_allowed) {
  BOOST_TEST((HostCheck{"0.0.0.0", {}}.allows("any.example")));
  const HostCheck check{"0.0.0.0", {"bank.example"}};
  BOOST_TEST(check.allows("bank.example"));
  BOOST_TEST(check.allows("localhost:8080"));
  BOOST_TEST(check.allows("10.1.2.3:8080"));
  BOOST_TEST(check.allows("[fe80::1]:8080"));
  BOOST_TEST(!check.allows("evil.example"));
  BOOST_TEST(!check.allows("10.1.2.3.evil.example"));
}

BOOST_AUTO_TEST_SUITE_END()

// SPDX-License-Identifier: Apache-2.0
#include "actors/http_message.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

using namespace millrace;

namespace {

using Segments = std::vector<std::string>;
using Query = std::map<std::string, std::string>;

HttpRequest parsed(std::string_view target) {
  HttpRequest request;
  const Status status = parse_http_target(target, request);
  BOOST_REQUIRE_MESSAGE(status.ok(), status.message());
  return request;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(http_message)

BOOST_AUTO_TEST_CASE(path_is_split_at_slashes_before_it_is_decoded) {
  BOOST_CHECK((parsed("/").segments == Segments{}));
  BOOST_CHECK((parsed("/metrics").segments == Segments{"metrics"}));
  BOOST_CHECK((parsed("/stores/a%2Fb/x%20y").segments == Segments{"stores", "a/b", "x y"}));
  BOOST_CHECK((parsed("/stores/").segments == Segments{"stores", ""}));
  BOOST_CHECK((parsed("//").segments == Segments{"", ""}));
  BOOST_CHECK((parsed("/../a+b/%00").segments == Segments{"..", "a+b", std::string(1, '\0')}));
  BOOST_TEST(parsed("/a%2fb?c=d").path == "/a%2fb");
}

BOOST_AUTO_TEST_CASE(query_is_decoded_like_a_form) {
  const auto query = [](std::string_view target) { return parsed(target).query; };
  BOOST_CHECK(query("/").empty());
  BOOST_CHECK(query("/?").empty());
  BOOST_CHECK((query("/?a=1&b=x+y%2B&&c") == Query{{"a", "1"}, {"b", "x y+"}, {"c", ""}}));
  BOOST_CHECK((query("/?a=1&a=2") == Query{{"a", "2"}}));
  BOOST_CHECK((query("/?a=b=c?d") == Query{{"a", "b=c?d"}}));
  BOOST_CHECK((query("/?%61%26=%26") == Query{{"a&", "&"}}));
}

BOOST_AUTO_TEST_CASE(broken_target_is_refused) {
  HttpRequest request;
  for (const char* target : {"", "*", "http://localhost/", "/%", "/%4", "/%4g", "/%g4", "/a%",
                             "/?a=%", "/?%=a", "/?a=%zz", "?a=b"}) {
    const Status status = parse_http_target(target, request);
    BOOST_CHECK_MESSAGE(status.code() == Code::kInvalidArgument, target);
    BOOST_TEST(!status.message().empty());
  }
}

BOOST_AUTO_TEST_CASE(error_is_json_whatever_bytes_it_quotes) {
  const HttpResponse response = http_error(404, "not_found", "no store \"a\n\xFF\"");
  BOOST_TEST(response.status == 404);
  BOOST_TEST(response.content_type == "application/json");
  const auto body = nlohmann::json::parse(response.body);
  BOOST_TEST(body["error"].get<std::string>() == "not_found");
  BOOST_TEST(body["message"].get<std::string>() == "no store \"a\n\xEF\xBF\xBD\"");
}

BOOST_AUTO_TEST_SUITE_END()

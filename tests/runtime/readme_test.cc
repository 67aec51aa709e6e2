// SPDX-License-Identifier: Apache-2.0
//
// The README's processor, as it stands there.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "millrace/json.h"
#include "millrace/test_driver.h"

namespace {

using namespace std::chrono_literals;

struct Payment {
  std::string id;
  std::int64_t amount = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Payment, id, amount)

const millrace::Topic<std::string, Payment> payments{"payments"};
const millrace::Topic<std::string, Payment> paid{"paid"};

// README, from here ...
// Hands on a payment the first time its id comes to this partition, and not again within a day.
class Once final : public millrace::Processor<std::string, Payment, std::string, Payment> {
 public:
  void start(Context& context) override {
    seen_.emplace(context.store<std::string, std::int64_t>("seen"));
  }
  void process(const millrace::Record<std::string, Payment>& payment, Context& context) override {
    const bool again = seen_->put_if_absent(payment.value().id, context.offset()).has_value();
    if (!again) context.forward(payment.key(), payment.value());
  }

 private:
  std::optional<millrace::KeyValueStore<std::string, std::int64_t>> seen_;
};
// ... to here.

millrace::Topology once() {
  millrace::Topology topology;
  // README, from here ...
  topology.store<std::string, std::int64_t>(millrace::StoreOptions{"seen"}.ttl(24h));
  topology.stream(payments).process<Once>(millrace::connects("seen")).to(paid);
  // ... to here.
  return topology;
}

std::string content(const std::string& path) {
  std::ifstream file{path};
  return {std::istreambuf_iterator<char>{file}, {}};
}

// Without what lines begin with.
std::string unindented(std::string_view text) {
  std::string lines;
  bool begins = true;
  for (const char c : text) {
    if (begins && c == ' ') continue;
    begins = c == '\n';
    lines += c;
  }
  return lines;
}

BOOST_AUTO_TEST_SUITE(readme)

BOOST_AUTO_TEST_CASE(its_processor_hands_on_each_payment_once_within_a_day) {
  millrace::TestDriver driver{once()};
  auto input = driver.input(payments);
  input.pipe("alice", Payment{"p1", 5}, millrace::from_millis(0));
  input.pipe("alice", Payment{"p1", 5}, millrace::from_millis(1'000));
  input.pipe("bob", Payment{"p2", 7}, millrace::from_millis(2'000));
  input.pipe("alice", Payment{"p1", 5}, millrace::from_millis(0) + 24h);
  const auto written = driver.output(paid).read_all();
  BOOST_REQUIRE(written.size() == 3U);
  BOOST_TEST(written[0].key.value() == "alice");
  BOOST_TEST(written[1].value->id == "p2");
  BOOST_TEST(written[2].value->id == "p1");
}

BOOST_AUTO_TEST_CASE(its_processor_is_the_one_that_is_compiled_here) {
  const std::string readme = unindented(content(MILLRACE_SOURCE_DIR "/README.md"));
  const std::string here = content(MILLRACE_SOURCE_DIR "/tests/runtime/readme_test.cc");
  constexpr std::string_view kFrom = "// README, from here ...\n";
  constexpr std::string_view kTo = "// ... to here.\n";
  std::size_t parts = 0;
  for (auto at = here.find(kFrom); at != std::string::npos; at = here.find(kFrom, at)) {
    at += kFrom.size();
    const std::string part = unindented(here.substr(at, here.find(kTo, at) - at));
    BOOST_TEST((readme.find(part) != std::string::npos), "README.md does not have\n" << part);
    ++parts;
  }
  BOOST_TEST(parts == 2U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace

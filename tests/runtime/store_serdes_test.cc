// SPDX-License-Identifier: Apache-2.0
//
// What must not compile: the compiler that built this test is asked, and says why.
#include <array>
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <memory>
#include <string>

namespace millrace::testing {
namespace {

struct Compilation {
  bool good = false;
  std::string messages;
};

// `body` is a function's, behind a type without a serde.
Compilation compile(const std::string& body) {
  std::string command = MILLRACE_CXX_COMPILER " -std=c++20 -fsyntax-only";
  for (const std::string library : {"metrics", "stores", "runtime"})
    command += " -I " MILLRACE_SOURCE_DIR "/" + library + "/include";
  command +=
      " -x c++ - 2>&1 <<'END'\n"
      "#include \"millrace/topology.h\"\n"
      "struct Plain { int number = 0; };\n"
      "using namespace millrace;\n"
      "void build(Topology& topology) {\n" +
      body + "\n}\nEND\n";
  const auto close = [](FILE* pipe) { ::pclose(pipe); };
  std::unique_ptr<FILE, decltype(close)> pipe{::popen(command.c_str(), "r"), close};
  BOOST_REQUIRE(pipe != nullptr);
  Compilation result;
  std::array<char, 4096> text{};
  while (std::fgets(text.data(), text.size(), pipe.get()) != nullptr)
    result.messages += text.data();
  result.good = ::pclose(pipe.release()) == 0;
  return result;
}

void refused(const std::string& body, const std::string& reason) {
  const auto compilation = compile(body);
  BOOST_TEST(!compilation.good, body << " compiles");
  BOOST_TEST(compilation.messages.find(reason) != std::string::npos, compilation.messages);
}

BOOST_AUTO_TEST_SUITE(store_serdes)

// The others fail for their reason, not for a missing header. Streams may look at borrowed bytes.
BOOST_AUTO_TEST_CASE(stores_of_serializable_types_and_streams_of_views_compile) {
  const auto compilation = compile(
      "topology.store<std::string, std::int64_t>(\"store\");\n"
      "const Topic<std::string_view, std::string_view> in{\"in\"};\n"
      "const Topic<std::string_view, std::string_view> out{\"out\"};\n"
      "topology.stream(in).map_values([](std::string_view v) { return v; }).to(out);");
  BOOST_TEST(compilation.good, compilation.messages);
}

// KF-11
BOOST_AUTO_TEST_CASE(a_key_value_store_needs_a_serde_for_its_key_and_one_for_its_value) {
  refused("topology.store<Plain, std::int64_t>(\"store\");", "Serializable");
  refused("topology.store<std::string, Plain>(\"store\");", "Serializable");
  refused(
      "topology.stream(Topic<std::string, std::string>{\"in\"}).group_by_key()"
      ".aggregate<Plain>(\"store\", [](Plain&, const auto&) {});",
      "Serializable");
}

// What a query hands out would point into memory that is gone.
BOOST_AUTO_TEST_CASE(
    a_store_that_would_hand_out_borrowed_keys_or_values_is_refused_with_the_reason) {
  refused("topology.store<std::string_view, std::int64_t>(\"store\");",
          "a store keeps its keys: use a type that owns its bytes");
  refused(
      "topology.stream(Topic<std::string_view, std::string>{\"in\"}).group_by_key()"
      ".count(\"store\");",
      "a store keeps its keys: use a type that owns its bytes");
  refused("topology.store<std::string, std::string_view>(\"store\");",
          "a store keeps its values: use a type that owns its bytes");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace millrace::testing

// SPDX-License-Identifier: Apache-2.0
//
// The main() of every test executable: Boost.Test in its header-only form, compiled once.

#define BOOST_TEST_MODULE millrace
#include <boost/test/included/unit_test.hpp>

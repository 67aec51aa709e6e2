#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shows that check.py accepts a clean tree and reports each kind of violation where it is."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
import check  # noqa: E402

SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
HEADER = SPDX + "#pragma once\n"
CLEAN = {
    "metrics/include/millrace/metrics.h": HEADER + "#include <string>\n",
    "metrics/metrics.cc": SPDX + '#include "millrace/metrics.h"\n#include <prometheus/registry.h>\n',
    "stores/include/millrace/error.h": HEADER + '#include "millrace/metrics.h"\n',
    "stores/include/millrace/json.h": HEADER + "#include <nlohmann/json.hpp>\n",
    "stores/rocksdb_engine.h": HEADER + "#include <rocksdb/db.h>\n",
    "runtime/task.cc": SPDX + '#include "stores/rocksdb_engine.h"\n#include <librdkafka/rdkafka.h>\n',
    "runtime/include/millrace/topology.h": HEADER,
    "actors/supervisor.cc": SPDX + '#include <caf/actor.hpp>\n#include "millrace/topology.h"\n',
    "actors/include/millrace/millrace.h": HEADER,
    "examples/01_hello/main.cc": SPDX + "#include <millrace/millrace.h>\n#include <millrace/json.h>\n",
    "tests/stores/rocksdb_test.cc": SPDX + '#include "stores/rocksdb_engine.h"\n#include <boost/test/unit_test.hpp>\n',
    "cmake/x.cmake": "# SPDX-License-Identifier: Apache-2.0\n",
    "dev": "#!/usr/bin/env bash\n# SPDX-License-Identifier: Apache-2.0\n",
    "build/generated.cc": "no rule applies here\n",
}


class CheckTest(unittest.TestCase):
    def violations(self, changes):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**CLEAN, **changes}.items():
                file = Path(root, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            return check.check(root)

    def assert_found(self, path, text, line, word):
        found = self.violations({path: text})
        self.assertEqual([(p, n) for p, n, _ in found], [(path, line)], found)
        self.assertIn(word, found[0][2])

    def test_a_clean_tree_passes(self):
        self.assertEqual(self.violations({}), [])

    def test_arrows_between_folders_point_one_way(self):
        for path, include in [
            ("metrics/bad.cc", '"millrace/error.h"'),
            ("stores/bad.cc", '"millrace/topology.h"'),
            ("stores/bad.cc", "<millrace/millrace.h>"),
            ("runtime/bad.cc", '"millrace/millrace.h"'),
        ]:
            self.assert_found(path, SPDX + f"#include {include}\n", 2, "must not include")
        self.assert_found("metrics/bad.cc", SPDX + '#include "stores/rocksdb_engine.h"\n', 2, "must not include stores/")

    def test_examples_see_public_headers_only(self):
        self.assert_found("examples/01_hello/bad.cc", SPDX + '#include "stores/rocksdb_engine.h"\n', 2, "public headers only")

    def test_caf_stays_in_actors(self):
        for path in ["runtime/bad.cc", "stores/bad.cc", "tests/runtime/bad.cc", "examples/01_hello/bad.cc"]:
            self.assert_found(path, SPDX + "#include <caf/actor.hpp>\n", 2, "caf/")

    def test_public_headers_are_clean(self):
        for include in ["<rocksdb/db.h>", "<librdkafka/rdkafka.h>", "<prometheus/registry.h>", "<boost/asio.hpp>",
                        "<nlohmann/json.hpp>", '"millrace/json.h"']:
            self.assert_found("stores/include/millrace/bad.h", HEADER + f"#include {include}\n", 3, "public header" if "nlohmann" not in include else "nlohmann")
        self.assert_found("actors/include/millrace/bad.h", HEADER + "#include <caf/actor.hpp>\n", 3, "CAF")
        self.assert_found("runtime/include/millrace/bad.h", HEADER + '#include "stores/rocksdb_engine.h"\n', 3, "private")

    def test_unknown_headers_of_ours(self):
        self.assert_found("stores/bad.cc", SPDX + '#include "millrace/nowhere.h"\n', 2, "no public header")
        self.assert_found("stores/bad.cc", SPDX + '#include "rocksdb_engine.h"\n', 2, "from the root")
        self.assert_found("stores/bad.cc", SPDX + '#include "stores/include/millrace/error.h"\n', 2, "millrace/x.h")

    def test_files_are_short_licensed_and_guarded(self):
        self.assert_found("stores/bad.cc", SPDX + "\n" * 800, 801, "801 lines")
        self.assert_found("stores/bad.cc", "int x;\n", 1, "SPDX")
        self.assert_found("tests/bad.sh", "#!/bin/sh\necho\n", 2, "SPDX")
        self.assert_found("cmake/bad.cmake", "set(x)\n", 1, "SPDX")
        self.assert_found("stores/bad.h", SPDX + "int x;\n", 1, "#pragma once")

    def test_banned_words(self):
        self.assert_found("actors/bad.cc", SPDX + "void f() { t.detach(); }\n", 2, "join")
        self.assert_found("tests/stores/bad.cc", SPDX + "std::this_thread::sleep_for(1s);\n", 2, "sleep")
        self.assert_found("tests/stores/bad.cc", SPDX + "*boost::unit_test::disabled()\n", 2, "disabled")
        self.assert_found("runtime/bad.cc", SPDX + "std::cout << 1;\n", 2, "stdout")
        self.assertEqual(self.violations({"actors/good.cc": SPDX + "// never t.detach()\n"}), [])


if __name__ == "__main__":
    unittest.main()

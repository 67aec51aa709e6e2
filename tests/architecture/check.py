#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the rules of the source tree that no compiler checks.

    check.py ROOT

Prints one line per violation, FILE:LINE: REASON, and ends with 1 if there is one. The rules are the
tables below; check_test.py shows each of them failing.
"""

import os
import re
import sys
from pathlib import Path

# Which of our folders each folder may include. `None` means public headers only.
MAY_INCLUDE = {
    "metrics": {"metrics"},
    "stores": {"metrics", "stores"},
    "runtime": {"metrics", "stores", "runtime"},
    "actors": {"metrics", "stores", "runtime", "actors"},
    "examples": None,
    "tests": {"metrics", "stores", "runtime", "actors", "tests"},
}
LIBRARY = ("metrics", "stores", "runtime", "actors")

# Third-party headers, by first path component, and the folders that may include them.
CAF_ONLY_IN = ("actors/", "tests/actors/")

# What a public header may not bring into a user's program.
NOT_IN_PUBLIC_HEADERS = {
    "caf": "CAF",
    "rocksdb": "RocksDB",
    "lmdb.h": "LMDB",
    "hiredis": "hiredis",
    "librdkafka": "librdkafka",
    "prometheus": "prometheus-cpp",
    "boost": "Boost",
    "spdlog": "spdlog",
    "fmt": "fmt",
    "xxhash.h": "xxhash",
    "CLI": "CLI11",
}
JSON_HEADER = "json.h"

LINES_MAX = 800

# (pattern, folders it is banned in, reason)
BANNED = [
    (r"\.detach\(\)", ("",), "a detached thread outlives what it uses: join it"),
    (r"\bsleep_for\b|\bsleep_until\b|\busleep\(", ("tests/",), "tests do not sleep: wait for the event, or move the clock"),
    (r"\busing namespace caf\b", ("",), "name what is used of CAF"),
    (r"boost::unit_test::disabled", ("tests/",), "a disabled test proves nothing: mend it or remove it"),
    (r"std::cout\b|\bprintf\(", tuple(f"{f}/" for f in LIBRARY), "the library writes nothing to stdout"),
]

SKIPPED_FOLDERS = {".git", "__pycache__", "node_modules", "millrace-state"}
CODE = (".h", ".cc")
HASH_COMMENT = (".sh", ".py", ".cmake", ".yml", ".yaml", ".toml", ".service")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SPDX = "SPDX-License-Identifier: Apache-2.0"


def files(root):
    for folder, names, leaves in os.walk(root):
        names[:] = sorted(n for n in names
                          if n not in SKIPPED_FOLDERS and not (n.startswith("build") and Path(folder) == root))
        for leaf in sorted(leaves):
            yield Path(folder, leaf)


def public_headers(root):
    """Maps "millrace/x.h" to the folder that owns it."""
    owners = {}
    for folder in LIBRARY:
        base = root / folder / "include"
        for header in base.rglob("*.h"):
            owners[header.relative_to(base).as_posix()] = folder
    return owners


def check_include(path, target, quote, owners, root):
    """Yields what is wrong with one include line of the file `path` (relative to the root)."""
    folder = path.split("/")[0]
    first = target.split("/")[0]
    allowed = MAY_INCLUDE.get(folder, set())
    is_public_header = folder in LIBRARY and "/include/" in path

    if first == "caf" and not path.startswith(CAF_ONLY_IN):
        yield "caf/ is included in actors/ and tests/actors/ only"
    if is_public_header:
        if first in NOT_IN_PUBLIC_HEADERS:
            yield f"a public header must not include {NOT_IN_PUBLIC_HEADERS[first]}"
        if first == "nlohmann" and Path(path).name != JSON_HEADER:
            yield f"only millrace/{JSON_HEADER} may include nlohmann"

    if first == "millrace":
        owner = owners.get(target)
        if owner is None:
            yield f"there is no public header {target}"
        elif allowed is not None and owner not in allowed:
            yield f"{folder}/ must not include {target}, which belongs to {owner}/"
        elif is_public_header and Path(path).name != JSON_HEADER and target == f"millrace/{JSON_HEADER}":
            yield f"millrace/{JSON_HEADER} is opt-in: no other public header may include it"
    elif first in MAY_INCLUDE and (root / target).exists():
        if allowed is None:
            yield f"{folder}/ includes public headers only"
        elif first not in allowed:
            yield f"{folder}/ must not include {first}/"
        elif is_public_header:
            yield f"a public header must not include the private {target}"
        if quote == "<":
            yield 'our own private headers are included with "..."'
        if "/include/" in target:
            yield "a public header is included as millrace/x.h"
    elif quote == '"' and folder in LIBRARY:
        yield f"no header {target} from the root: private headers are included as folder/x.h"


def first_line_rule(path, lines):
    """Yields the line number and reason if the licence line is missing."""
    if path.endswith(CODE):
        expected, at = f"// {SPDX}", 0
    elif path.endswith(HASH_COMMENT) or Path(path).name == "CMakeLists.txt":
        expected, at = f"# {SPDX}", 0
    elif lines and lines[0].startswith("#!"):
        expected, at = f"# {SPDX}", 1
    else:
        return
    if lines and lines[0].startswith("#!"):
        at = 1
    if len(lines) <= at or lines[at] != expected:
        yield at + 1, f"this line must be: {expected}"


def check_file(path, text, owners, root):
    lines = text.splitlines()
    yield from first_line_rule(path, lines)
    if len(lines) > LINES_MAX and not path.endswith((".json", ".md", ".txt")) and path != "LICENSE":
        yield LINES_MAX + 1, f"{len(lines)} lines; a file has at most {LINES_MAX}: split it by idea"
    if not path.endswith(CODE):
        return
    if path.endswith(".h") and "#pragma once" not in lines:
        yield 1, "a header needs #pragma once"
    for number, line in enumerate(lines, 1):
        include = INCLUDE.match(line)
        if include:
            for reason in check_include(path, include[2], include[1], owners, root):
                yield number, reason
            continue
        code = line.split("//")[0]
        for pattern, folders, reason in BANNED:
            if path.startswith(folders) and re.search(pattern, code):
                yield number, reason


def check(root):
    root = Path(root).resolve()
    owners = public_headers(root)
    violations = []
    for file in files(root):
        path = file.relative_to(root).as_posix()
        try:
            text = file.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # Not text, or gone since the listing.
        violations += [(path, number, reason) for number, reason in check_file(path, text, owners, root)]
    return violations


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    violations = check(sys.argv[1])
    for path, number, reason in violations:
        print(f"{path}:{number}: {reason}")
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()

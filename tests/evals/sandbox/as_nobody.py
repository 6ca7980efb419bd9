"""Runs one program in the sandbox, as whoever starts this: standard library alone, so that any Python can.

Reads `{"repository", "source", "limits"}` from stdin and writes the result as JSON.
"""

from __future__ import annotations

import json
import sys

order = json.load(sys.stdin)
sys.path.insert(0, order["repository"])

from evals.sandbox import INTERPRETER, Limits, run  # noqa: E402

result = run([INTERPRETER, "-P", "-S", "-c", order["source"]], limits=Limits(**order["limits"]))
print(json.dumps([result.exit, result.stdout.decode(), result.stderr.decode(errors="replace"), result.why]))

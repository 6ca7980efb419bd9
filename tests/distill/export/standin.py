"""A stand-in for the trainer's Python: does what a plan asks without torch, in the way that a test names.

Run as the trainer's Python is: `standin.py ENTRY MODULE PLAN.json`. The way is the first word of the file
`way` beside the folder of students, and each run leaves a line in `runs` there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    plan = json.loads(Path(sys.argv[-1]).read_text())
    work = Path(plan["work"])
    home = work.parent.parent.parent
    with (home / "runs").open("a") as runs:
        runs.write(f"{os.getpid()} {plan['variant']}\n")
    way = (home / "way").read_text().split()
    told: dict[str, Any] = {"likeness": {}, "tools": {}, "error": None}
    if way[0] == "sleeps":
        time.sleep(60)
    if way[0] == "dies":
        print("Killed by the test", flush=True)
        os.kill(os.getpid(), 9)
    if way[0] == "refuses":
        told["error"] = " ".join(way[1:])
    else:
        part = work / "out.part"
        part.mkdir()
        source = plan["checkpoint"] or plan["adapter"]
        (part / "model.safetensors").write_text(f"{plan['variant']} of {source}")
        part.replace(work / "out")
        told["likeness"] = {"against": "merged", "error": 0.01, "same_top": 9, "positions": 10}
        told["tools"] = {"torch": "0"}
    (work / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()

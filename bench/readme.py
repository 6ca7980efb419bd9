"""Make the README's chart and printed results anew: `python -m bench.readme [--gsm8k FILE]`.

Invariant: what stands between the markers of the README is what a command printed, and nothing else.
A block whose recording is not given is left as it is.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RECORDING = "bench/recordings/qwen-coder.jsonl.gz"
SUITE = "bench/suites/recorded.toml"
CHART = "docs/images/frontier.png"
EXAMPLE = "docs/example-report.txt"


def printed(*command: str, **variables: str) -> str:
    """What a command prints on its standard output, with more variables in its environment."""
    run = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **variables},
    )
    return run.stdout


def replay(*arguments: str) -> str:
    """All that a replay prints, but for its progress and how to connect."""
    output = printed(sys.executable, "-m", "stepdown", "replay", *arguments)
    output = output.partition("\nPoint a client at the proxy")[0]
    return "\n".join(line for line in output.splitlines() if "━" not in line)


def ending(output: str) -> str:
    """The end of a replay's output: the held-out evaluation, and the whole in short."""
    return "…\n" + output[output.index("HELD OUT") :]


def evaluation() -> str:
    """What an evaluation of the recorded models prints, up to the table by slice."""
    run = (sys.executable, "-m", "stepdown", "eval", "run", SUITE, "--recording", RECORDING)
    with tempfile.TemporaryDirectory() as home:
        output = printed(*run, "--models", "recorded-strong,recorded-small", STEPDOWN_HOME=home)
    return output.partition("\nSLICES")[0] + "\n…"


def coverage(output: str) -> str:
    """The coverage table that ends the labels' report."""
    return "…\n" + output[output.index("COVERAGE") :]


def put(readme: str, name: str, command: str, output: str) -> str:
    """The README with the block of a name replaced."""
    block = f"<!-- {name} -->\n```text\n$ {command}\n{output.strip()}\n```\n<!-- /{name} -->"
    replaced, count = re.subn(
        rf"<!-- {name} -->.*?<!-- /{name} -->", lambda _: block, readme, count=1, flags=re.DOTALL
    )
    if not count:
        raise ValueError(f"README.md has no block {name!r}; put <!-- {name} --> and <!-- /{name} --> in it")
    return replaced


def main() -> None:
    """Run the commands and write their output into the README."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gsm8k", help="recording of GPT-4 and Mixtral on GSM8K")
    parser.add_argument("--skip-gateway", action="store_true", help="leave the gateway's figures as they are")
    options = parser.parse_args()
    readme = README.read_text()
    (ROOT / CHART).parent.mkdir(parents=True, exist_ok=True)
    home = ("--home", ".stepdown/readme")
    whole = replay(RECORDING, "--settings", "bench/demo.toml", "--png", CHART, *home)
    (ROOT / EXAMPLE).write_text(whole + "\n")
    readme = put(readme, "demo", "make demo", ending(whole))
    command = f"stepdown eval run {SUITE} --recording {RECORDING} --models recorded-strong,recorded-small"
    readme = put(readme, "eval", command, evaluation())
    if options.gsm8k:
        labels = printed(sys.executable, "-m", "bench.labels", "--gsm8k", options.gsm8k)
        readme = put(readme, "labels", "make report-labels", coverage(labels))
        bound = ("--max-quality-loss", "0.05")
        command = f"stepdown replay {Path(options.gsm8k).name} {' '.join(bound)}"
        routing = printed(sys.executable, "-m", "bench.routing", options.gsm8k)
        readme = put(readme, "routing", "make bench-routing FILES=gsm8k_gpt4_vs_mixtral.jsonl.gz", routing)
        readme = put(readme, "gsm8k", command, ending(replay(options.gsm8k, *bound, *home)))
    if not options.skip_gateway:
        readme = put(readme, "gateway", "make bench-gateway", printed(sys.executable, "-m", "bench.gateway"))
    README.write_text(readme)


if __name__ == "__main__":
    main()

"""The script by which the trainer's Python runs a module of this package: `entry.py MODULE ARGUMENT…`.

Invariant: the trainer's own packages come first. The folder that holds this package may be the
site-packages of another Python, so it is searched last.
"""

import importlib
import os
import sys
from pathlib import Path

QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}


def main() -> None:
    """Import the module named by the first argument, and hand its `main` the others."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != here]
    sys.path.append(str(here.parent.parent))
    os.environ.update(QUIET)
    module, *arguments = sys.argv[1:]
    importlib.import_module(module).main(*arguments)


if __name__ == "__main__":
    main()

"""The walls of the sandbox: the command line of bubblewrap.

Invariant: inside there is the interpreter with its standard library, read-only, an empty scratch folder in
memory, four harmless devices, and nothing else: no `/proc`, no `/etc`, no home, no network.

Under root there is no user namespace, and the launcher becomes *nobody* for good. In a user namespace made by
root, "nobody" is still root where the kernel asks for root, as it does for files under `/proc/sys`. Under an
ordinary user there is one, in which nothing is mapped but that user.

bubblewrap is started with no environment. `--clearenv` is not enough: it leaves bubblewrap's own, which the
program inside could read as that of process 1.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from evals.sandbox.limits import Limits
from stepdown.errors import SandboxError

SCRATCH = "/scratch"
NOBODY = 65534
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_BASE = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
PREFIX = "/usr" if sys.base_prefix == "/usr" else "/python"  # it may be installed in somebody's home
INTERPRETER = f"{PREFIX}/bin/{Path(_BASE).name}"
REMEDY = (
    "install bubblewrap 0.8 or newer (`apt install bubblewrap`, `dnf install bubblewrap`), and let this user "
    "make namespaces: on Ubuntu `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; in a container "
    "`--security-opt seccomp=unconfined --security-opt apparmor=unconfined`, and CAP_SYS_ADMIN under root"
)


def find_bubblewrap() -> str:
    """Where `bwrap` is.

    Raises:
        SandboxError: It is not on the PATH, or this is not Linux.
    """
    found = shutil.which("bwrap") if sys.platform == "linux" else None
    if found is None:
        raise SandboxError(f"no sandbox: `bwrap` is not on the PATH; {REMEDY}")
    return found


def becomes() -> int | None:
    """The user that the launcher has to become; None where a user namespace does it."""
    return NOBODY if os.geteuid() == 0 else None


def command(bwrap: str, filter_fd: int, told_fd: int, limits: Limits) -> list[str]:
    """The command line up to the program that is to run inside.

    Args:
        bwrap: Path of bubblewrap.
        filter_fd: Descriptor from which it reads the filter of system calls.
        told_fd: Descriptor on which it tells the id of the first process inside.
        limits: Of which the size of the scratch folder is set here.
    """
    return [
        bwrap,
        *("--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox"),
        *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
        *_identity(),
        *(word for path in _folders() for word in ("--perms", "0755", "--dir", path)),
        *(word for path in LIBRARIES for word in _library(path)),
        *_python(),
        *(word for device in DEVICES for word in ("--dev-bind", device, device)),
        *("--perms", "0777", "--size", str(limits.scratch_bytes), "--tmpfs", SCRATCH),
        *("--symlink", "scratch", "/tmp", "--remount-ro", "/", "--chdir", SCRATCH),
        *(word for name, value in _environment().items() for word in ("--setenv", name, value)),
        *("--seccomp", str(filter_fd), "--info-fd", str(told_fd), "--"),
    ]


def _identity() -> tuple[str, ...]:
    if becomes() is None:
        return ("--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL")
    return ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")


def _folders() -> list[str]:
    """Folders above what is mounted, which bubblewrap would make for its own user's eyes alone."""
    return sorted({"/dev", "/usr", "/usr/share", PREFIX, f"{PREFIX}/bin"})


def _library(path: str) -> tuple[str, ...]:
    if Path(path).is_symlink():
        return ("--symlink", str(Path(path).readlink()), path)
    return ("--ro-bind-try", path, path)


def _python() -> Iterator[str]:
    """The interpreter with its standard library, from wherever it is, without what was added to it."""
    yield from ("--ro-bind", _BASE, INTERPRETER)
    if PREFIX != "/usr":
        yield from ("--ro-bind", f"{sys.base_prefix}/lib", f"{PREFIX}/lib")
    yield from ("--ro-bind-try", "/usr/share/zoneinfo", "/usr/share/zoneinfo")
    for added in _added():
        yield from ("--perms", "0555", "--size", "4096", "--tmpfs", added)


def _added() -> list[str]:
    """Folders of installed packages below what is mounted: hidden."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = {
        f"{PREFIX}/lib/{version}/site-packages": Path(f"{sys.base_prefix}/lib/{version}/site-packages"),
        "/usr/lib/python3/dist-packages": Path("/usr/lib/python3/dist-packages"),
    }
    return [inside for inside, outside in found.items() if outside.is_dir()]


def _environment() -> dict[str, str]:
    environment = {
        "PATH": "/usr/bin",
        "HOME": SCRATCH,
        "TMPDIR": SCRATCH,
        "LANG": "C.UTF-8",
        "MALLOC_ARENA_MAX": "2",  # an arena reserves 64 MB of address space for each thread
        "PYTHONHASHSEED": "0",  # the same code gets the same verdict
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if PREFIX != "/usr":
        environment["LD_LIBRARY_PATH"] = f"{PREFIX}/lib"
    return environment

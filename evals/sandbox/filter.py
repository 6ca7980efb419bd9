"""The filter of system calls: a seccomp program that the kernel runs before each one.

Invariant: no process is ever made under it, only threads. So a limit that the kernel keeps for each process
(memory, processor time) is a limit on the whole program, and nothing can be left behind.

It is the second wall: the first is that namespaces hold nothing to reach. The calls refused are those that
change namespaces, look into processes, keep memory which no limit counts, or that have been the way out of
sandboxes before. It does not know what a path or an address is, since a filter cannot read memory.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import NamedTuple

from stepdown.errors import SandboxError

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
ALLOW, KILL_PROCESS, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
CLONE_THREAD = 0x00010000
FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6; others, AF_VSOCK among them, know no network namespaces
FOREIGN = 0x40000000  # the x32 numbers, which are the same calls by other names


class Numbers(NamedTuple):
    """The system calls of one architecture by number.

    Attributes:
        audit: What the kernel calls the architecture.
        clone: Makes threads and processes: refused but for threads.
        socket: Refused but for the families that a network namespace holds.
        refused: Not permitted.
    """

    audit: int
    clone: int
    socket: int
    refused: tuple[int, ...]


# Calls that libraries try first and then do without. The same on all architectures, as all since 2019:
# clone3 (its flags are in memory), io_uring_*, pidfd_open, pidfd_getfd.
MISSING = (435, 425, 426, 427, 434, 438)
# open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr, memfd_secret.
REFUSED_EVERYWHERE = (428, 429, 430, 431, 432, 433, 442, 447)

# In order: fork vfork ptrace process_vm_readv process_vm_writev kcmp mount umount2 pivot_root chroot unshare
# setns bpf perf_event_open userfaultfd add_key request_key keyctl memfd_create shmget semget msgget mq_open
# init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct settimeofday
# clock_settime quotactl personality open_by_handle_at name_to_handle_at fanotify_init syslog iopl ioperm
# modify_ldt; the last three, fork and vfork are of x86 only.
ARCHITECTURES = {
    "x86_64": Numbers(
        0xC000003E, 56, 41,
        (57, 58, 101, 310, 311, 312, 165, 166, 155, 161, 272,
         308, 321, 298, 323, 248, 249, 250, 319, 29, 64, 68, 240,
         175, 313, 176, 246, 320, 169, 167, 168, 163, 164,
         227, 179, 135, 304, 303, 300, 103, 172, 173, 154),
    ),
    "aarch64": Numbers(
        0xC00000B7, 220, 198,
        (117, 270, 271, 272, 40, 39, 41, 51, 97,
         268, 280, 241, 282, 217, 218, 219, 279, 194, 190, 186, 180,
         105, 273, 106, 104, 294, 142, 224, 225, 89, 170,
         112, 60, 92, 265, 264, 262, 116),
    ),
}  # fmt: skip


def seccomp_program(machine: str | None = None) -> bytes:
    """The filter as the kernel takes it, for this machine or the one named.

    Raises:
        SandboxError: The numbers of that machine's system calls are not known here.
    """
    machine = machine or platform.machine()
    if machine not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise SandboxError(f"no filter of system calls for {machine!r}; known: {known}")
    numbers = ARCHITECTURES[machine]
    program = [
        _step(LOAD, ARCHITECTURE),
        *_unless(EQUAL, numbers.audit, KILL_PROCESS),
        _step(LOAD, NUMBER),
        *_when(AT_LEAST, FOREIGN, _refusal(errno.EPERM)),
    ]
    for number in MISSING:
        program += _when(EQUAL, number, _refusal(errno.ENOSYS))
    for number in (*numbers.refused, *REFUSED_EVERYWHERE):
        program += _when(EQUAL, number, _refusal(errno.EPERM))
    program += _by_argument(numbers.clone, ANY_BIT, (CLONE_THREAD,), errno.EPERM)
    program += _by_argument(numbers.socket, EQUAL, FAMILIES, errno.EAFNOSUPPORT)
    return b"".join([*program, _step(RETURN, ALLOW)])


def _step(code: int, value: int, when: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, when, otherwise, value)


def _refusal(number: int) -> int:
    return REFUSE | number


def _when(test: int, value: int, answer: int) -> list[bytes]:
    return [_step(test, value, 0, 1), _step(RETURN, answer)]


def _unless(test: int, value: int, answer: int) -> list[bytes]:
    return [_step(test, value, 1, 0), _step(RETURN, answer)]


def _by_argument(number: int, test: int, allowed: tuple[int, ...], refusal: int) -> list[bytes]:
    """Allow a call only if its first argument passes the test with one of the values."""
    body = [_step(LOAD, FIRST_ARGUMENT)]
    for value in allowed:
        body += _when(test, value, ALLOW)
    body.append(_step(RETURN, _refusal(refusal)))
    return [_step(EQUAL, number, 0, len(body)), *body]

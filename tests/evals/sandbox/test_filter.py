"""The filter of system calls, run here on a machine of our own as the kernel would run it."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.sandbox.filter import (
    ALLOW,
    ARCHITECTURES,
    CLONE_THREAD,
    FAMILIES,
    KILL_PROCESS,
    MISSING,
    REFUSE,
    REFUSED_EVERYWHERE,
    seccomp_program,
)
from stepdown.errors import SandboxError

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06


def answer(machine: str, number: int, argument: int = 0, audit: int | None = None) -> int:
    """What the filter answers to a system call."""
    program = list(struct.iter_unpack("=HBBI", seccomp_program(machine)))
    call = struct.pack("=IIQ6Q", number, audit or ARCHITECTURES[machine].audit, 0, argument, 0, 0, 0, 0, 0)
    at, held = 0, 0
    while True:
        code, when, otherwise, value = program[at]
        at += 1
        if code == RETURN:
            return int(value)
        if code == LOAD:
            (held,) = struct.unpack_from("=I", call, value)
            continue
        met = {EQUAL: held == value, AT_LEAST: held >= value, ANY_BIT: bool(held & value)}[code]
        at += when if met else otherwise


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_what_is_refused(machine: str) -> None:
    numbers = ARCHITECTURES[machine]
    for number in (*numbers.refused, *REFUSED_EVERYWHERE, 0x40000000, 0x40000038):
        assert answer(machine, number) == REFUSE | errno.EPERM
    for number in MISSING:
        assert answer(machine, number) == REFUSE | errno.ENOSYS
    assert answer(machine, 0, audit=0x40000003) == KILL_PROCESS  # 32 bits


@pytest.mark.parametrize("machine", ARCHITECTURES)
@given(flags=st.integers(0, 2**32 - 1), family=st.integers(0, 2**32 - 1))
def test_threads_and_not_processes_and_the_families_that_a_namespace_holds(
    machine: str, flags: int, family: int
) -> None:
    numbers = ARCHITECTURES[machine]
    thread = bool(flags & CLONE_THREAD)
    assert answer(machine, numbers.clone, flags) == (ALLOW if thread else REFUSE | errno.EPERM)
    inside = family in FAMILIES
    assert answer(machine, numbers.socket, family) == (ALLOW if inside else REFUSE | errno.EAFNOSUPPORT)


@pytest.mark.parametrize("machine", ARCHITECTURES)
@given(number=st.integers(0, 0x3FFFFFFF))
def test_all_else_is_allowed(machine: str, number: int) -> None:
    numbers = ARCHITECTURES[machine]
    special = {*numbers.refused, *REFUSED_EVERYWHERE, *MISSING, numbers.clone, numbers.socket}
    assert (answer(machine, number) == ALLOW) == (number not in special)


def test_a_machine_whose_calls_are_not_known_has_no_sandbox() -> None:
    with pytest.raises(SandboxError, match="'vax'; known: x86_64, aarch64"):
        seccomp_program("vax")

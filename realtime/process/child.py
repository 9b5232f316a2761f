"""Become a server program that is not root and does not outlive its parent.

A parent runs this script by path, in a child: PARENT DEATH_SIGNAL DATA PROGRAM ARGUMENT… The script imports
nothing of ours, to start fast, and does between fork and exec what is not safe in a process with threads.
An error that stops it goes to stderr, which is the server's log.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_SECUREBITS, PR_CAP_AMBIENT = 1, 8, 28, 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_READ_SEARCH, CAP_SETPCAP = 2, 8
CAPABILITY_VERSION_3 = 0x20080522

LINUX = sys.platform == "linux"


def main(parent: str, death_signal: str, data: str, program: str, *arguments: str) -> None:
    """Run the program in the data directory, as the owner of that directory."""
    os.chdir(data)
    if os.geteuid() == 0:
        _become_owner(data, program)
    # Set the death signal after the change of user, which would clear the signal.
    if LINUX:
        _prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != int(parent):
        sys.exit("the parent ended meanwhile")
    # The parent may ignore or block signals that must be able to stop the server.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    # SIGHUP asks a server to read its settings again: it must not end a server that has not started yet.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.execv(program, [program, *arguments])  # noqa: S606 - replaces this process; there is no shell


def _become_owner(data: str, program: str) -> None:
    owner = os.stat(data)
    if LINUX:
        _prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
    if os.access(program, os.X_OK) and os.access(data, os.W_OK):
        return
    try:
        _keep_reading_anywhere()
    except OSError as error:
        sys.exit(
            f"{program} must not run as root, and user {owner.st_uid} cannot reach it or {data} ({error}): "
            "use directories that others may pass through, or do not run this as root"
        )


def _keep_reading_anywhere() -> None:
    """Let the program and its children, though not root, pass through closed directories, such as /root.

    With NO_SETUID_FIXUP access(2), by which Postgres finds its own program, respects the capability too.
    """
    if not LINUX:
        raise OSError("only Linux has capabilities")
    _set_capabilities(CAP_DAC_READ_SEARCH, CAP_SETPCAP)
    _prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    _set_capabilities(CAP_DAC_READ_SEARCH)
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH)


def _set_capabilities(*capabilities: int) -> None:
    bits = sum(1 << capability for capability in capabilities)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    effective_permitted_inheritable = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)
    _check(_libc().capset(header, effective_permitted_inheritable))


def _prctl(option: int, value: int, argument: int = 0) -> None:
    arguments = (ctypes.c_ulong(number) for number in (value, argument, 0, 0))
    _check(_libc().prctl(ctypes.c_int(option), *arguments))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(*sys.argv[1:])

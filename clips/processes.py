"""Child processes that cannot outlive their parent, not even after `kill -9`. Linux only."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from signal import Signals

# Runs as the child, before the command replaces it. A forked child of a threaded process must not run Python
# (`preexec_fn` can deadlock), so a fresh interpreter does it. Changing the user clears the death signal: user first.
# The parent may have died before prctl took hold; then nobody would ever send the signal.
_PRELUDE = """
import ctypes, os, signal, sys
parent, number, uid, gid = map(int, sys.argv[1:5])
if uid >= 0:
    os.setgroups([]); os.setgid(gid); os.setuid(uid)
if ctypes.CDLL(None, use_errno=True).prctl(1, number, 0, 0, 0):
    sys.exit("prctl failed: " + os.strerror(ctypes.get_errno()))
if os.getppid() != parent:
    sys.exit("the parent ended first")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
try:
    os.execvp(sys.argv[5], sys.argv[5:])
except OSError as error:
    sys.exit(sys.argv[5] + " cannot be run: " + error.strerror)
"""


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group that a child runs as."""

    uid: int
    gid: int


def bound_to_us(command: Sequence[str], *, death: Signals, account: Account | None = None) -> list[str]:
    """The command, wrapped: run by this process, it gets the signal `death` once this process has ended in any way.

    The kernel ties it to the *thread* that starts the command: start it from one that stays, such as the event loop's.
    `account` drops root's rights for another user's. The process id stays the same through the wrapping.
    """
    user = account or Account(-1, -1)
    arguments = (os.getpid(), int(death), user.uid, user.gid)
    return [sys.executable, "-I", "-S", "-c", _PRELUDE, *map(str, arguments), *command]

"""Become the program of the arguments, and end when the process that asked for it ends.

Run by path, as a program: `launch.py PARENT PROGRAM ARGUMENT…`. A hook between fork and exec would do the same,
but it is not safe in a process with threads. Linux only (prctl).
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent = int(sys.argv[1])
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before prctl took effect
        sys.exit(1)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  # the server's own command line

# SPDX-License-Identifier: Apache-2.0
"""What is measured goes before what else the machine does. Where the kernel groups processes by session (autogroup),
niceness counts only inside a group, and the group has one of its own."""

import contextlib
import os
import pathlib

HIGHEST = -19


def favour(pid=0):
    """Highest priority for a process and its group (0: this one), as far as the user may."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, HIGHEST)
    with contextlib.suppress(OSError):
        pathlib.Path(f"/proc/{pid or 'self'}/autogroup").write_text(str(HIGHEST), encoding="ascii")


def realtime(*pids):
    """Round-robin before all ordinary processes, for latencies at a fixed rate (0: this one), as far as the user may."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))


def ordinary(*pids):
    """What realtime() changed, back."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))

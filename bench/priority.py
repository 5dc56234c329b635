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


def load_average():
    """Of the last minute, as text for the notes of a run."""
    return f"{os.getloadavg()[0]:.1f}"

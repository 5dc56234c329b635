# SPDX-License-Identifier: Apache-2.0
"""Where the pinned programs are."""

import pathlib
import subprocess

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tools"


def path(name):
    """Folder of a tool that tests/tools/fetch made."""
    done = subprocess.run([FOLDER / "path", name], check=True, capture_output=True, text=True)
    return pathlib.Path(done.stdout.strip())

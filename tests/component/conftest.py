# SPDX-License-Identifier: Apache-2.0
"""Our programs against real servers, without a cluster."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "managers"))


@pytest.fixture
def leasehold(bin_dir):
    """Path of the command line program."""
    program = bin_dir / "leasehold"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    return program


@pytest.fixture
def workload(leasehold, manager, tmp_path):
    """A projection to be filled from the manager by `leasehold run`: a workload.Workload."""
    from workload import Workload

    with Workload(leasehold, manager, tmp_path) as w:
        yield w


@pytest.fixture
def ha_workload(leasehold, ha_manager, tmp_path):
    """The same with a manager of three raft nodes."""
    from workload import Workload

    with Workload(leasehold, ha_manager, tmp_path) as w:
        yield w

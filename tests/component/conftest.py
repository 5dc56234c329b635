# SPDX-License-Identifier: Apache-2.0
"""Our programs against real servers, without a cluster."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "managers"))


@pytest.fixture
def workload(bin_dir, manager, tmp_path):
    """A projection to be filled from the manager by the agent: a workload.Workload."""
    from workload import made

    with made(bin_dir, "agent", manager, tmp_path) as w:
        yield w


@pytest.fixture(params=["run", "agent"])
def either(request, bin_dir, manager, tmp_path):
    """The same by `leasehold run` and by the agent."""
    from workload import made

    with made(bin_dir, request.param, manager, tmp_path) as w:
        yield w


@pytest.fixture
def ha_workload(bin_dir, ha_manager, tmp_path):
    """The agent with a manager of three raft nodes."""
    from workload import made

    with made(bin_dir, "agent", ha_manager, tmp_path) as w:
        yield w

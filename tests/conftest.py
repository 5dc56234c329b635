# SPDX-License-Identifier: Apache-2.0
"""Beds shared by the tests of one run: each is started when the first test asks for it and ended with the run."""

import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def pytest_addoption(parser):
    parser.addoption(
        "--bin-dir", default=str(ROOT / "build/release/bin"), help="folder with the built programs [build/release/bin]"
    )
    parser.addoption("--nodes", type=int, default=2, choices=(1, 2), help="nodes of the test cluster [2]")
    parser.addoption("--keep-logs", metavar="DIR", help="copy the test cluster's logs here at its end")


@pytest.fixture(scope="session")
def bin_dir(request):
    """Folder with the built programs."""
    return pathlib.Path(request.config.getoption("--bin-dir")).resolve()


@pytest.fixture(scope="session")
def manager():
    """OpenBao and PostgreSQL, filled: a managers.Manager."""
    from managers import Manager

    with Manager() as m:
        yield m


@pytest.fixture(scope="session")
def postgres(manager):
    """The manager's database: a postgres.PostgreSQL."""
    return manager.postgres


@pytest.fixture(scope="session")
def ha_manager():
    """The same as manager with three raft nodes."""
    from managers import Manager

    with Manager(nodes=3) as m:
        yield m


@pytest.fixture(scope="session")
def bao(manager):
    """The manager's OpenBao: an openbao.OpenBao."""
    return manager.bao


@pytest.fixture
def faultproxy(manager):
    """A well-behaved faultproxy.FaultProxy in front of the manager; give it rules."""
    from faultproxy import FaultProxy

    tls = manager.folder / "tls"
    upstream = (manager.bao.host, manager.bao.port())
    proxy = FaultProxy(upstream, ca=manager.bao.ca, cert=tls / "server.pem", key=tls / "server.key")
    with proxy:
        yield proxy


@pytest.fixture(scope="session")
def apiserver():
    """A kube-apiserver without nodes, with our kinds and the controllers that act on objects alone: an
    apiserver.ApiServer."""
    from apiserver import CONTROLLERS, ApiServer

    with ApiServer(controllers=CONTROLLERS, audit=True) as s:
        yield s


@pytest.fixture(scope="session")
def cluster(request):
    """A Kubernetes cluster: a cluster.Cluster. Nothing of ours is installed in it."""
    from cluster import Cluster

    with Cluster(request.config.getoption("--nodes"), logs=request.config.getoption("--keep-logs")) as c:
        yield c


@pytest.fixture(scope="session")
def cluster_manager(cluster):
    """OpenBao and PostgreSQL where Pods can reach them: a managers.Manager. cluster.trust() lets Pods log in."""
    with cluster.manager() as m:
        yield m

# SPDX-License-Identifier: Apache-2.0
"""Leasehold in the run's cluster, and a namespace for each test."""

import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))


def pytest_addoption(parser):
    from product import IMAGES

    parser.addoption("--images", default=str(IMAGES), help="folder of the OCI archives to install [build/images]")


@pytest.fixture(scope="session")
def product(request, cluster, cluster_manager):
    """Leasehold as Helm installs it, with a store for all namespaces of the label team=shop: a product.Product."""
    from product import IMAGES, Product

    made = Product(cluster, cluster_manager, request.config.getoption("--images", IMAGES))
    made.install()
    cluster.apply(made.store())
    return made


@pytest.fixture
def tenant(request, product):
    """A namespace for one test: a product.Tenant."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_")).strip("-")[:40].strip("-")
    made = product.namespace(name)
    yield made
    product.cluster.delete("namespace", name, wait=False)


@pytest.fixture
def served(product):
    """The namespace in which Secret copies are switched on, without projections of other tests: a product.Tenant."""
    from product import SERVED

    made = product.namespace(SERVED)
    yield made
    product.cluster.delete("secretprojections", "-n", SERVED, "--all")


@pytest.fixture
def node(product):
    """The driver on node a: a volumes.Node."""
    from volumes import Node

    found = Node(product.cluster)
    if not found.is_installed():
        pytest.skip("the chart's default leaves the node's driver out (node.enabled)")
    return found


@pytest.fixture
def database_role(product):
    """database_role(name, ttl, max_ttl) makes a role of dynamic users and returns its path."""
    from provision import add_database_role

    def add(name, ttl="6s", max_ttl="15s"):
        add_database_role(product.manager.bao, name, ttl, max_ttl)
        return f"database/creds/{name}"

    return add

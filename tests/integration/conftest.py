# SPDX-License-Identifier: Apache-2.0
"""One lab for the whole run: ops/lab up without the conversation. HEDGEROW_TEST_LAB=DIR uses a lab
that is up already and leaves it there; HEDGEROW_TEST_KEEP=1 leaves the lab of a failed run."""
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from labkit import Lab  # noqa: E402
from mailkit import wait_config  # noqa: E402
from xmpp import Client  # noqa: E402


@pytest.fixture(scope="session")
def lab(request):
    given = os.environ.get("HEDGEROW_TEST_LAB")
    if given:
        yield Lab(given)
        return
    home = tempfile.mkdtemp(prefix="hrt-")
    os.chmod(home, 0o711)  # PostgreSQL may be another user's
    one = Lab(os.path.join(home, "lab"))
    try:
        one.run("up", "--quiet")
    except AssertionError:
        one.run("down")
        shutil.rmtree(home)
        raise
    yield one
    if request.session.testsfailed and os.environ.get("HEDGEROW_TEST_KEEP"):
        print(f"\nthe lab is kept: HEDGEROW_LAB={one.directory} ops/lab status")
        return
    reports = one.sanitizer_reports()
    one.run("down")
    shutil.rmtree(home)
    assert not reports, "\n".join(reports)


@pytest.fixture
def login(lab):
    """login("ada") -> a client; all of them log out at the end."""
    clients = []

    def enter(local, **options):
        client = Client(lab.account(local), **options)
        clients.append(client)
        return client

    yield enter
    for client in clients:
        client.close()


def as_typed(value):
    return "" if value is None else ",".join(value) if isinstance(value, list) else value


@pytest.fixture
def mail_setting(lab):
    """mail_setting("boston", "example.com", away="1s") for the time of a test."""
    undone = []

    def change(site, domain, **fields):
        names = ", ".join(fields)
        before = lab.sql(site, f"SELECT {names} FROM hedgerow.mail_domain WHERE site = %s AND domain = %s",
                         site, domain)[0]
        lab.hedgerow(site, "domain", "mail", "set", domain, *(f"{name}={value}" for name, value in fields.items()))
        undone.append((site, domain, dict(zip(fields, before))))
        wait_config(lab, site)

    yield change
    for site, domain, fields in reversed(undone):
        lab.hedgerow(site, "domain", "mail", "set", domain,
                     *(f"{name}={as_typed(value)}" for name, value in fields.items()))
        wait_config(lab, site)


def pytest_configure(config):
    config.addinivalue_line("markers", "drill: kills at random for a minute or more; only the whole ops/check runs it, without sanitizers")

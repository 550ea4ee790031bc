# SPDX-License-Identifier: Apache-2.0
"""What somebody without chat is mailed is nowhere else: all of it goes, in as many mails as it takes, and one mail that
the smarthost chokes on keeps nothing from going."""
import os

import pytest

from labkit import unique, wait_until
from mailkit import body
from test_mail_copies import (BOB, DEFERRED, KATE, MARIT, QUEUED, fixture_kate, fixture_smarthost_of,  # noqa: F401
                              later, now)

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can run a Postfix")


def nothing_waits(lab, site):
    wait_until(lambda: lab.value(site, QUEUED) == 0 and lab.value(site, DEFERRED) == 0, "all to be settled", 60)


def said(smarthost, words):
    """Those of the words that were taken, in order, by mail."""
    mails = [body(mail) for _, mail in smarthost.taken]
    return [[word for word in words if word in mail] for mail in mails]


def wait_deferred(lab, site, count):
    wait_until(lambda: lab.value(site, DEFERRED) == count, f"{count} to be deferred")


def test_what_a_digest_does_not_hold_goes_in_the_next(lab, login, smarthost_of):
    bob, smarthost = login("bob"), smarthost_of("amsterdam", digest=3)
    smarthost.answers["rcpt"] = ["450 4.2.0 not now"]
    words = [unique(f"w{n}") for n in range(7)]
    bob.message(MARIT, words[0])
    wait_deferred(lab, "amsterdam", 1)
    later(lab, "amsterdam")
    for word in words[1:]:
        bob.message(MARIT, word)
    wait_deferred(lab, "amsterdam", 7)
    now(lab, "amsterdam")
    smarthost.wait_taken(lambda _, mail: words[-1] in body(mail), "the last")
    nothing_waits(lab, "amsterdam")
    assert said(smarthost, words) == [words[:3], words[3:6], words[6:]]
    assert not any("wait for you" in body(mail) for _, mail in smarthost.taken)

# SPDX-License-Identifier: Apache-2.0
"""The lab itself: it shows a conversation, and down leaves nothing behind."""
import os
import shutil
import subprocess
import tempfile

import pytest

from labkit import Lab, TOP, processes_of, unique, wait_until

MAIL = ("postfix", "milter") if os.getuid() == 0 else ()  # only root can run a Postfix
BY_MAIL = (["marit.adams@example.com got a mail:", "<-  marit.adams@example.com: Yes, and I bring the billhook."]
           if MAIL else ["no mail: only root can run a Postfix"])


def test_chat_shows_what_both_sides_saw(lab):
    shown = lab.run("chat", "ada", "bob", "Good morning")
    assert "->  bob.baker@example.com: Good morning" in shown
    assert "<-  ada.adams@example.com/lab: Good morning" in shown


def test_chat_shows_the_error_that_comes_back(lab):
    shown = lab.run("chat", "ada", "nobody@example.com", "Anyone?", check=False)
    assert "error: item-not-found" in shown


@pytest.mark.skipif(not MAIL, reason="only root can run a Postfix")
def test_mail_shows_what_came_and_answers_it(lab):
    text, reply = unique("by mail"), unique("and back")
    lab.run("chat", "ada", "niels.baker@example.com", text)
    shown = wait_until(lambda: [said for said in [lab.run("mail", "niels", check=False)] if text in said], "the mail")[0]
    assert "From:     Ada Adams <chat@chat.boston.example>" in shown
    mark = lab.log_mark("gateway-boston")
    shown = lab.run("mail", "niels", "reply", reply)
    assert reply in shown and f"> {text}" in shown
    lab.wait_log(mark, "event=mail.received .*from=niels.baker@example.com")


def test_status_names_every_process(lab):
    shown = lab.run("status")
    for name in ("gateway-amsterdam", "gateway-boston", "directory-amsterdam", "directory-boston",
                 "postgres-amsterdam", "postgres-boston", "prosody-alpha", "ejabberd-beta",
                 "slapd-alpha", "slapd-beta", "relay") + MAIL:
        assert any(line.startswith(name) and " up, pid " in line for line in shown.splitlines()), name


@pytest.mark.drill
def test_down_leaves_nothing_behind():
    home = tempfile.mkdtemp(prefix="hrt-")
    os.chmod(home, 0o711)
    one = Lab(os.path.join(home, "lab"))
    shown = one.run("up")
    try:
        for words in ["ada@im.alpha.example on Prosody", "bob@im.beta.example on ejabberd"] + BY_MAIL:
            assert words in shown
        assert processes_of(one.directory)
    finally:
        one.run("down")
    assert os.listdir(home) == []
    assert processes_of(one.directory) == []
    one.run("down")  # a second time is no error
    shutil.rmtree(home)


def test_down_touches_nothing_that_is_not_a_lab(tmp_path):
    (tmp_path / "file").write_text("precious")
    done = subprocess.run([TOP / "ops/lab", "down"], env={**os.environ, "HEDGEROW_LAB": str(tmp_path)},
                          capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "not a lab" in done.stderr
    assert (tmp_path / "file").read_text() == "precious"

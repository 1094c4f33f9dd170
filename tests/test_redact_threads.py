"""Threads that add secrets and threads that write lines: none is written once its ``add_secret`` has returned."""

import os
import signal
import sys
import threading

import pytest

from observability import redact
from observability.redact import MASK, add_secret, forget_secrets, is_clean, text


@pytest.fixture(autouse=True)
def nothing_is_known():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    forget_secrets()
    yield
    sys.setswitchinterval(interval)
    forget_secrets()


def test_a_secret_that_is_added_while_the_rules_are_made_is_masked(monkeypatch):
    """The other thread adds its secret in the middle of the making: what was made without it is not kept."""
    make, added = redact._make, []

    def late(secrets):
        made = make(secrets)
        if not added:
            added.append(True)
            other = threading.Thread(target=add_secret, args=("correcthorse",))
            other.start()
            other.join()
        return made

    monkeypatch.setattr(redact, "_make", late)
    add_secret("batterystaple")
    assert not is_clean(b"said correcthorse")
    assert text("correcthorse batterystaple") == f"{MASK} {MASK}"


@pytest.mark.parametrize("ask", [is_clean, lambda line: text(line.decode())], ids=["is_clean", "text"])
def test_many_threads_that_add_secrets_leave_a_scan_that_ends_and_knows_each(ask):
    errors = []

    def adds(number):
        try:
            for one in range(10):
                secret = f"pass-{number}-{one}-word"
                add_secret(secret)
                found = ask(f"it is {secret} today".encode())
                assert found is False or found == f"it is {MASK} today", (secret, found)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=adds, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert errors == []
    assert is_clean(b"nothing is said")


def test_a_fork_while_another_thread_holds_the_lock_can_go_on():
    add_secret("correcthorse")
    assert is_clean(b"nothing is said")
    with redact._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # ends a child that waits for ever
            add_secret("batterystaple")
            os._exit(0 if text("batterystaple correcthorse") == f"{MASK} {MASK}" else 1)
        assert os.waitpid(child, 0)[1] == 0

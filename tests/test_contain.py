import os
import subprocess
import sys

import pytest

from observability.contain import contained, count_loss, take_losses, text_of


@pytest.fixture(autouse=True)
def _no_losses_left():
    take_losses()
    yield
    take_losses()


def test_a_failure_is_counted_and_raised_again_under_pytest():
    with pytest.raises(ValueError, match="ours"), contained("here"):
        raise ValueError("ours")
    assert take_losses() == {("here", "ValueError"): 1}


@pytest.mark.parametrize("imports", ["", "import pytest; "])
def test_a_failure_ends_here_in_production(imports):
    program = (
        f"{imports}from observability.contain import contained, take_losses\n"
        "with contained('here'): raise ValueError\n"
        "print(take_losses())"
    )
    plain = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=plain)
    assert done.stdout == "{('here', 'ValueError'): 1}\n"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_ends_a_process_passes_through_uncounted(kind):
    with pytest.raises(kind), contained("here"):
        raise kind
    assert take_losses() == {}


def test_losses_are_taken_once():
    count_loss("here", "full", 2)
    count_loss("here", "full")
    assert take_losses() == {("here", "full"): 3}
    assert take_losses() == {}


def test_the_text_of_an_object_that_refuses_is_its_type():
    class Refusing:
        def __str__(self):
            raise RuntimeError

    assert text_of(Refusing()) == "<Refusing whose text cannot be had: RuntimeError>"

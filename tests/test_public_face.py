import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["emit", "measure"])
def test_a_function_stays_a_function_when_its_module_was_imported_first(name):
    program = f"import observability.{name}\nfrom observability import {name}\nprint(type({name}).__name__)"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "function\n"

"""What a file fills is not filled twice; what it leaves out is as Keras would have it."""

import json
import subprocess
import sys
from pathlib import Path

from exporter.worker import environment

SCRIPT = Path(__file__).with_name("fill_variables.py")


def test_a_variable_has_the_file_s_values_or_those_of_its_initializer() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, timeout=180, check=True, env=environment()
    )
    assert json.loads(done.stdout) == {"assigned": True, "left_out": True, "constant": True}

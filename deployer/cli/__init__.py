"""The command line, ``slipway``: a client of the function app's HTTP API and of the drop container.

It works against the local cloud and against Azure alike; only ``up`` knows the local cloud.
"""

from deployer.cli.app import main

__all__ = ["main"]

"""What the commands share: their common arguments, and JSON on standard output."""

import json
from typing import Annotated, Any

import typer

from deployer.cli.errors import Usage
from deployer.cli.target import Options
from deployer.errors import UploadRefused
from deployer.names import model_name

AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, and nothing else.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name; Cats_v2 means cats-v2.")]


def options(context: typer.Context) -> Options:
    """Which Slipway is meant."""
    found = context.find_object(Options)
    return found if found is not None else Options()


def name(given: str) -> str:
    """A model's name as it was given.

    Raises:
        Usage: it cannot be one.
    """
    try:
        return model_name(given)
    except UploadRefused as refused:
        raise Usage(refused.code, refused.message, refused.hint) from refused


def print_json(document: Any) -> None:
    """For programs."""
    print(json.dumps(document, indent=2, ensure_ascii=False))

"""``slipway key``: the keys of single models."""

from typing import Annotated

import typer

from deployer.cli.arguments import AsJson, Name, name, options, print_json
from deployer.cli.target import find_target

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    help="Make, list and remove keys that open one model's predictions only.",
)  # fmt: skip

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key's name: who uses it, say.")]


@app.command()
def add(context: typer.Context, model: Name, key: Key, as_json: AsJson = False) -> None:
    """Make a key; it is shown this once."""
    from deployer.cli.api import Api  # noqa: PLC0415

    target = find_target(options(context))
    made = Api(target).add_key(name(model), key)
    if as_json:
        print_json(made)
        return
    print(made["key"])
    typer.echo(
        f"Shown this once. Send it as the header x-slipway-key to {target.url}/api/keyed/classify/{made['model']}",
        err=True,
    )


@app.command("list")
def list_keys(context: typer.Context, model: Name, as_json: AsJson = False) -> None:
    """List a model's keys by name."""
    from deployer.cli.api import Api  # noqa: PLC0415

    found = Api(find_target(options(context))).keys(name(model))
    if as_json:
        print_json(found)
        return
    for key in found["keys"]:
        print(f"{key['name']}  made {key['created']}")
    if not found["keys"]:
        print(f"'{found['model']}' has no keys of its own. Make one: slipway key add {found['model']} KEY")


@app.command("rm")
def remove(context: typer.Context, model: Name, key: Key, as_json: AsJson = False) -> None:
    """Remove a key; within seconds it opens nothing any more."""
    from deployer.cli.api import Api  # noqa: PLC0415

    left = Api(find_target(options(context))).remove_key(name(model), key)
    if as_json:
        print_json(left)
    else:
        print(f"Removed. '{left['model']}' has {len(left['keys'])} keys left.")

"""The commands of ``slipway``: each reads its arguments, calls one use case and shows its answer.

What a command does not need is imported only where it is used: ``slipway --help`` answers at once.
"""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deployer.cli import key
from deployer.cli.arguments import AsJson, Name
from deployer.cli.arguments import name as _name
from deployer.cli.arguments import options as _options
from deployer.cli.arguments import print_json as _print_json
from deployer.cli.errors import CliError, ExitCode, Failed, Usage
from deployer.cli.target import DEFAULT_DATA, Options, find_target

app = typer.Typer(
    name="slipway", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Put a Keras model in a blob container; a moment later a GPU endpoint answers for it.",
)  # fmt: skip

app.add_typer(key.app, name="key")


class ClusterAction(StrEnum):
    """What may be asked of the cluster."""

    plan = "plan"
    wake = "wake"
    sleep = "sleep"
    hold = "hold"
    release = "release"


@app.callback()
def options(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="Folder of the local cloud.", envvar="SLIPWAY_DATA")] = DEFAULT_DATA,
    url: Annotated[str | None, typer.Option(help="Address of a function app.", envvar="SLIPWAY_URL")] = None,
    key: Annotated[str | None, typer.Option(help="Its function key.", envvar="SLIPWAY_KEY")] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Storage account for uploads: connection string or https://ACCOUNT.blob.core.windows.net.",
            envvar="SLIPWAY_STORAGE_CONNECTION",
        ),
    ] = None,
) -> None:
    """Put a Keras model in a blob container; a moment later a GPU endpoint answers for it."""
    context.obj = Options(data=data, url=url or None, key=key or None, storage=storage or None)


@app.command()
def up(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port of the function app; 0: a free one.", min=0, max=65535)] = 0,
    as_json: AsJson = False,
) -> None:
    """Run the local cloud in the foreground until Ctrl-C; its state lives in the --data folder."""
    from deployer.cli.up import run  # noqa: PLC0415

    run(_options(context).data, port=port, as_json=as_json)


@app.command()
def push(
    context: typer.Context,
    *,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A model file, or the folder of a SavedModel.")],
    name: Annotated[str | None, typer.Option(help="The model's name; else that of the file.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the model until it serves or is refused.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds that --wait waits.", min=0)] = 900,
    as_json: AsJson = False,
) -> None:
    """Drop a model into the blob container; NAME.labels.txt and NAME.yaml beside it go with it."""
    from deployer.cli import show  # noqa: PLC0415
    from deployer.cli.api import Api  # noqa: PLC0415
    from deployer.cli.drop import drop_of  # noqa: PLC0415

    drop = drop_of(path, name)
    target = find_target(_options(context))
    storage = target.drop_storage()
    from deployer.cli.push import push as send  # noqa: PLC0415
    from deployer.cli.storage import DropContainer  # noqa: PLC0415

    container = DropContainer(storage)
    api = Api(target) if wait else None
    if as_json:
        _print_json(send(drop, container, api, show.SilentPush(), timeout_seconds=timeout))
        return
    console = show.console()
    with show.live_push(console) as live:
        answer = send(drop, container, api, live, timeout_seconds=timeout)
    show.pushed(console, answer)


@app.command()
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models and what serves."""
    from deployer.cli import show  # noqa: PLC0415
    from deployer.cli.api import Api  # noqa: PLC0415

    found = Api(find_target(_options(context))).models()
    if as_json:
        _print_json({"models": found})
    else:
        show.models(show.console(), found)


@app.command()
def status(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Show one model: its versions, its timeline, and what went wrong last."""
    from deployer.cli import show  # noqa: PLC0415
    from deployer.cli.api import Api  # noqa: PLC0415

    target = find_target(_options(context))
    found = Api(target).model(_name(name))
    if as_json:
        _print_json(found)
    else:
        show.model(show.console(), found, target)


@app.command()
def classify(
    context: typer.Context,
    *,
    name: Name,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="JPEG or PNG files.")],
    top: Annotated[int | None, typer.Option(help="How many classes; else what the model's options say.", min=1)] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for a model that sleeps.", min=0)] = 300,
    as_json: AsJson = False,
) -> None:
    """Classify images by a model; wakes it where it sleeps."""
    from deployer.cli import asking, show  # noqa: PLC0415
    from deployer.cli.api import Api  # noqa: PLC0415

    read = asking.read_images(images)
    api = Api(find_target(_options(context)))
    told = show.console(stderr=True)
    results = asking.classify_all(
        api, _name(name), read, top=top, wait_seconds=wait, waking=lambda error: show.waking(told, error)
    )
    refused = [result for result in results if "error" in result]
    if refused and len(results) == 1:
        raise Failed(**refused[0]["error"])
    if as_json:
        _print_json({"model": _name(name), "results": results})
    else:
        show.predictions(show.console(), results)
    if refused:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def retry(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Take up a model's upload or rollout that failed or was given up."""
    from deployer.cli import show  # noqa: PLC0415
    from deployer.cli.api import Api  # noqa: PLC0415

    found = Api(find_target(_options(context))).retry(_name(name))
    if as_json:
        _print_json(found)
    else:
        show.retried(show.console(), found)


@app.command()
def rollback(
    context: typer.Context,
    name: Name,
    to: Annotated[
        int | None, typer.Option("--to", metavar="N", min=1, help="The version; else the one that served before.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Go back to an earlier version of a model; it is proven again before requests go to it."""
    from deployer.cli import show  # noqa: PLC0415
    from deployer.cli.api import Api  # noqa: PLC0415

    found = Api(find_target(_options(context))).rollback(_name(name), to)
    if as_json:
        _print_json(found)
    else:
        show.rolled_back(show.console(), found)


@app.command()
def rm(
    context: typer.Context,
    name: Name,
    uploads: Annotated[
        bool, typer.Option("--uploads", help="Remove what was dropped as well; else it stays in the container.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a model, its versions and all that serves it."""
    from deployer.cli import show  # noqa: PLC0415
    from deployer.cli.api import Api  # noqa: PLC0415

    answer = Api(find_target(_options(context))).remove(_name(name), uploads=uploads)
    if as_json:
        _print_json(answer)
    else:
        show.removed(show.console(), answer)


@app.command()
def doctor(
    context: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Make lost records anew first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong around the app; status 1 if anything is."""
    from deployer.cli import show  # noqa: PLC0415
    from deployer.cli.api import Api  # noqa: PLC0415

    answer = Api(find_target(_options(context))).doctor(repair=repair)
    if as_json:
        _print_json(answer)
    else:
        show.findings(show.console(), answer)
    if not answer["healthy"]:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def cluster(
    context: typer.Context,
    action: Annotated[ClusterAction | None, typer.Argument(help="Nothing shows the cluster as it is.")] = None,
    minutes: Annotated[
        int | None,
        typer.Option("--for", metavar="MINUTES", min=1, help="How long the order outranks the idle timer; default 60."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the cluster or what is planned for it; wake it, put it to sleep, hold it as it is, or release it again."""
    from deployer.cli import show, show_cluster  # noqa: PLC0415
    from deployer.cli.api import Api  # noqa: PLC0415

    api = Api(find_target(_options(context)))
    match action:
        case None:
            answer = api.cluster()
        case ClusterAction.plan:
            answer = api.cluster_plan()
        case order:
            answer = api.order(order.value, minutes)
    if as_json:
        _print_json(answer)
    elif action is ClusterAction.plan:
        show_cluster.plan(show.console(), answer)
    else:
        show_cluster.cluster(show.console(), answer)


@app.command()
def ledger(
    context: typer.Context,
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="Default: this month.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the month's changes as CSV, and nothing else.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what ran in a month, who changed it and why, and what it cost against always on."""
    from deployer.cli import show, show_cluster  # noqa: PLC0415
    from deployer.cli.api import Api  # noqa: PLC0415

    if as_csv and as_json:
        raise Usage("usage", "--csv and --json cannot both be meant.", "Give one of them.")
    answer = Api(find_target(_options(context))).ledger(month)
    if as_json:
        _print_json(answer)
    elif as_csv:
        show_cluster.ledger_csv(answer, sys.stdout)
    else:
        show_cluster.ledger(show.console(), answer)


@app.command()
def export(
    *,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A model file, or the folder of a SavedModel.")],
    destination: Annotated[Path, typer.Argument(metavar="DIR", help="The servable; may not exist yet.")],
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One class name a line; else NAME.labels.txt beside PATH.")
    ] = None,
    options: Annotated[Path | None, typer.Option(metavar="FILE", help="Options; else NAME.yaml beside PATH.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a verified servable of a model, on this machine alone."""
    from deployer.cli import show, show_export  # noqa: PLC0415
    from deployer.cli.export import export as make  # noqa: PLC0415
    from deployer.cli.export import find_sidecars  # noqa: PLC0415

    sidecars = find_sidecars(path, options=options, labels=labels)
    if as_json:
        _print_json(make(path, destination, sidecars, lambda stage: None))
        return
    console = show.console()
    with show_export.live(console) as entered:
        report = make(path, destination, sidecars, entered)
    show_export.made(console, report)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with the status that docs/reference/cli.md gives."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given  # also where the arguments cannot be parsed
    try:
        status = app(args=given, prog_name="slipway", standalone_mode=False)
    except CliError as error:
        _tell(error, as_json=as_json)
        status = error.exit_code
    except typer.TyperException as error:
        message = error.format_message()
        _tell(
            Usage("usage", message, "'slipway --help' and 'slipway COMMAND --help' tell what is understood."),
            as_json=as_json,
        )
        status = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        status = ExitCode.INTERRUPTED
    sys.exit(status if isinstance(status, int) else ExitCode.OK)


def _tell(error: CliError, *, as_json: bool) -> None:
    if as_json:
        _print_json(error.body())
        return
    print(f"slipway: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  {error.hint}", file=sys.stderr)

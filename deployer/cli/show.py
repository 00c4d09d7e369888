"""How answers look to people. Programs ask for ``--json``."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.status import Status
from rich.table import Table

from deployer.cli.drop import DropFile
from deployer.cli.errors import Waking
from deployer.cli.target import Target

Document = Mapping[str, Any]

_STYLES = {
    **dict.fromkeys(("ok", "serving", "done", "awake"), "green"),
    **dict.fromkeys(("failed", "error", "given_up", "unfinished"), "red"),
    **dict.fromkeys(("asleep", "retired"), "dim"),
}
_MARKS = {"done": "✓", "failed": "✗", "interrupted": "…"}
_BAR_FROM_BYTES = 4 * 1024 * 1024


def models(console: Console, found: Sequence[Document]) -> None:
    """The table of all models."""
    if not found:
        console.print("There are no models yet. Put one there: slipway push MODEL.keras --wait")
        return
    table = new_table("model", "state", "version", "updated", "")
    for model in found:
        why = " ".join(part for part in (model.get("reason"), model.get("hint")) if part)
        version = f"v{model['version']}" if model.get("version") is not None else "-"
        if model["asleep"] and model["state"] != "asleep":
            version += " (asleep)"
        table.add_row(
            escape(model["name"]), state_mark(model["state"]), version, moment(model.get("updated")), escape(why)
        )
    console.print(table)


def model(console: Console, shown: Document, target: Target) -> None:
    """Everything about one model."""
    serves = "sleeps, and wakes with its first request" if shown["asleep"] else "serves"
    version = f", v{shown['version']} {serves}" if shown.get("version") is not None else ""
    job = (shown.get("upload") or {}).get("job")
    where = f" as the Job {escape(job)}" if job else ""
    console.print(f"[bold]{escape(shown['name'])}[/bold]  {state_mark(shown['state'])}{where}{version}")
    if rollout := shown.get("rollout"):
        console.print(f"  rollout of v{rollout['version']}: {escape(rollout['message'] or rollout['step'])}")
    upload = shown.get("upload") or {}
    if wake := shown.get("wake"):
        console.print(f"  {wake_line(wake)}", soft_wrap=True)
    if shown.get("reason"):
        # Else it tells why another version than the newest serves.
        wrong = shown["state"] not in ("serving", "asleep", "rolling")
        console.print(f"  {state_mark('failed' if wrong else 'rolling', shown['reason'])}")
        if shown.get("hint"):
            console.print(f"  {escape(shown['hint'])}")
    for version in shown["versions"]:
        if version.get("schema_change") and version["version"] == upload.get("version"):
            console.print(f"\n  what v{version['version']} changes for clients (! breaks them):")
            for line in version["schema_change"]:
                console.print(f"    {escape(line)}", soft_wrap=True)
    if shown.get("version") is not None:
        key = target.key if target.local is not None and target.key else "$SLIPWAY_KEY"
        url = target.url + shown["classify_url"]
        console.print(f"\n  curl -H 'x-functions-key: {key}' --data-binary @IMAGE {url}", soft_wrap=True, markup=False)
    if shown["versions"]:
        console.print()
        console.print(_versions(shown["versions"]))
    if shown["timeline"]:
        console.print()
        for stage in shown["timeline"]:
            console.print(stage_line(stage), soft_wrap=True)
    if shown.get("history"):
        console.print()
        for entry in shown["history"]:
            why = f" ({entry['why']})" if entry.get("why") else ""
            line = f"  {moment(entry['at'])}  {entry['who']}: {entry['what']}{why}"
            console.print(escape(line), soft_wrap=True)


def _versions(found: Sequence[Document]) -> Table:
    table = new_table("version", "state", "made", "source", "size", "labels", "")
    for version in sorted(found, key=lambda item: item["version"], reverse=True):
        source = (version.get("source") or {}).get("name", "-")
        labels = str(version["labels"]) if version.get("labels") else "-"
        table.add_row(
            f"v{version['version']}", state_mark(version["state"]), moment(version.get("created")), escape(source),
            size(version.get("bytes") or 0), labels, escape(version.get("reason") or ""),
        )  # fmt: skip
    return table


def stage_line(stage: Document) -> str:
    """One stage of a timeline with its duration, as rich markup."""
    number = f"v{stage['version']}" if stage.get("version") is not None else ""
    detail = escape(stage.get("detail") or "")
    mark = state_mark(stage["outcome"], _MARKS.get(stage["outcome"], "?"))
    attempt = f"attempt {stage['attempt']}" if stage.get("attempt", 1) > 1 else ""
    when = "-".join(moment(stage[name])[11:] for name in ("started", "ended") if stage.get(name))
    told = "  ".join(part for part in (attempt, detail) if part)
    return f"  {mark} {number:4} {stage['stage']:<10} {when}  {stage['seconds']:7.2f} s  {told}"


def wake_line(wake: Document) -> str:
    """How far a wake is: what remains, and its stages with the seconds they took, or are expected to take (in brackets)."""
    stages = []
    for stage in wake["stages"]:
        took, usual = stage["seconds"], stage["expected_seconds"]
        parts = [f"{took:.0f} s" if took is not None else "", f"({usual:.0f} s)" if usual is not None else ""]
        stages.append(f"{stage['stage']} {' '.join(part for part in parts if part)}".rstrip())
    return escape(
        f"wakes from '{wake['rung']}': {wake['stage']}, about {wake['eta_seconds']} s remain: {', '.join(stages)}"
    )


def pushed(console: Console, answer: Document) -> None:
    """How a push ended."""
    match answer.get("state"):
        case "serving" if answer["known"]:
            console.print(
                f"[green]{answer['model']}[/green] is already serving these very bytes as v{answer['version']}."
            )
        case "serving":
            console.print(f"[green]{answer['model']}[/green] serves v{answer['version']}.")
        case "asleep":
            console.print(f"{answer['model']} v{answer['version']} stands ready and wakes with its first request.")
        case _:
            console.print(f"Sent as {answer['blob']}. 'slipway status {answer['model']}' shows what becomes of it.")


def retried(console: Console, shown: Document) -> None:
    """That a model was taken up again."""
    upload = shown.get("upload") or {}
    when = "with the next sweep, within a minute" if upload.get("state") == "queued" else "now"
    name = escape(shown["name"])
    console.print(f"{name} is taken up again {when}. 'slipway status {name}' shows what becomes of it.")


def rolled_back(console: Console, shown: Document) -> None:
    """That a model goes back to a version."""
    name, when = escape(shown["name"]), "when it is next asked" if shown["asleep"] else "once it has proven itself"
    console.print(
        f"{name} goes back to v{shown['desired']}, which serves {when}. 'slipway status {name}' shows how far it is."
    )


def removed(console: Console, answer: Document) -> None:
    """How far a removal is."""
    if not answer["removed"]:
        console.print(f"{answer['name']} serves no more; what is left of it goes with the next sweeps.")
    else:
        kept = "" if answer["uploads"] else " What was dropped stays in the container 'models'."
        console.print(f"{answer['name']} is gone.{kept}")


def findings(console: Console, answer: Document) -> None:
    """What the doctor found."""
    for name in answer.get("repaired", ()):
        console.print(f"record of {escape(name)} made anew")
    if answer.get("repaired") == []:
        console.print("no record was lost")
    for found in answer["findings"]:
        message = f": {escape(found['message'])}" if found["message"] else ""
        console.print(f"{state_mark(found['level'])} {escape(found['check'])}{message}", soft_wrap=True)
        if found["hint"]:
            console.print(f"  {escape(found['hint'])}", soft_wrap=True)


def predictions(console: Console, results: Sequence[Document]) -> None:
    """The table of labels and scores, image by image."""
    table = new_table("image", "label", "score", "version")
    for result in results:
        if "error" in result:
            continue
        for place, found in enumerate(result["predictions"]):
            first = place == 0
            table.add_row(
                escape(result["image"]) if first else "", escape(str(found["label"])), f"{found['score']:.4f}",
                f"v{result['version']}" if first else "",
            )  # fmt: skip
    if table.row_count:
        console.print(table)
    for result in results:
        if "error" in result:
            told = result["error"]
            console.print(f"{escape(result['image'])}: [red]{escape(told['message'])}[/red] {escape(told['hint'])}")


def waking(console: Console, error: Waking) -> None:
    """That a model is being woken, and how long it takes."""
    eta = error.details.get("eta_seconds")
    stage = error.details.get("stage")
    console.print(
        f"{escape(error.message)}"
        + (f" Ready in about {eta:.0f} s" if eta is not None else "")
        + (f" ({stage})." if stage else ".")
    )


class LivePush:
    """Shows a push as it goes: a bar for large files, a line per ended stage, and what is being done now."""

    def __init__(self, console: Console, status: Status, bars: Progress) -> None:
        self._console, self._status, self._bars = console, status, bars
        self._tasks: dict[str, TaskID] = {}

    def sent(self, file: DropFile, count: int) -> None:
        """Moves the file's bar."""
        if file.blob not in self._tasks:
            size = file.path.stat().st_size
            if size < _BAR_FROM_BYTES:
                return
            self._tasks[file.blob] = self._bars.add_task(escape(file.blob), total=size)
            self._bars.start()
        self._bars.update(self._tasks[file.blob], completed=count)

    def doing(self, what: str) -> None:
        """Shows it beside the spinner."""
        self._bars.stop()
        self._status.start()
        self._status.update(escape(what))

    def stage(self, stage: Document) -> None:
        """Prints the stage's line."""
        self._bars.stop()
        self._console.print(stage_line(stage))


@contextmanager
def live_push(console: Console) -> Iterator[LivePush]:
    """A display of a push that leaves the terminal as it was, however the push ends."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    status, bars = console.status(""), Progress(*columns, console=console, disable=not console.is_terminal)
    try:
        yield LivePush(console, status, bars)
    finally:
        bars.stop()
        status.stop()


class SilentPush:
    """Shows nothing: for ``--json``."""

    def sent(self, file: DropFile, count: int) -> None:
        """Says nothing."""

    def doing(self, what: str) -> None:
        """Says nothing."""

    def stage(self, stage: Document) -> None:
        """Says nothing."""


def console(*, stderr: bool = False) -> Console:
    """The terminal, or plain lines where the output goes elsewhere."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else 160)


def new_table(*columns: str) -> Table:
    """A table without lines."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column)
    return table


def state_mark(state: str, text: str | None = None) -> str:
    """A state in its colour, as rich markup."""
    style = _STYLES.get(state, "yellow")
    return f"[{style}]{escape(text or state)}[/{style}]"


def moment(iso: str | None) -> str:
    """A time without its zone."""
    return iso.replace("T", " ")[:19] if iso else "-"


def size(count: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"

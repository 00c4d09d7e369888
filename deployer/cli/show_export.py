"""How an export looks to people: the stages as they pass, and what the servable has become."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape

from deployer.cli.export import START
from deployer.cli.show import Document, size
from exporter import Stage

_DOING = {
    Stage.SCAN: "reading what it is and what it carries",
    START: "starting TensorFlow in a process of its own",
    Stage.LOAD: "loading it there",
    Stage.TRACE: "tracing its signatures",
    Stage.WRITE: "writing the servable",
    Stage.VERIFY: "comparing the servable's answers with the model's",
}


@contextmanager
def live(console: Console) -> Iterator[Callable[[str], None]]:
    """Gives a function to call as each stage begins; leaves the terminal as it was, however the export ends."""
    status = console.status("")
    current: tuple[str, float] | None = None

    def ended(outcome: str) -> None:
        if current is not None:
            stage, since = current
            console.print(f"  {outcome} {stage:<8} {time.monotonic() - since:6.2f} s")

    def entered(stage: str) -> None:
        nonlocal current
        ended("[green]✓[/green]")
        current = stage, time.monotonic()
        status.update(_DOING[stage])
        status.start()

    try:
        yield entered
        ended("[green]✓[/green]")
    except BaseException:
        ended("[red]✗[/red]")
        raise
    finally:
        status.stop()


def made(console: Console, report: Document) -> None:
    """The servable: its signatures, how it takes images, and how well it answers."""
    source, parity = report["source"], report["parity"]
    console.print(
        f"[green]{escape(report['directory'])}[/green]  {size(report['bytes'])}, from {escape(source['name'])}"
    )
    for name, signature in sorted(report["signatures"].items()):
        taken, given = (_tensors(signature[side]) for side in ("inputs", "outputs"))
        console.print(f"  {escape(name)}: {taken} → {given}", soft_wrap=True)
    if image := report["image"]:
        inferred = f" (inferred: {', '.join(image['inferred'])})" if image["inferred"] else ""
        softmax = ", softmax applied" if image["logits"] else ""
        console.print(
            f"  images: {image['height']} × {image['width']} × {image['channels']}, scaling {image['scaling']}"
            f"{softmax}{inferred}; {len(report['labels'])} labels, {min(report['top'], len(report['labels']))} returned"
        )
    sizes = " and ".join(map(str, parity["batch_sizes"]))
    console.print(f"  verified with batches of {sizes}: largest difference {parity['max_abs_error']:.2g}")


def _tensors(tensors: dict[str, Any]) -> str:
    return ", ".join(escape(f"{name} {spec['dtype']}{_shape(spec['shape'])}") for name, spec in sorted(tensors.items()))


def _shape(shape: list[int | None] | None) -> str:
    return "[…]" if shape is None else str(["N" if side is None else side for side in shape]).replace("'", "")

"""What the demo prints: a timeline of chapters and their steps, on a terminal or in a plain file alike."""

import io
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.status import Status
from rich.table import Table
from rich.text import Text

WIDTH = 112
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # the reader's own monospace font will do
_MARGIN = 10


@dataclass
class Chapter:
    """One part of the story and when it began and ended, in seconds of the whole; ``name`` is for the summary."""

    name: str
    began: float
    ended: float = 0.0
    outcome: str = ""


@dataclass
class Show:
    """Prints the story as it goes. ``record`` keeps a copy for a picture."""

    record: bool = False
    chapters: list[Chapter] = field(default_factory=list)
    _epoch: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        """Opens the terminal, and the recording if one is asked for."""
        self._terminal = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else WIDTH)
        self._consoles = [self._terminal]
        if self.record:
            recording = Console(
                record=True,
                file=io.StringIO(),
                width=WIDTH,
                force_terminal=True,
                color_system="truecolor",
                highlight=False,
            )
            self._consoles.append(recording)
        self._status: Status | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._epoch

    def title(self, text: str, below: str) -> None:
        """The first lines."""
        self._print(f"\n[bold]{escape(text)}[/bold]\n[dim]{escape(below)}[/dim]")

    @contextmanager
    def chapter(self, name: str, title: str) -> Iterator[Chapter]:
        """A part of the story; what is printed inside belongs to it."""
        chapter = Chapter(name, self.elapsed)
        self.chapters.append(chapter)
        self._print(f"\n[cyan]{chapter.began:6.1f} s[/cyan]  [bold]{escape(title)}[/bold]")
        try:
            yield chapter
        finally:
            self.doing(None)
            chapter.ended = self.elapsed

    def done(self, what: str, seconds: float | None = None, detail: str = "") -> None:
        """A step that succeeded, with its duration."""
        self._step("[green]✓[/green]", what, seconds, detail)

    def refused(self, what: str, seconds: float | None = None, detail: str = "") -> None:
        """A step that Slipway refused, as it should."""
        self._step("[yellow]✗[/yellow]", what, seconds, detail)

    def say(self, text: str, style: str = "") -> None:
        """Prose below a step, wrapped at its own margin."""
        for console in self._consoles:
            console.print(Padding(Text(text, style=style), (0, 0, 0, _MARGIN + 2), expand=False))

    def command(self, *lines: str) -> None:
        """A command that a reader may copy."""
        for console in self._consoles:
            for line in lines:
                console.print(Text(" " * (_MARGIN + 2) + line, style="dim"), soft_wrap=True)

    def beside(self, left: Sequence[str], right: Sequence[str]) -> None:
        """A drawing with lines of text to its right."""
        padded = [*right, *[""] * (len(left) - len(right))]
        for drawn, text in zip(left, padded, strict=True):
            self.say(f"{drawn}   {text}".rstrip())

    def bars(self, classes: Sequence[tuple[str, float]]) -> list[str]:
        """Class names and scores, as lines with bars."""
        return [f"{name:<6} {score:7.4f} {'█' * round(score * 20)}" for name, score in classes]

    def doing(self, what: str | None) -> None:
        """What is being waited for; shown on terminals only. None: nothing any more."""
        if what is None:
            if self._status is not None:
                self._status.stop()
                self._status = None
        elif self._terminal.is_terminal:
            if self._status is None:
                self._status = self._terminal.status("")
                self._status.start()
            self._status.update(f"[dim]{escape(what)}[/dim]")

    def summary(self) -> None:
        """The whole story in a few lines: when, what, how long."""
        table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
        for name in ("at", "took", "", "what came of it"):
            table.add_column(name, justify="right" if name in ("at", "took") else "left", overflow="fold")
        for chapter in self.chapters:
            took = chapter.ended - chapter.began
            table.add_row(
                f"{chapter.began:.1f} s",
                f"{took:.1f} s",
                escape(chapter.name),
                f"[green]{escape(chapter.outcome)}[/green]",
            )
        self._print("")
        for console in self._consoles:
            console.print(table)
        self._print(f"\n[bold green]All of it held.[/bold green] {self.elapsed:.0f} s in all; nothing is left running.")

    def failure(self, message: str, hint: str) -> None:
        """Why the demo ended without success."""
        self.doing(None)
        self._print(f"\n[bold red]The demo failed.[/bold red] {escape(message)}\n{escape(hint)}")

    def save(self, picture: Path) -> None:
        """Writes the recording as an SVG."""
        drawn = self._consoles[-1].export_svg(title="make demo")
        picture.write_text(_FONT_FACE.sub("", drawn), encoding="utf-8")

    def _step(self, mark: str, what: str, seconds: float | None, detail: str) -> None:
        took = f"{seconds:7.2f} s" if seconds is not None else " " * 9
        told = f"  [dim]{escape(detail)}[/dim]" if detail else ""
        line = Text.from_markup(f"{mark} {escape(what):<24} {took}{told}")
        for console in self._consoles:
            console.print(Padding(line, (0, 0, 0, _MARGIN), expand=False), no_wrap=True, overflow="ellipsis")

    def _print(self, markup: str) -> None:
        for console in self._consoles:
            console.print(markup)

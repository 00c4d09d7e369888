"""What the demo prints where its output is no terminal, and the picture that it saves."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from demo.claims import check
from demo.errors import DemoError
from demo.show import Show


def _played(show: Show) -> None:
    show.title("Slipway", "all of it")
    with show.chapter("drop [it]", "Drop [digits]") as chapter:
        show.doing("waiting")
        show.done("converted", 1.234, "v1")
        show.refused("scanned", 0.5, "no zip")
        show.beside(["██", "  "], show.bars([("nine", 0.5)]))
        chapter.outcome = "it serves"
    show.summary()


def test_a_file_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    _played(Show())
    out = capsys.readouterr().out
    assert not {character for character in out if ord(character) < 32} - {"\n"}
    assert "waiting" not in out  # what is only of the moment is for terminals
    for word in (
        "Drop [digits]",
        "drop [it]",
        "✓ converted",
        "1.23 s",
        "✗ scanned",
        "nine    0.5000 ██████████",
        "it serves",
    ):
        assert word in out


def test_the_picture_is_an_svg_that_holds_the_story(tmp_path: Path) -> None:
    show = Show(record=True)
    _played(show)
    show.save(tmp_path / "demo.svg")
    tree = ElementTree.parse(tmp_path / "demo.svg")  # noqa: S314  (just written)
    assert tree.getroot().tag.endswith("svg")
    assert "font-face" not in (tmp_path / "demo.svg").read_text(encoding="utf-8")  # nothing is fetched to show it
    assert "converted" in "".join(tree.getroot().itertext()).replace("\xa0", " ")


def test_a_chapter_that_fails_keeps_its_time() -> None:
    show = Show()
    with (
        pytest.raises(DemoError, match="This should be so, and is not: water is wet"),
        show.chapter("claims", "Claims"),
    ):
        check(False, "water is wet")
    assert show.chapters[0].ended >= show.chapters[0].began

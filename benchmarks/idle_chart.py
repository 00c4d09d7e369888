"""The year of idle decisions as a chart: for each shape of traffic a bar of GPU hours a peer, and how many requests waited.

``python -m benchmarks.idle_chart`` draws ``docs/images/idle-year.svg`` anew.
"""

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.idle_year import YEAR, Year, main

_WIDTH, _LEFT, _BAR, _ROW, _GAP, _TOP = 860, 170, 440, 22, 34, 64
_FILL = {"Slipway": "#1f6feb", "clairvoyant": "#2da44e"}
_OTHERS = "#b6bec8"


def chart(years: Mapping[str, Mapping[str, Year]]) -> str:
    """The SVG of these years, by shape and peer."""
    parts, y = [], _TOP
    for traffic, found in years.items():
        parts.append(f'<text x="24" y="{y}" class="shape">{escape(traffic)}</text>')
        y += 10
        for peer, year in found.items():
            length = max(1.0, year.gpu_hours / (YEAR / 60) * _BAR)
            bold = ' font-weight="600"' if peer == "Slipway" else ""
            middle = y + _ROW - 7
            told = f"{year.gpu_hours:,.0f} h, {year.delayed:.1%} wait"
            parts += [
                f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end"{bold}>{escape(peer)}</text>',
                f'<rect x="{_LEFT}" y="{y + 3}" width="{length:.1f}" height="{_ROW - 6}" rx="2" '
                f'fill="{_FILL.get(peer, _OTHERS)}"/>',
                f'<text x="{_LEFT + length + 8:.1f}" y="{middle}"{bold}>{told}</text>',
            ]
            y += _ROW
        y += _GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y - 4}" font-size="13" fill="#24292f" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">'
        "<title>GPU hours of a year, and the requests that waited</title>"
        "<style>.shape { font-size: 15px; font-weight: 600 }</style>"
        f'<rect width="{_WIDTH}" height="{y - 4}" rx="6" fill="#ffffff"/>'
        '<text x="24" y="30" font-size="17" font-weight="600">One GPU node for a year: hours paid, and requests that waited'
        "</text>"
    )
    return "\n".join([head, *parts, "</svg>", ""])


if __name__ == "__main__":
    Path("docs/images/idle-year.svg").write_text(chart(main()), encoding="utf-8")

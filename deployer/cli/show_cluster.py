"""How the cluster, its plan and its ledger look to people."""

import csv
from collections.abc import Mapping
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape

from deployer.cli.show import moment, new_table, state_mark, wake_line

Document = Mapping[str, Any]

_DOES = {
    "pods": "pods to 0", "pool": "GPU pool to 0", "stopped": "stop the cluster", "deleted": "delete the cluster",
    "awake": "wake", "stay": "nothing more",
}  # fmt: skip
_COLUMNS = (
    "at", "rung", "by", "why", "gpu_nodes", "gpu_size", "gpu_price", "other_nodes", "other_price", "currency", "awake",
    "gpu_hours", "money",
)  # fmt: skip


def cluster(console: Console, shown: Document) -> None:
    """The cluster, its GPU pool and what the idle timer means to do."""
    pool, idle = shown.get("pool"), shown.get("idle")
    console.print(f"cluster  {state_mark(shown['state'])} ({escape(str(shown.get('power') or '-'))})")
    if pool:
        wanted = f", {pool['wanted']} wanted" if pool.get("wanted") not in (None, pool["count"]) else ""
        console.print(
            f"GPU pool {escape(str(pool['name']))}: {pool['count']} {'node' if pool['count'] == 1 else 'nodes'}{wanted}"
        )
    for wake in shown.get("wakes", ()):
        console.print(f"waking   {escape(wake['model'])} {wake_line(wake)}", soft_wrap=True)
    if order := shown.get("order"):
        console.print(f"order    {order['kind']} by {escape(order['by'])} until {moment(order['until'])} UTC")
    if idle:
        quiet = f" for {idle['due_in_seconds']:.0f} s at least" if idle.get("due_in_seconds") is not None else ""
        rung = f"next: {idle['rung']}" if idle.get("rung") else f"nothing goes{quiet}"
        console.print(f"idle     {rung}: {escape(str(idle.get('reason') or '-'))}")
    if failure := shown.get("failure"):
        console.print(f"[red]{escape(str(failure))}[/red]")


def plan(console: Console, shown: Document) -> None:
    """What the idle ladder would do if nobody asked anything, and what each rung saves and costs."""
    if order := shown.get("order"):
        console.print(f"Ordered: {order['kind']} by {escape(order['by'])} until {moment(order['until'])} UTC.\n")
    console.print("If nobody asks anything:")
    steps = new_table("at (UTC)", "does", "models", "why")
    for step in shown["steps"]:
        withheld = f" [yellow]withheld: {escape(step['withheld'])}[/yellow]" if step["withheld"] else ""
        steps.add_row(
            moment(step["at"]), _DOES[step["does"]], escape(", ".join(step["models"])), escape(step["why"]) + withheld
        )
    console.print(steps)
    rungs = new_table(
        "rung", "saves per hour", "wake (median)", "9 of 10 within", "wakes seen", "pays after", "stages of a wake"
    )
    for rung in shown["rungs"]:
        rungs.add_row(
            rung["rung"], _money(rung["saves_per_hour"], rung["currency"]), f"{rung['wake_seconds_p50']:.0f} s",
            f"{rung['wake_seconds_p90']:.0f} s", str(rung["wakes_seen"]), f"{rung['pays_after_seconds']:.0f} s",
            ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in rung.get("wake_stages", {}).items()),
        )  # fmt: skip
    console.print()
    console.print(rungs)


def ledger(console: Console, shown: Document) -> None:
    """A month: hours and money against always on, each model's share, and every change."""
    currency = shown["currency"]
    console.print(f"{moment(shown['start'])} to {moment(shown['end'])} UTC")
    sums = new_table("", "GPU node-hours", "money")
    sums.add_row("as it was", f"{shown['gpu_hours']:.2f}", _money(shown["money"], currency))
    sums.add_row("always on", f"{shown['gpu_hours_always_on']:.2f}", _money(shown["money_always_on"], currency))
    saved = shown["gpu_hours_always_on"] - shown["gpu_hours"]
    sums.add_row("[green]saved[/green]", f"{saved:.2f}", _money(shown["saved"], currency))
    console.print(sums)
    if shown["money"] is None:
        console.print("A node's price is not known: SLIPWAY_PRICES__PER_HOUR says it.")
    if shown["by_model"]:
        console.print()
        shares = new_table("model", "GPU node-hours", "money")
        for name, share in shown["by_model"].items():
            shares.add_row(escape(name), f"{share['gpu_hours']:.2f}", _money(share["money"], currency))
        console.print(shares)
    console.print()
    changes = new_table("from (UTC)", "rung", "GPU nodes", "GPU node-hours", "money", "awake", "by", "why")
    for line in shown["lines"]:
        changes.add_row(
            moment(line["at"]), state_mark(line["rung"]), str(line["gpu_nodes"]), f"{line.get('gpu_hours', 0):.2f}",
            _money(line.get("money"), currency), escape(", ".join(line["awake"])), escape(line["by"]), escape(line["why"]),
        )  # fmt: skip
    console.print(changes)


def ledger_csv(shown: Document, to: TextIO) -> None:
    """The month's changes, one a row."""
    rows = csv.writer(to)
    rows.writerow(_COLUMNS)
    for line in shown["lines"]:
        rows.writerow(" ".join(line[column]) if column == "awake" else line.get(column) for column in _COLUMNS)


def _money(amount: float | None, currency: str) -> str:
    return "unknown" if amount is None else f"{amount:,.2f} {currency}"

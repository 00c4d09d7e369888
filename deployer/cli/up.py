"""``slipway up``: the local cloud in the foreground. The only module of the command line that knows it."""

import asyncio
import json
import shlex
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from deployer.cli import show
from deployer.cli.errors import Failed
from localcloud.cloud import Options
from localcloud.cloud import run as run_cloud
from localcloud.endpoints import Endpoints
from localcloud.errors import LocalCloudError

_PARTS = {
    "storage": "storage (Azurite)",
    "containers": "containers and queues",
    "aks": "AKS: Azure Resource Manager, Kubernetes API, kubelet",
    "functions": "Functions host with function_app.py",
}


def run(data: Path, *, port: int, as_json: bool) -> None:
    """Runs until Ctrl-C or SIGTERM, and ends every process that it started.

    Raises:
        Failed: a part could not be started, or ended by itself.
    """
    console = show.console(stderr=as_json)
    status = console.status("starting the local cloud")
    status.start()

    def started(part: str, seconds: float) -> None:
        console.print(f"  [green]✓[/green] {_PARTS.get(part, part):<55} {seconds:6.2f} s")

    def ready(endpoints: Endpoints) -> None:
        status.stop()
        if as_json:
            print(json.dumps(asdict(endpoints), indent=2), flush=True)
        else:
            _explain(console, endpoints, data)

    try:
        asyncio.run(run_cloud(Options(data=data, functions_port=port), started, ready))
    except LocalCloudError as error:
        raise Failed("local_cloud", str(error), f"The logs are in '{data / 'logs'}'.") from error
    finally:
        status.stop()
    console.print("The local cloud has ended.")


def _explain(console: Console, endpoints: Endpoints, data: Path) -> None:
    """What a person needs to use it with curl, an Azure SDK and kubectl alone."""
    url, key = endpoints.functions_url, endpoints.function_key
    at = "" if data == Path(".slipway") else f" --data {shlex.quote(str(data))}"
    rows = (
        ("function app", str(url)),
        ("function key", str(key)),
        ("master key", str(endpoints.master_key)),
        ("storage", endpoints.storage_connection_string),
        ("kubectl", f"kubectl --server {endpoints.kubectl_url} get deployments,pods,nodes -A"),
        ("drop a model", f"slipway{at} push MODEL.keras --wait"),
        ("classify", f"curl -H 'x-functions-key: {key}' --data-binary @IMAGE.png {url}/api/classify/MODEL"),
        ("models", f"curl -H 'x-functions-key: {key}' {url}/api/models"),
    )
    console.print()
    for name, value in rows:
        console.print(f"[bold]{name:<13}[/bold] {escape(value)}", soft_wrap=True)
    console.print("\nCtrl-C ends it; its state stays in the folder and is picked up by the next start.")

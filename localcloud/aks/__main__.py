"""``python -m localcloud.aks``: runs the AKS stand-in until SIGTERM or SIGINT, then ends with status 0."""

import asyncio
import logging
import signal
import sys

from localcloud.aks.options import Options, parse
from localcloud.aks.stand_in import AksStandIn
from localcloud.arm import ProvisioningError
from localcloud.kubelet import LoopbackUnavailableError
from localcloud.kubernetes.kserve import install_kserve


async def _run(options: Options) -> None:
    if options.kserve:
        install_kserve()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    async with AksStandIn(options):
        await ending.wait()


def main() -> int:
    """The process; returns its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("azure").setLevel(logging.WARNING)
    try:
        asyncio.run(_run(parse(sys.argv[1:])))
    except (LoopbackUnavailableError, ProvisioningError, OSError) as error:
        sys.stderr.write(f"The AKS stand-in cannot run: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

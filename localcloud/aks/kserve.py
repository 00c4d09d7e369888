"""``python -m localcloud.aks.kserve``: the AKS stand-in, with the same options, of a cluster on which KServe is installed."""

import sys

from localcloud.aks.__main__ import main
from localcloud.kubernetes.kserve import install_kserve

if __name__ == "__main__":
    install_kserve()
    sys.exit(main())

"""The AKS stand-in as one process: ``python -m localcloud.aks``.

ARM and identity (`localcloud.arm`), the Kubernetes API (`localcloud.kubernetes`) and a kubelet per node
(`localcloud.kubelet`), joined by what a cloud adds: machines that follow the node pools, load balancers, and the
network.
"""

"""A stand-in for the API server, the controllers and the scheduler of a Kubernetes cluster."""

from localcloud.kubernetes.access import Role
from localcloud.kubernetes.server import KubernetesApi

__all__ = ["KubernetesApi", "Role"]

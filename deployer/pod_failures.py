"""Why pods are not ready, for people who do not read pod statuses. Pure; ``deployer.adapters.pods`` reads the statuses."""

import re

from deployer.ports import SIDECAR, PodFailure

_LONGEST = 400  # characters of a server's words that are passed on
_TELLING = re.compile(
    r"error|fail|not found|invalid|cannot|corrupt|data loss|exhausted|out of memory|no such|incompatible|unimplemented",
    re.IGNORECASE,
)
_LOADING = re.compile(
    r"did not become available|loading servable|servable.*(cannot|failed)|saved_?model", re.IGNORECASE
)
_PREFIX = re.compile(r"^(\[?\d{4}-\d\d-\d\d[ T][\d:.,]+Z?:? ?\]? ?)?([IWEF] )?(\S+\.(cc|py):\d+\] )?")
_GPU_MEMORY = re.compile(
    r"CUDA_ERROR_OUT_OF_MEMORY|RESOURCE_EXHAUSTED|OOM when allocating|failed to allocate \S+ .*device", re.I
)


def in_words(failure: PodFailure) -> tuple[str, str]:
    """What keeps a pod from being ready, and what to do about it."""
    match failure.reason:
        case "Unschedulable" if "persistentvolumeclaim" in failure.message.lower():
            return (
                f"the volume with the servables is not there ({failure.message})",
                "kubectl -n slipway describe pvc tells why: the blob CSI driver must be on, and its storage class be known.",
            )
        case "Unschedulable" if "gpu" in failure.message.lower():
            return (
                f"no GPU is free, so no node has room for the pod ({failure.message})",
                "Free a GPU, add nodes to the pool, or set 'rollout: replace' beside the model. Nodes whose GPUs Kubernetes does "
                "not see need the device plugin: kubectl apply -f k8s_templates/gpu-device-plugin.yaml.",
            )
        case "Unschedulable":
            return (
                f"no node has room for the pod ({failure.message})",
                "Add nodes, lower SLIPWAY_SERVING__CPU or SLIPWAY_SERVING__MEMORY, or set 'rollout: replace' beside the model.",
            )
        case "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull":
            return (
                f"the image of the model server cannot be pulled ({failure.message})",
                "Check SLIPWAY_SERVING__IMAGE, SLIPWAY_SERVING__GPU_IMAGE and the cluster's access to the registry.",
            )
        case reason if reason == SIDECAR:
            return (
                f"the container that reads the servable ahead does not run ({failure.message})",
                "Check SLIPWAY_SERVING__PREFETCH_IMAGE and the cluster's access to the registry, or leave it empty.",
            )
        case "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError":
            return (
                f"its container cannot be made ({failure.message})",
                "kubectl -n slipway describe pods tells what is missing: a volume, a config map, a device.",
            )
        case "OOMKilled":
            return (
                "the model server ran out of memory",
                "Raise SLIPWAY_SERVING__MEMORY; a pod needs about twice the servable's size.",
            )
        case "NotReady":
            return (
                "the model server runs, and its readiness probe never passed: it does not say that the version is there",
                "kubectl -n slipway logs on the pod tells how far its load is; a large model may need more than "
                "SLIPWAY_ROLLOUT__PODS_SECONDS.",
            )
        case _ if _GPU_MEMORY.search(failure.message):
            return (
                f"the model does not fit the GPU's memory ({said(failure.message)})",
                "Take a VM size with more GPU memory, or see what else holds it: SLIPWAY_SERVING__GPU_MEMORY_FRACTION.",
            )
        case _ if _LOADING.search(failure.message):
            return (
                f"the model does not load ({said(failure.message)})",
                "TensorFlow Serving's own message is above; the full log: kubectl -n slipway logs on the pod.",
            )
        case _:
            return (
                f"the model server does not stay up ({failure.reason}: {said(failure.message)})",
                "TensorFlow Serving's own message is above; the full log: kubectl -n slipway logs on the pod.",
            )


def said(log: str) -> str:
    """The telling line of the end of TensorFlow Serving's log: its last that speaks of an error, else its last."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = next(
        (line for line in reversed(lines) if _TELLING.search(line)), lines[-1] if lines else "it says nothing"
    )
    words = _PREFIX.sub("", telling, count=1) or telling
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"

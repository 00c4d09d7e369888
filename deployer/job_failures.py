"""Why a conversion's Job came to no good end, for people who do not read pod statuses. Pure."""

from dataclasses import dataclass

from deployer.ports import PodFailure

_LINES, _LONGEST = 4, 600  # of the process's last words


@dataclass(frozen=True)
class JobFailure:
    """``final``: the same would come of the same upload."""

    code: str
    reason: str
    hint: str
    final: bool = False


def told(failure: PodFailure | None, job: str) -> JobFailure:
    """What became of the Job, in words."""
    logs = f"kubectl -n slipway logs job/{job} has all that it said, for an hour."
    match failure:
        case None:
            return JobFailure("job_failed", "The conversion's Job failed, and its pod is gone.", "It is tried again.")
        case PodFailure("OOMKilled"):
            return JobFailure(
                "out_of_memory", "The conversion ran out of the memory that its Job may have.",
                "Raise SLIPWAY_EXPORT__JOB_MEMORY_MB, and see that a node has as much.", final=True,
            )  # fmt: skip
        case PodFailure("DeadlineExceeded"):
            return JobFailure(
                "job_timed_out", f"The conversion's Job took longer than it may ({failure.message}).",
                "Raise SLIPWAY_EXPORT__JOB_WALL_SECONDS; SLIPWAY_EXPORT__JOB_CPU gives it more processors.",
            )  # fmt: skip
        case PodFailure("Evicted"):
            return JobFailure(
                "job_evicted", f"The conversion's pod was evicted ({failure.message}).",
                "Where it is for disk, raise SLIPWAY_EXPORT__JOB_DISK_MB and see that a node has as much.",
            )  # fmt: skip
        case PodFailure("Unschedulable"):
            return JobFailure(
                "job_unschedulable", f"No node has room for the conversion's pod ({failure.message}).",
                "Add CPU nodes, lower SLIPWAY_EXPORT__JOB_MEMORY_MB or SLIPWAY_EXPORT__JOB_CPU, or see "
                "SLIPWAY_EXPORT__JOB_NODE_SELECTOR.",
            )  # fmt: skip
        case PodFailure("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull"):
            return JobFailure(
                "job_image", f"The exporter's image cannot be pulled ({failure.message}).",
                "Check SLIPWAY_EXPORT__JOB_IMAGE and the cluster's access to the registry.",
            )  # fmt: skip
        case PodFailure("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError"):
            return JobFailure(
                "job_container", f"The conversion's container cannot be made ({failure.message}).",
                "kubectl -n slipway describe pods tells what is missing.",
            )  # fmt: skip
        case _:
            said = last_words(failure.message)
            return JobFailure("job_failed", f"The conversion's Job failed ({failure.reason}: {said}).", logs)


def last_words(log: str) -> str:
    """The last lines of a log that say something, in one line."""
    lines = [" ".join(line.split()) for line in log.splitlines() if line.strip()]
    words = " | ".join(lines[-_LINES:]) or "it said nothing"
    return words if len(words) <= _LONGEST else "…" + words[-_LONGEST + 1 :]

"""What is known of a container, and how the API words it. Pure."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from localcloud.kubelet.api import Object


def timestamp(moment: datetime) -> str:
    """Kubernetes' time format: whole seconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Waiting:
    """Not running yet, or not again yet."""

    reason: str = "ContainerCreating"
    message: str = ""

    def as_json(self) -> Object:
        """A ``ContainerState``."""
        return {"waiting": {"reason": self.reason, **({"message": self.message} if self.message else {})}}


@dataclass(frozen=True)
class Running:
    """Running since ``started``."""

    started: datetime
    container_id: str

    def as_json(self) -> Object:
        """A ``ContainerState``."""
        return {"running": {"startedAt": timestamp(self.started)}}


@dataclass(frozen=True)
class Terminated:
    """Ended, with the exit code a container runtime reports: 128 + N for an end by signal N."""

    exit_code: int
    reason: str
    message: str
    started: datetime
    finished: datetime
    container_id: str

    def as_json(self) -> Object:
        """A ``ContainerState``."""
        ended: Object = {
            "exitCode": self.exit_code,
            "reason": self.reason,
            "startedAt": timestamp(self.started),
            "finishedAt": timestamp(self.finished),
            "containerID": self.container_id,
        }
        return {"terminated": ended | ({"message": self.message} if self.message else {})}


ContainerState = Waiting | Running | Terminated


@dataclass
class ContainerRecord:
    """One container of a pod, as its status shows it."""

    name: str
    image: str
    state: ContainerState = field(default_factory=Waiting)
    last: Terminated | None = None
    restarts: int = 0
    started: bool = False
    ready: bool = False
    sidecar: bool = False
    resources: Object = field(default_factory=dict)

    def as_json(self) -> Object:
        """A ``ContainerStatus``."""
        status: Object = {
            "name": self.name,
            "image": self.image,
            "imageID": "" if isinstance(self.state, Waiting) and self.last is None else f"local://{self.image}",
            "restartCount": self.restarts,
            "started": self.started,
            "ready": self.ready,
            "state": self.state.as_json(),
            "lastState": {} if self.last is None else self.last.as_json(),
        }
        if self.resources and isinstance(self.state, Running):
            status["resources"] = self.resources
            if "requests" in self.resources:
                status["allocatedResources"] = self.resources["requests"]
        match self.state:
            case Running(container_id=identifier) | Terminated(container_id=identifier):
                status["containerID"] = identifier
            case Waiting() if self.last is not None:
                status["containerID"] = self.last.container_id
        return status


def duration(seconds: float) -> str:
    """As Go prints a duration: ``300ms``, ``10s``, ``1m20s``."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:g}m{rest:g}s" if minutes else f"{rest:g}s"


def exit_code(returncode: int) -> int:
    """A container's exit code from a process's return code, which is -N after signal N."""
    return 128 - returncode if returncode < 0 else returncode


def restarts(policy: str, code: int) -> bool:
    """Whether a container that ended with ``code`` is started again under the pod's restart policy."""
    return policy == "Always" or (policy == "OnFailure" and code != 0)


@dataclass
class BackOff:
    """Delays before further attempts: none, then ``base``, doubled each time up to ``limit``; seconds."""

    base: float
    limit: float
    attempts: int = 0

    def next(self) -> float:
        """The delay before the next attempt."""
        self.attempts += 1
        return 0.0 if self.attempts == 1 else min(self.limit, self.base * 2.0 ** (self.attempts - 2))

"""The configuration files: which models, which of their versions, under which labels. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.message import Message

from localcloud.tf_serving import messages
from localcloud.tf_serving.errors import invalid
from localcloud.tf_serving.versions import All, Latest, Policy, Specific

_DEFAULT_POLICY = Latest(1)
_PROMETHEUS_PATH = "/monitoring/prometheus/metrics"


@dataclass(frozen=True)
class ModelConfig:
    """One model to serve; ``base_path`` is the folder of its version folders, as the container sees it."""

    name: str
    base_path: str
    policy: Policy = _DEFAULT_POLICY
    labels: Mapping[str, int] = field(default_factory=dict)


def parse_models(text: str, *, source: str) -> tuple[ModelConfig, ...]:
    """Reads a text ``ModelServerConfig``; ``source`` names it in messages.

    Raises:
        ServingError: INVALID_ARGUMENT, in TensorFlow Serving's words.
    """
    models: dict[str, ModelConfig] = {}
    for config in messages.from_text("ModelServerConfig", text, source=source).model_config_list.config:
        if config.name in models:
            raise invalid(f"Illegal to list model {config.name} multiple times in config list")
        if not config.model_platform:
            raise invalid(
                "Illegal setting neither ModelServerConfig::model_type (deprecated) "
                "nor ModelServerConfig::model_platform."
            )
        if config.model_platform != "tensorflow":
            raise invalid(f"Model {config.name} requests unsupported platform {config.model_platform}")
        models[config.name] = ModelConfig(
            config.name, config.base_path, _policy(config.model_version_policy), dict(config.version_labels)
        )
    return tuple(models.values())


def parse_prometheus_path(text: str, *, source: str) -> str | None:
    """Reads a text ``MonitoringConfig``: the path of the Prometheus page, or None where it is off."""
    prometheus = messages.from_text("MonitoringConfig", text, source=source).prometheus_config
    return (prometheus.path or _PROMETHEUS_PATH) if prometheus.enable else None


def check_batching(text: str, *, source: str) -> None:
    """Reads a text ``BatchingParameters`` and refuses what TensorFlow Serving would refuse."""
    parameters = messages.from_text("BatchingParameters", text, source=source)
    allowed = list(parameters.allowed_batch_sizes)
    if allowed != sorted(set(allowed)):
        raise invalid("allowed_batch_sizes entries must be monotonically increasing")
    largest = parameters.max_batch_size.value
    if allowed and not parameters.enable_large_batch_splitting.value and allowed[-1] != largest:
        raise invalid(
            f"Last entry in allowed_batch_sizes must match max_batch_size; last entry was {allowed[-1]}; "
            f"expected {largest}"
        )


def _policy(policy: Message) -> Policy:
    chosen = {name.name: value for name, value in policy.ListFields()}
    match chosen:
        case {"all": _}:
            return All()
        case {"specific": specific}:
            return Specific(frozenset(specific.versions))
        case {"latest": latest} | {"latest_once": latest}:
            return Latest(max(latest.num_versions, 1))
        case _:
            return _DEFAULT_POLICY

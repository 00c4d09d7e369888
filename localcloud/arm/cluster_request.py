"""The bodies of a PUT and a PATCH on the cluster, checked, and the cluster they lead to."""

from typing import TypeVar

from pydantic import AliasChoices, BaseModel, Field, ValidationError

from localcloud.arm.errors import ArmError, invalid
from localcloud.arm.model import Cluster

T = TypeVar("T", bound=BaseModel)


class _Profile(BaseModel):
    name: str
    count: int | None = None


class _Properties(BaseModel):
    """The properties the stand-in acts on; others that ARM knows are accepted and left alone."""

    disable_local_accounts: bool | None = Field(None, validation_alias=AliasChoices("disableLocalAccounts"))
    kubernetes_version: str | None = Field(None, validation_alias=AliasChoices("kubernetesVersion"))
    pools: list[_Profile] | None = Field(None, validation_alias=AliasChoices("agentPoolProfiles"))


class _Body(BaseModel):
    location: str
    tags: dict[str, str] | None = None
    properties: _Properties = Field(default_factory=_Properties)


class _Tags(BaseModel):
    tags: dict[str, str] = Field(default_factory=dict)


class ClusterRequest:
    """What a PUT asks of the cluster."""

    def __init__(self, body: object) -> None:
        self._wanted = _checked(_Body, body)

    def applied_to(self, cluster: Cluster) -> Cluster:
        """The cluster as asked for; what the body does not mention stays.

        Raises `ArmError` on what cannot change, or not here: pools by their own calls, the version not at all.
        """
        wanted = self._wanted.properties
        if self._wanted.location.lower() != cluster.location:
            raise invalid("Changing property 'location' is not allowed.", "PropertyChangeNotAllowed")
        if wanted.kubernetes_version not in (None, cluster.kubernetes_version):
            raise ArmError(400, "K8sVersionNotSupported", f"This stand-in has only {cluster.kubernetes_version}.")
        for pool in wanted.pools or []:
            known = cluster.pools.get(pool.name)
            if known is None or pool.count not in (None, known.count):
                raise invalid(f"This stand-in changes agent pool '{pool.name}' by a PUT on the pool itself only.")
        changes: dict[str, object] = {}
        if self._wanted.tags is not None:
            changes["tags"] = self._wanted.tags
        if wanted.disable_local_accounts is not None:
            changes["disable_local_accounts"] = wanted.disable_local_accounts
        return cluster.model_copy(update=changes)


def tags_in(body: object) -> dict[str, str]:
    """The tags of a PATCH. Raises `ArmError`."""
    return _checked(_Tags, body).tags


def _checked(kind: type[T], body: object) -> T:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise invalid(f"The value of parameter {where} is invalid: {first['msg']}.") from error

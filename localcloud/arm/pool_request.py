"""The body of a PUT on an agent pool, checked, and the pool it leads to."""

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from localcloud.arm import sizes
from localcloud.arm.errors import invalid
from localcloud.arm.model import Mode, Pool, Power

_MAX_NODES = 1000


class _PowerState(BaseModel):
    code: Power


class _Properties(BaseModel):
    """The properties the stand-in acts on; others that ARM knows are accepted and left alone."""

    model_config = ConfigDict(extra="ignore", alias_generator=None)

    count: Annotated[int, Field(ge=0, le=_MAX_NODES)] | None = None
    vm_size: str | None = Field(None, validation_alias=AliasChoices("vmSize"))
    mode: Mode | None = None
    os_type: Literal["Linux"] | None = Field(None, validation_alias=AliasChoices("osType"))
    power_state: _PowerState | None = Field(None, validation_alias=AliasChoices("powerState"))
    node_labels: dict[str, str] | None = Field(None, validation_alias=AliasChoices("nodeLabels"))
    node_taints: tuple[str, ...] | None = Field(None, validation_alias=AliasChoices("nodeTaints"))
    enable_auto_scaling: bool | None = Field(None, validation_alias=AliasChoices("enableAutoScaling"))
    min_count: int | None = Field(None, validation_alias=AliasChoices("minCount"))
    max_count: int | None = Field(None, validation_alias=AliasChoices("maxCount"))
    scale_set_priority: Literal["Regular", "Spot"] | None = Field(
        None, validation_alias=AliasChoices("scaleSetPriority")
    )
    tags: dict[str, str] | None = None


class _Body(BaseModel):
    properties: _Properties = Field(default_factory=_Properties)


class PoolRequest:
    """What a PUT asks of the pool ``name``."""

    def __init__(self, name: str, body: object) -> None:
        self.name = name
        try:
            self._wanted = _Body.model_validate(body).properties
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            raise invalid(f"The value of parameter {where} is invalid: {first['msg']}.") from error

    def applied_to(self, pool: Pool | None) -> Pool:
        """The pool as asked for: what the body does not mention stays. Raises `ArmError` on what cannot change."""
        wanted = self._wanted
        if pool is None:
            if wanted.vm_size is None:
                raise invalid("Required parameter agentPoolProfile.vmSize is missing (null).")
            pool = Pool(name=self.name, mode=Mode.USER, vm_size=wanted.vm_size, count=1, revision=0)
        elif wanted.vm_size is not None and wanted.vm_size.lower() != pool.vm_size.lower():
            raise invalid(
                f"Changing property 'properties.vmSize' of agent pool '{pool.name}' is not allowed.",
                "PropertyChangeNotAllowed",
            )
        if sizes.named(pool.vm_size) is None:
            raise invalid(
                f"The VM size of {pool.vm_size} is not available. This stand-in offers: {', '.join(sizes.SIZES)}.",
                "VMSizeNotSupported",
            )
        given = wanted.model_dump(exclude_none=True, exclude={"os_type", "vm_size", "power_state"})
        if wanted.power_state is not None:
            given["power"] = wanted.power_state.code
        return pool.model_copy(update={**given, "revision": pool.revision + 1})

"""Faults on order: what the next calls of a kind meet instead of, or besides, their answer.

A `Fault` is set on a call, or on several by a pattern (``pool.*``), for so many times; `FaultBook` hands it out. The server
performs it: it refuses with ARM's JSON, lets the accepted operation fail later, hangs, or cuts the connection.
"""

import fnmatch
import uuid
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from localcloud.arm.paths import Call


class Does(StrEnum):
    """What a fault does."""

    REFUSE = "refuse"
    """Answers with ``status`` and ARM's JSON, and does nothing."""
    FAIL = "fail"
    """Accepts; the operation fails when its time has come. Only on calls that begin one."""
    HANG = "hang"
    """Does not answer for ``seconds``; then as if nothing had been."""
    CUT = "cut"
    """Closes the connection, having done nothing."""
    CUT_AFTER = "cut-after"
    """Does what was asked, and closes the connection before the answer."""
    GARBLE = "garble"
    """Answers 200 with what is not JSON."""


class KnownError(BaseModel):
    """An error as Azure words it. In ``message``, {pool}, {cluster}, {group}, {scope}, … are filled in."""

    model_config = ConfigDict(frozen=True)

    status: int
    code: str
    message: str
    retry_after: int | None = None


_NO_ACCESS = (
    "The client '{identity}' with object id '{identity}' does not have authorization to perform action '{action}' over "
    "scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials."
)

KNOWN = {
    "quota": KnownError(
        status=400, code="ErrCode_InsufficientVCPUQuota",
        message="Insufficient vcpu quota requested 4, remaining 0 for family standardNCASv3_T4Family for region {location}.",
    ),
    "quota-exceeded": KnownError(
        status=409, code="QuotaExceeded",
        message="Operation could not be completed as it results in exceeding approved standardNCASv3_T4Family Cores quota. "
        "Additional details - Deployment Model: Resource Manager, Location: {location}, Current Limit: 8, Current Usage: 8, "
        "Additional Required: 4, (Minimum) New Limit Required: 12.",
    ),
    "capacity": KnownError(
        status=409, code="AllocationFailed",
        message="Allocation failed. We do not have sufficient capacity for the requested VM size {size} in this region.",
    ),
    "zonal-capacity": KnownError(
        status=409, code="ZonalAllocationFailed",
        message="Allocation failed. We do not have sufficient capacity for the requested VM size {size} in this zone.",
    ),
    "overconstrained": KnownError(
        status=409, code="OverconstrainedAllocationRequest",
        message="Allocation failed. VM(s) with the following constraints cannot be allocated, because the condition is too "
        "restrictive: VM size {size}, low priority.",
    ),
    "sku": KnownError(
        status=409, code="SkuNotAvailable",
        message="The requested size for resource '{scope}' is currently not available in location '{location}': {size}. "
        "Please try another size or deploy to a different location or zone.",
    ),
    "nested-capacity": KnownError(
        status=400, code="ReconcileVMSSAgentPoolFailed",
        message="VMSSAgentPoolReconciler retry failed: Category: InternalError; SubCode: AllocationFailed; Dependency: "
        "Microsoft.Compute/VirtualMachineScaleSet; AKSTeam: NodeProvisioning: no capacity for {size}.",
    ),
    "throttled": KnownError(
        status=429, code="TooManyRequests", retry_after=17,
        message="The request is being throttled as the limit has been reached for operation type - {call}.",
    ),
    "conflict": KnownError(
        status=409, code="OperationNotAllowed",
        message="Operation is not allowed because there's an in progress scale node pool operation on the managed cluster "
        "{cluster}. Please wait for it to finish before starting a new operation.",
    ),
    "etag": KnownError(
        status=412, code="EtagMismatch",
        message="Operation is not allowed: the etag provided does not match that of the agent pool {pool}.",
    ),
    "forbidden": KnownError(status=403, code="AuthorizationFailed", message=_NO_ACCESS),
    "linked-forbidden": KnownError(
        status=403, code="LinkedAuthorizationFailed",
        message="The client '{identity}' has permission to perform action '{action}' on scope '{scope}'; however, it does not "
        "have permission to perform action(s) 'Microsoft.Network/virtualNetworks/subnets/join/action' on the linked "
        "scope(s) '/subscriptions/{subscription}/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/net' or the "
        "linked scope(s) are invalid.",
    ),
    "policy": KnownError(
        status=403, code="RequestDisallowedByPolicy",
        message="Resource '{cluster}' was disallowed by policy. Policy identifiers: 'no GPUs after hours'.",
    ),
    "lock": KnownError(
        status=409, code="ScopeLocked",
        message="The scope '{scope}' cannot perform write operation because following scope(s) are locked: '{scope}'.",
    ),
    "group-gone": KnownError(
        status=404, code="ResourceGroupNotFound", message="Resource group '{group}' could not be found."
    ),
    "cluster-gone": KnownError(
        status=404, code="ResourceNotFound",
        message="The Resource 'Microsoft.ContainerService/managedClusters/{cluster}' under resource group '{group}' was not "
        "found.",
    ),
    "pool-gone": KnownError(
        status=404, code="NotFound",
        message="Could not find the agent pool 'Microsoft.ContainerService/managedClusters/{cluster}/agentPools/{pool}'.",
    ),
    "failed-state": KnownError(
        status=409, code="OperationNotAllowed",
        message="This operation is not allowed while the managed cluster {cluster} is in a failed provisioning state.",
    ),
    "autoscaler": KnownError(
        status=400, code="InvalidParameter",
        message="Cannot set count of agent pool {pool}: cluster autoscaler is enabled on it.",
    ),
    "token": KnownError(
        status=401, code="ExpiredAuthenticationToken", message="The access token expiry UTC time is earlier than now."
    ),
    "internal": KnownError(status=500, code="InternalServerError", message="Encountered an internal server error."),
    "unavailable": KnownError(status=503, code="ServiceUnavailable", message="The service is unavailable."),
    "gateway-timeout": KnownError(
        status=504, code="GatewayTimeout", message="The gateway did not receive a response in time."
    ),
    "preempted": KnownError(
        status=409, code="OperationPreempted", message="The operation was preempted by a more recent one."
    ),
}  # fmt: skip
"""Azure's errors by short names."""

_BEGINS = frozenset(
    {
        Call.CLUSTER_PUT, Call.CLUSTER_PATCH, Call.CLUSTER_DELETE, Call.CLUSTER_START, Call.CLUSTER_STOP,
        Call.CLUSTER_ABORT, Call.POOL_PUT, Call.POOL_DELETE, Call.POOL_ABORT,
    }
)  # fmt: skip


class Fault(BaseModel):
    """One fault. ``on``: a call's name or a pattern; ``times``: how often, None until it is taken back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(default_factory=lambda: uuid.uuid4().hex[:8])
    on: str
    does: Does = Does.REFUSE
    times: Annotated[int, Field(ge=1)] | None = 1
    status: Annotated[int, Field(ge=400, le=599)] = 500
    code: str = "InternalServerError"
    message: str = "A fault was ordered."
    retry_after: Annotated[int, Field(ge=0)] | None = None
    seconds: Annotated[float, Field(gt=0)] = 600.0

    @model_validator(mode="after")
    def _meets_a_call(self) -> Self:
        if not any(self.meets(call) for call in Call):
            raise ValueError(f"no call is named {self.on}; there are {', '.join(Call)}, and patterns such as pool.*")
        return self

    @classmethod
    def known(cls, on: str, name: str, *, in_operation: bool = False, times: int | None = 1) -> Self:
        """One of Azure's errors, as the answer or as the end of the operation."""
        error, does = KNOWN[name], Does.FAIL if in_operation else Does.REFUSE
        return cls(on=on, does=does, times=times, **error.model_dump())

    def meets(self, call: Call) -> bool:
        """Whether this fault is for that call."""
        return fnmatch.fnmatchcase(call, self.on) and (self.does is not Does.FAIL or call in _BEGINS)


class FaultBook:
    """The faults on order, first come first served."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    @property
    def pending(self) -> tuple[Fault, ...]:
        """Those that are still to come."""
        return tuple(self._faults)

    def order(self, fault: Fault) -> None:
        """Adds a fault after the others."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Takes all back."""
        self._faults.clear()

    def take(self, call: Call) -> Fault | None:
        """The fault that this call meets, counted off."""
        for index, fault in enumerate(self._faults):
            if fault.meets(call):
                if fault.times is not None:
                    left = [fault.model_copy(update={"times": fault.times - 1})] if fault.times > 1 else []
                    self._faults[index : index + 1] = left
                return fault
        return None

"""What Azure Resource Manager refuses with, as errors of ours: the cause named, with its numbers, and the cure. Pure.

Azure tells the same thing in several ways: as the code of an answer, as a ``SubCode`` in the message of another code, or as
the error of a long operation. So code and words are judged together, the most telling first.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deployer.errors import AzureRefused

_LONGEST = 600  # characters of Azure's words that are passed on

# Roles by the beginning of the action that was refused; the first that fits.
_ROLES = (
    ("microsoft.containerservice/managedclusters/listcluster", "Azure Kubernetes Service Cluster User Role"),
    ("microsoft.containerservice/managedclusters/", "Azure Kubernetes Service Contributor Role"),
    ("microsoft.containerservice/", "Azure Kubernetes Service Contributor Role"),
    ("microsoft.network/", "Network Contributor"),
    ("microsoft.managedidentity/", "Managed Identity Operator"),
)


@dataclass(frozen=True)
class Refusal:
    """Azure's code and words; the HTTP status and ``Retry-After`` (seconds) where it was an answer, not an operation's end."""

    code: str
    message: str
    status: int | None = None
    retry_after: float | None = None

    def says(self, pattern: str) -> re.Match[str] | None:
        """Where code or words match."""
        return re.search(pattern, f"{self.code}: {self.message}", re.IGNORECASE)


Told = tuple[str, str, str]
"""Code of ours, cause, cure."""


def explained(what: str, refusal: Refusal) -> AzureRefused:
    """The error that tells a user what Azure did not do (``what``), why, and what helps."""
    code, cause, cure = next(told for cause in _CAUSES if (told := cause(refusal)) is not None)
    words = " ".join(refusal.message.split())
    words = words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
    said = f"{refusal.code}: {words}" if words and not words.startswith(refusal.code) else words or refusal.code
    return AzureRefused(code, f"Azure did not {what}: {cause} ({said})", cure, retry_after=refusal.retry_after)


def from_document(error: Any, status: int | None = None, retry_after: float | None = None) -> Refusal:
    """A refusal from the ``error`` of an ARM document, which may be of any shape; its ``details`` are part of the words."""
    found = error if isinstance(error, dict) else {}
    details = [each for each in found.get("details") or [] if isinstance(each, dict)]
    told = [str(found.get("message") or "")]
    told += [f"{each.get('code')}: {each.get('message')}" for each in details if each.get("message")]
    code = str(found.get("code") or (f"HTTP {status}" if status else "UnknownError"))
    return Refusal(code, " ".join(told).strip(), status, retry_after)


def _quota(refusal: Refusal) -> Told | None:
    if not refusal.says(
        r"QuotaExceeded|InsufficientVCPUQuota|insufficient \w* ?quota|exceeding (the )?approved|quota limit"
    ):
        return None
    family = refusal.says(r"approved (?P<a>[\w .-]*?) ?cores quota|for family (?P<b>\w+)")
    name = next((each for each in family.groups() if each), None) if family else None
    numbers = {
        "needed": _number(refusal, r"Additional Required:? (\d+)|quota requested (\d+)"),
        "used": _number(refusal, r"Current Usage:? (\d+)"),
        "limit": _number(refusal, r"Current Limit:? (\d+)"),
        "left": _number(refusal, r"remaining (\d+)"),
    }
    counted = ", ".join(f"{number} {word}" for word, number in numbers.items() if number is not None)
    where = refusal.says(r"(?:Location|region):? (\w+)")
    of = f"the vCPU quota{f' of {name}' if name else ''}{f' in {where[1]}' if where else ''}"
    return (
        "azure_quota", f"{of} does not suffice{f' ({counted})' if counted else ''}",
        f"Ask for more of {name or 'the VM family'} in the portal (Subscription, Usage + quotas), or take a VM size of a "
        "family that has quota left: az vm list-usage.",
    )  # fmt: skip


def _number(refusal: Refusal, pattern: str) -> str | None:
    found = refusal.says(pattern)
    return next((each for each in found.groups() if each), None) if found else None


def _capacity(refusal: Refusal) -> Told | None:
    if not refusal.says(
        r"AllocationFailed|Overconstrained(Zonal)?AllocationRequest|SkuNotAvailable|NotAvailableForSubscription|"
        r"InsufficientCapacity|do not have sufficient capacity"
    ):
        return None
    size = refusal.says(r"Standard_\w+")
    machine = size[0] if size else "the pool's VM size"
    if refusal.says(r"SkuNotAvailable|NotAvailableForSubscription"):
        return (
            "azure_capacity", f"{machine} is not offered to this subscription here",
            "az vm list-skus --size shows where it is; create the pool with another size, zone or region.",
        )  # fmt: skip
    return (
        "azure_capacity", f"there is no free {machine} just now",
        "It is tried again while the rollout may wait. If it stays so: a pool without zones or spot, or of another size.",
    )  # fmt: skip


def _throttled(refusal: Refusal) -> Told | None:
    if refusal.status != 429 and not refusal.says(r"TooManyRequests|Throttl"):
        return None
    wait = f", for {refusal.retry_after:.0f} s" if refusal.retry_after else ""
    return (
        "azure_throttled", f"it takes no further requests for now{wait}",
        "It is tried again. If it stays so, something else uses up the subscription's requests: see its activity log.",
    )  # fmt: skip


def _sign_in(refusal: Refusal) -> Told | None:
    if refusal.status != 401 and not refusal.says(r"AuthenticationFailed|\w+AuthenticationToken\w*"):
        return None
    return (
        "azure_sign_in", "it does not accept the token of Slipway's identity",
        "Check SLIPWAY_CLUSTER__ARM_AUDIENCE, and that identity and subscription are of the same tenant.",
    )  # fmt: skip


def _locked(refusal: Refusal) -> Told | None:
    if refusal.says(r"ScopeLocked"):
        return "azure_locked", "a lock forbids it", "Remove the lock: az lock list --resource-group GROUP names it."
    if refusal.says(r"RequestDisallowedByPolicy"):
        return (
            "azure_policy",
            "a policy forbids it",
            "Change the pool or cluster as the policy says, or have it exempted.",
        )
    return None


def _forbidden(refusal: Refusal) -> Told | None:
    if refusal.status != 403 and not refusal.says(r"(Linked)?AuthorizationFailed|\bForbidden\b"):
        return None
    missing = refusal.says(r"does not have permission to perform action\(?s?\)? '(?P<action>[^']+)'") or refusal.says(
        r"perform action\(?s?\)? '(?P<action>[^']+)'"
    )
    if missing is None:
        return (
            "azure_forbidden", "Slipway's identity may not do this",
            "Give it the Azure Kubernetes Service Contributor Role on the cluster; a new role takes some minutes.",
        )  # fmt: skip
    action = missing["action"].split(",")[0].strip()
    scope = refusal.says(r"linked scope\(s\) '([^']+)'") or refusal.says(r"(?:over|on) scope '([^']+)'")
    on = scope[1] if scope else "the cluster"
    role = next((role for start, role in _ROLES if action.lower().startswith(start)), f"a role that allows {action}")
    return (
        "azure_forbidden", f"Slipway's identity lacks {action} on {on}",
        f"Give it '{role}' there (az role assignment create); a new role takes some minutes to count.",
    )  # fmt: skip


def _not_found(refusal: Refusal) -> Told | None:
    if refusal.status != 404 and not refusal.says(r"\w*NotFound\b"):
        return None
    named = refusal.says(r"(?P<kind>subscription|resource group) '(?P<name>[^']+)'|agentPools/(?P<path>[\w./-]+)")
    cluster = refusal.says(r"managedClusters/(?P<name>[\w.-]+)")
    if refusal.says(r"SubscriptionNotFound|InvalidSubscriptionId") and named:
        cause, setting = f"there is no subscription '{named['name']}'", "SLIPWAY_CLUSTER__SUBSCRIPTION_ID"
    elif refusal.says(r"ResourceGroupNotFound") and named:
        cause, setting = f"there is no resource group '{named['name']}'", "SLIPWAY_CLUSTER__RESOURCE_GROUP"
    elif refusal.says(r"agentPools/|AgentPoolNotFound"):
        pool = named["path"].rpartition("/")[2] if named and named["path"] else ""
        cause, setting = f"there is no agent pool{f' {pool!r}' if pool else ''}", "SLIPWAY_CLUSTER__GPU_POOL"
    elif cluster:
        cause, setting = f"there is no cluster '{cluster['name']}'", "SLIPWAY_CLUSTER__NAME"
    else:
        cause, setting = "what it asks for does not exist", "SLIPWAY_CLUSTER__NAME"
    return "azure_not_found", cause, f"Check {setting}; what was deleted must be created anew."


def _state(refusal: Refusal) -> Told | None:
    if refusal.says(r"because (the )?(cluster|agent pool)[^.:]* is stopped|ClusterStopped|PowerState\W+Stopped"):
        return "azure_stopped", "the cluster is stopped", "Start it first: POST /api/cluster/wake, or az aks start."
    if refusal.says(r"in (a )?failed (provisioning )?state|provisioning ?state\W+(is )?'?Failed"):
        return (
            "azure_failed_state", "the cluster or its pool is in a failed state",
            "Reconcile it: az aks update --resource-group GROUP --name CLUSTER, or az aks nodepool update; its activity log "
            "says what had failed.",
        )  # fmt: skip
    if refusal.says(r"autoscal"):
        return (
            "azure_autoscaler", "the pool's autoscaler is in the way",
            "az aks nodepool update --disable-cluster-autoscaler: the idle ladder sets the pool's size itself.",
        )  # fmt: skip
    if refusal.says(r"OperationPreempted|\bCancell?ed\b|was aborted"):
        return "azure_aborted", "somebody aborted it, or began another operation in its place", "It is begun anew."
    return None


def _late(refusal: Refusal) -> Told | None:
    if refusal.status not in (408, 504) and not refusal.says(r"^(GatewayTimeout|RequestTimeout|OperationTimedOut)"):
        return None
    return "azure_timeout", "it did not answer in time", "It is tried again; what it had accepted is seen then."


def _busy(refusal: Refusal) -> Told | None:
    if refusal.status not in (409, 412) and not refusal.says(
        r"OperationNotAllowed|EtagMismatch|PreconditionFailed|\w*Conflict\w*|AnotherOperationInProgress"
    ):
        return None
    if refusal.status == 412 or refusal.says(r"EtagMismatch|PreconditionFailed"):
        return "azure_busy", "somebody else changed it at the same moment", "It is looked at anew and tried again."
    return (
        "azure_busy", "another operation is under way", "It is tried again when that has ended; az aks show tells how far it is."
    )  # fmt: skip


def _broken(refusal: Refusal) -> Told | None:
    if (refusal.status or 0) < 500 and not refusal.says(r"^Internal\w*Error|^ServiceUnavailable|^ServerBusy"):
        return None
    return "azure_error", "Azure itself failed", "It is tried again; https://azure.status.microsoft tells of outages."


def _garbled(refusal: Refusal) -> Told | None:
    if refusal.status is None or refusal.status >= 400:
        return None
    return (
        "azure_garbled", "its answer is not Azure's",
        "Something in between answers in its place, such as a proxy or a sign-in page: check the app's network.",
    )  # fmt: skip


def _other(refusal: Refusal) -> Told:
    return "azure_refused", "it refused", "Azure's words say why; the cluster's activity log has more."


_CAUSES: tuple[Callable[[Refusal], Told | None], ...] = (
    _quota, _capacity, _throttled, _sign_in, _locked, _forbidden, _not_found, _state, _late, _busy, _garbled, _broken, _other,
)  # fmt: skip

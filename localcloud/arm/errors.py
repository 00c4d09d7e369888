"""What Azure Resource Manager answers when it refuses: ``{"error": {"code", "message"}}`` with a status."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ArmError(Exception):
    """A refusal; ``code`` is ARM's word for it, which callers match on."""

    status: int
    code: str
    message: str
    retry_after: int | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"

    def body(self) -> dict[str, object]:
        """The answer's JSON."""
        return {"error": {"code": self.code, "message": self.message}}


def not_found(kind: str, name: str, group: str) -> ArmError:
    """404 for a resource that is not in the resource group; ``kind`` is its type without the provider."""
    return ArmError(
        404,
        "ResourceNotFound",
        f"The Resource 'Microsoft.ContainerService/{kind}/{name}' under resource group '{group}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def not_allowed(message: str) -> ArmError:
    """409: the cluster's state does not permit the operation now."""
    return ArmError(409, "OperationNotAllowed", message)


def invalid(message: str, code: str = "InvalidParameter") -> ArmError:
    """400: the request itself is wrong."""
    return ArmError(400, code, message)

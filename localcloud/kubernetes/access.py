"""Who asks, and what they may do."""

import enum
import hmac
from dataclasses import dataclass

from localcloud.kubernetes.errors import ApiError, Subject, forbidden, unauthorized
from localcloud.kubernetes.objects import Object
from localcloud.kubernetes.paths import Target

_PUBLIC = ("/healthz", "/livez", "/readyz", "/version")
_DISCOVERY = ("/api", "/apis", "/openapi")
_READING = ("get", "list", "watch")
_SELF_REVIEW = "selfsubjectaccessreviews"


class Role(enum.Enum):
    """What a token's holder may do."""

    ADMIN = "everything"
    VIEW = "read everything but Secrets"
    NONE = "what any authenticated user may: discovery, and asking what it may do"
    ANONYMOUS = "health and version"


@dataclass(frozen=True)
class User:
    """The holder of a token."""

    name: str
    role: Role


ANONYMOUS = User("system:anonymous", Role.ANONYMOUS)
ADMIN = User("admin", Role.ADMIN)


class Access:
    """Tokens and the users they stand for."""

    def __init__(self, token: str, viewer_token: str | None, viewer_role: Role) -> None:
        self._users = [(token, ADMIN)]
        if viewer_token is not None:
            self._users.append((viewer_token, User("viewer", viewer_role)))

    def authenticate(self, authorization: str | None) -> User:
        """Returns the user of an Authorization header. Raises ApiError (401) for a token that is none of ours."""
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            for known, user in self._users:
                if hmac.compare_digest(known.encode(), token.strip().encode()):
                    return user
        raise unauthorized()


def may_read_path(user: User, path: str) -> bool:
    """Tells whether a user may GET a path that names no resource."""
    if user.role is Role.ADMIN:
        return True
    open_to_user = _PUBLIC if user.role is Role.ANONYMOUS else _PUBLIC + _DISCOVERY
    return any(path == root or path.startswith(f"{root}/") for root in open_to_user)


def may(user: User, verb: str, group: str, plural: str) -> bool:
    """Tells whether a user may use a verb on a resource."""
    match user.role:
        case Role.ADMIN:
            return True
        case Role.ANONYMOUS:
            return False
        case Role.VIEW | Role.NONE if verb == "create" and plural == _SELF_REVIEW:
            return True
        case Role.VIEW:
            return verb in _READING and (group, plural) != ("", "secrets")
        case _:
            return False


def path_forbidden(user: User, method: str, path: str) -> ApiError:
    """403 for a path that names no resource."""
    verb = "get" if method in ("GET", "HEAD") else method.lower()
    return ApiError(403, "Forbidden", f'forbidden: User "{user.name}" cannot {verb} path "{path}"', {})


def authorize(user: User, target: Target, verb: str) -> None:
    """Checks that a user may do what a request asks. Raises ApiError (403)."""
    if may(user, verb, target.group, target.plural):
        return
    asked = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
    namespace = target.name if target.plural == "namespaces" else target.namespace
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {verb} resource "{asked}" in API group "{target.group}" {where}'
    raise forbidden(Subject(target.group, target.plural, "", target.name), why)


def review(user: User, spec: Object) -> Object:
    """Answers a SelfSubjectAccessReview: its status."""
    resource = spec.get("resourceAttributes")
    if resource is not None:
        allowed = may(user, resource.get("verb", ""), resource.get("group", ""), resource.get("resource", ""))
        return {"allowed": allowed}
    path = (spec.get("nonResourceAttributes") or {}).get("path", "")
    allowed = may_read_path(user, path)
    if allowed and user.role is not Role.ADMIN and path.startswith(_PUBLIC):
        rule = "system:public-info-viewer"
        reason = f'RBAC: allowed by ClusterRoleBinding "{rule}" of ClusterRole "{rule}" to Group "system:authenticated"'
        return {"allowed": True, "reason": reason}
    return {"allowed": allowed}

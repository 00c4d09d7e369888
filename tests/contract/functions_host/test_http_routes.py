"""Routes as ASP.NET reads them; the expectations are those of Microsoft's page on route templates."""

import pytest

from localcloud.functions_host.errors import AppError
from localcloud.functions_host.routing import RouteTable
from localcloud.functions_host.triggers import Function, HttpTrigger


def table(*routes: str, prefix: str = "api") -> RouteTable:
    return RouteTable(prefix, [function(route) for route in routes])


def function(route: str, *methods: str) -> Function:
    trigger = HttpTrigger("req", route, frozenset(methods) if methods else None, "anonymous")
    return Function(route, print, False, trigger, None, False, "/")


def found(routes: RouteTable, path: str, method: str = "GET") -> tuple[str, dict[str, str]] | None:
    hit = routes.find(method, path)
    return None if hit is None else (hit[0].function.name, hit[1])


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("models", "/api/models", {}),
        ("models", "/API/Models/", {}),
        ("models", "/api/models/x", None),
        ("models/{name}", "/api/models/cats%2Fv2", {"name": "cats/v2"}),
        ("models/{name}", "/api/models/", None),
        ("v1/models/{*path}", "/api/v1/models/cats/versions/1:predict", {"path": "cats/versions/1:predict"}),
        ("v1/models/{*path}", "/api/v1/models", {}),
        ("v1/models/{*path}", "/api/v1/modelsx", None),
        ("orders/{id:int}", "/api/orders/12", {"id": "12"}),
        ("orders/{id:int}", "/api/orders/twelve", None),
        ("orders/{id:int}", "/api/orders/12a", None),
        ("orders/{id?}", "/api/orders", {}),
        ("orders/{id?}", "/api/orders/7", {"id": "7"}),
        ("orders/{kind=open}", "/api/orders", {"kind": "open"}),
        ("orders/{kind=open}", "/api/orders/closed", {"kind": "closed"}),
        ("files/{name}.{ext}", "/api/files/a.b.txt", {"name": "a.b", "ext": "txt"}),
        ("words/{word:alpha:length(3)}", "/api/words/cat", {"word": "cat"}),
        ("words/{word:alpha:length(3)}", "/api/words/cats", None),
        ("words/{word:minlength(2):maxlength(4)}", "/api/words/a", None),
        ("words/{word:regex(^[a-c]+$)}", "/api/words/abc", {"word": "abc"}),
        ("words/{word:regex(^[a-c]+$)}", "/api/words/abd", None),
    ],
)
def test_a_template_takes_the_paths_that_it_describes(template: str, path: str, values: dict[str, str] | None) -> None:
    hit = found(table(template), path)
    assert (None if hit is None else hit[1]) == values


def test_the_most_specific_route_wins_whatever_the_order() -> None:
    routes = ["{*rest}", "models/{name}", "models/{id:int}", "models/cats", "models"]
    for ordered in (routes, routes[::-1]):
        hits = [
            found(table(*ordered), f"/api/{path}") for path in ("models/cats", "models/7", "models/x", "models", "a/b")
        ]
        assert [hit and hit[0] for hit in hits] == [
            "models/cats",
            "models/{id:int}",
            "models/{name}",
            "models",
            "{*rest}",
        ]


def test_the_method_is_part_of_the_route() -> None:
    routes = RouteTable("api", [function("models/{name}", "GET"), function("{any}/{name}", "DELETE")])
    assert found(routes, "/api/models/cats", "GET") == ("models/{name}", {"name": "cats"})
    assert found(routes, "/api/models/cats", "DELETE") == ("{any}/{name}", {"any": "models", "name": "cats"})
    assert found(routes, "/api/models/cats", "PUT") is None


@pytest.mark.parametrize("template", ["models/{name", "models/{na me}", "models/{id:range(1,2)}"])
def test_a_template_that_cannot_be_read_is_named(template: str) -> None:
    with pytest.raises(AppError, match="route"):
        table(template)

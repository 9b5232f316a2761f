"""What REST tells of itself: health, metrics, and the OpenAPI document."""

from __future__ import annotations

import json
import re

from prometheus_client.parser import text_string_to_metric_families

from tests.gateway_fixture import eventually, running_gateway, settings_for
from tests.ports import free_port
from tests.rest_endpoints import ENDPOINTS, FOR_ALL

BESIDE = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/openapi.json")}


async def get(gateway, path, port=None):
    async with gateway.http.get(f"http://127.0.0.1:{port or gateway.port}{path}") as response:
        return response.status, await response.text()


async def test_health_needs_no_token(gateway):
    assert (await get(gateway, "/healthz"))[0] == 200
    await eventually(lambda: is_ready(gateway))


async def is_ready(gateway):
    return (await get(gateway, "/readyz"))[0] == 200


async def test_a_node_without_redis_lives_and_is_not_ready(database_url):
    async with running_gateway(settings_for(database_url, f"redis://127.0.0.1:{free_port()}")) as gateway:
        assert (await get(gateway, "/healthz"))[0] == 200
        status, body = await get(gateway, "/readyz")
        assert (status, json.loads(body)["status"]) == (503, "unavailable")


async def test_metrics_are_on_the_internal_port_alone_and_parse(settings):
    async with running_gateway(settings, internal=True) as gateway, gateway.client() as client:
        await client.ask(type="nonsense")
        await eventually(gateway.is_ready)
        assert (await get(gateway, "/metrics"))[0] == 404
        for path in ["/healthz", "/readyz"]:
            assert (await get(gateway, path, gateway.internal_port))[0] == 200
        status, text = await get(gateway, "/metrics", gateway.internal_port)
        assert status == 200
        families = {family.name: family for family in text_string_to_metric_families(text)}
        connections = families["realtime_gateway_connections"].samples
        assert {sample.labels["project"]: sample.value for sample in connections}["demo"] == 1
        assert "realtime_gateway_errors" in families


async def test_the_openapi_document_describes_every_route_and_nothing_dangles(gateway):
    status, text = await get(gateway, "/openapi.json")
    document = json.loads(text)
    assert (status, document["openapi"]) == (200, "3.1.0")
    assert document["info"]["title"]
    assert document["info"]["version"]
    described = {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    in_projects = {(method, f"/projects/{{project_id}}/realtime{path}") for method, path in ENDPOINTS}
    assert set(described) == in_projects | BESIDE
    for operation in described.values():
        assert operation["operationId"]
        assert {"400", "405", "500"} < set(operation["responses"])
    for one in BESIDE:
        assert "security" in described[one]
    for method, path in in_projects:
        check_of_a_project(described[method, path], method, path)
    names = re.findall(r'"\$ref": ?"#/components/schemas/(\w+)"', text)
    assert set(names) <= set(document["components"]["schemas"])
    assert document["security"] == [{"token": []}]


def check_of_a_project(operation, method, path):
    """The token, the statuses, the parameters and the body of an operation in a project."""
    assert "security" not in operation, "it has that of the whole document"
    statuses = {"400", "401", "404", "405", "429", "500", "503"}
    statuses.add("202" if path.endswith(("/broadcast", "/disconnect")) else "200")
    if not path.endswith(FOR_ALL):
        statuses.add("403")
    if method == "POST":
        statuses |= {"413", "415"}
    assert set(operation["responses"]) == statuses
    in_path = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
    assert in_path == re.findall(r"\{(\w+)\}", path)
    assert ("requestBody" in operation) == (method == "POST")


async def test_the_openapi_document_tells_the_types_of_parameters_and_the_forms_of_a_broadcast(gateway):
    document = json.loads((await get(gateway, "/openapi.json"))[1])
    paths, schemas = document["paths"], document["components"]["schemas"]
    parameters = paths["/projects/{project_id}/realtime/connections"]["get"]["parameters"]
    typed = {one["name"]: one["schema"] for one in parameters}
    assert typed["limit"] == {"type": "integer", "minimum": 1, "maximum": 1_000, "default": 50}
    assert typed["event"] == {"type": "string", "enum": ["connect", "disconnect"]}
    assert typed["before"]["pattern"]
    assert len(schemas["BroadcastRequest"]["oneOf"]) == 2
    assert set(schemas["ErrorBody"]["properties"]["code"]) != {"type"}
    headers = {status: one.get("headers", {}) for status, one in document["components"]["responses"].items()}
    assert "Retry-After" in headers["429"]
    assert "WWW-Authenticate" in headers["401"]

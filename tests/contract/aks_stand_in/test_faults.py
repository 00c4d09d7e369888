"""Faults on order: set over the admin endpoint or the command line, met by the SDK, gone when they are used up."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.containerservice.models import AgentPool

from localcloud.arm import KNOWN, Delays, Does, Fault, FaultBook
from localcloud.arm.__main__ import main
from localcloud.arm.paths import Call
from tests.contract.aks_stand_in.arm import Arm, put_count


def get(client: ContainerServiceClient) -> Any:
    return client.managed_clusters.get("slipway", "slipway")


@pytest.mark.parametrize("name", KNOWN)
async def test_azures_errors_come_as_the_sdk_reads_them(arm: Arm, name: str) -> None:
    arm.control.faults.order(Fault.known("cluster.get", name))
    with pytest.raises(HttpResponseError) as met:
        await arm.sdk(get)
    assert met.value.status_code == KNOWN[name].status
    assert met.value.error is not None and met.value.error.code == KNOWN[name].code
    assert "{" not in (met.value.error.message or "{")
    assert (await arm.sdk(get)).name == "slipway"


async def test_throttling_says_for_how_long(arm: Arm) -> None:
    arm.control.faults.order(Fault.known("pool.*", "throttled"))
    with pytest.raises(HttpResponseError) as met:
        await arm.sdk(lambda client: client.agent_pools.get("slipway", "slipway", "gpu"))
    assert met.value.response is not None
    assert met.value.response.headers["Retry-After"] == "17"  # type: ignore[attr-defined]  # the SDK types less than it has


async def test_an_accepted_operation_fails_when_its_time_has_come(arm: Arm) -> None:
    arm.control.faults.order(Fault.known("pool.put", "capacity", in_operation=True))
    with pytest.raises(HttpResponseError, match="do not have sufficient capacity"):
        await arm.sdk(lambda client: put_count(client, 2).result())
    pool = arm.control.cluster.pools["gpu"]
    assert (pool.provisioning_state, pool.count, pool.instances) == ("Failed", 0, ())
    assert (await arm.sdk(lambda client: put_count(client, 2).result())).properties.count == 2


async def test_a_cut_may_come_before_or_after_the_deed(arm: Arm) -> None:
    for does, done in ((Does.CUT, False), (Does.CUT_AFTER, True)):
        arm.control.faults.order(Fault(on="cluster.stop", does=does))
        with pytest.raises((ServiceResponseError, ServiceRequestError)):
            await arm.sdk(lambda client: client.managed_clusters.begin_stop("slipway", "slipway"))
        assert (len(arm.control.cluster.operations) == 1) is done


async def test_a_hang_ends_and_the_call_is_answered(arm: Arm) -> None:
    arm.control.faults.order(Fault(on="cluster.get", does=Does.HANG, seconds=0.2))
    assert (await arm.sdk(get)).name == "slipway"
    assert arm.control.faults.pending == ()


def test_faults_are_met_in_order_and_so_often_as_ordered() -> None:
    book = FaultBook()
    for name, times in (("conflict", 2), ("quota", 1), ("internal", None)):
        book.order(Fault.known("pool.put", name, times=times))
    met = [fault.code for _ in range(5) if (fault := book.take(Call.POOL_PUT))]
    assert met == ["OperationNotAllowed"] * 2 + ["ErrCode_InsufficientVCPUQuota"] + ["InternalServerError"] * 2
    assert book.take(Call.CLUSTER_GET) is None
    book.clear()
    assert book.take(Call.POOL_PUT) is None


def test_a_failing_operation_is_not_for_calls_that_begin_none() -> None:
    with pytest.raises(ValueError, match=r"no call is named cluster\.get"):
        Fault.known("cluster.get", "quota", in_operation=True)


async def admin(arm: Arm, method: str, body: object = None, secret: str | None = None) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(headers={"X-IDENTITY-HEADER": secret or arm.identity.header}) as session,
        session.request(method, f"{arm.server.url}/admin/faults", json=body) as answer,
    ):
        return answer.status, await answer.json()


async def test_the_endpoint_orders_lists_and_takes_back(arm: Arm) -> None:
    status, answer = await admin(arm, "POST", {"on": "cluster.*", "known": "quota", "times": 3})
    assert (status, answer["faults"][0]["code"]) == (200, "ErrCode_InsufficientVCPUQuota")
    assert (await admin(arm, "GET"))[1] == answer
    assert (await admin(arm, "DELETE"))[1] == {"faults": []}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"on": "pool.tickle"}, "no call is named pool.tickle"),
        ({"on": "pool.*", "known": "boredom"}, "no error is named boredom"),
        ({"on": "pool.*", "times": 0}, "times"),
        ({"on": "pool.*", "colour": "red"}, "colour"),
        ([], "a JSON object"),
    ],
)
async def test_an_order_that_cannot_be_met_is_refused_by_name(arm: Arm, body: object, told: str) -> None:
    status, answer = await admin(arm, "POST", body)
    assert status == 400
    assert told in answer["error"]
    assert arm.control.faults.pending == ()


async def test_without_the_secret_nothing_is_ordered(arm: Arm) -> None:
    status, _ = await admin(arm, "POST", {"on": "pool.*"}, secret="guessed")
    assert (status, arm.control.faults.pending) == (401, ())


async def command(arm: Arm, folder: Path, *arguments: str) -> int:
    """The command line, which finds the stand-in as a user's would: in the local cloud's folder."""
    ready = folder / "run" / "aks.json"
    ready.parent.mkdir(exist_ok=True)
    ready.write_text(json.dumps({"arm_url": arm.server.url, "identity_header": arm.identity.header}))
    return await asyncio.to_thread(main, ["--data", str(folder), *arguments])


async def test_the_command_line_orders_shows_and_clears(
    arm: Arm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command(arm, tmp_path, "fault", "pool.put", "quota", "--in-operation", "--times", "2") == 0
    assert await command(arm, tmp_path, "fault", "cluster.get", "hang", "--seconds", "5", "--always") == 0
    assert await command(arm, tmp_path, "fault", "*", "error", "--status", "418", "--code", "Teapot") == 0
    told = capsys.readouterr().out
    assert [(fault.on, fault.does, fault.times) for fault in arm.control.faults.pending] == [
        ("pool.put", Does.FAIL, 2), ("cluster.get", Does.HANG, None), ("*", Does.REFUSE, 1),
    ]  # fmt: skip
    assert "ErrCode_InsufficientVCPUQuota" in told and "always" in told and "Teapot" in told
    assert await command(arm, tmp_path, "clear") == 0
    assert await command(arm, tmp_path, "faults") == 0
    assert "No fault is on order." in capsys.readouterr().out


async def test_the_command_line_says_what_it_cannot_do(
    arm: Arm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command(arm, tmp_path, "fault", "pool.tickle", "quota") == 2
    assert "no call is named pool.tickle" in capsys.readouterr().err
    assert main(["--data", str(tmp_path / "elsewhere"), "faults"]) == 1
    assert "slipway up" in capsys.readouterr().err


async def test_a_failure_on_order_survives_a_restart(tmp_path: Path) -> None:
    """The operation carries it, so that a rehearsal may kill the stand-in, too."""
    slow = Delays(scale_up=0.9)
    async with Arm(tmp_path, slow) as first:
        first.control.faults.order(Fault.known("pool.put", "quota", in_operation=True))
        token = await first.sdk(lambda client: put_count(client, 1).continuation_token())
        port = first.server.port
    async with Arm(tmp_path, slow, port=port) as second:
        with pytest.raises(HttpResponseError, match="Insufficient vcpu quota"):
            await second.sdk(
                lambda client: client.agent_pools.begin_create_or_update(
                    "slipway", "slipway", "gpu", AgentPool(), continuation_token=token
                ).result()
            )
        ended = second.control.cluster.operations[-1]
        assert ended.error is not None and ended.error.code == "ErrCode_InsufficientVCPUQuota"

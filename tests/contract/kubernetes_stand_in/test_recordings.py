"""The stand-in answers as a real API server was recorded to (../shared/kube_golden, Kubernetes 1.36.2)."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from localcloud.kubernetes import KubernetesApi, Role
from tests.contract.kubernetes_stand_in.recordings import Replay, load

RECORDINGS = Path(__file__).parents[4] / "shared" / "kube_golden"

_PASSING = "a state that the controllers pass through; the recorder met it, a replay may not"
_OPTIONAL: Mapping[str, Mapping[int, str]] = {
    "02-apply-create": {},
    "03-apply-idempotent": {45: "the wording of a YAML fault is the parser's own"},
    "04-apply-conflicts": {16: _PASSING},
    "06-errors": {
        44: "of several unknown fields the recorded server names any",
        63: "the value is shown as the server's internal type prints",
        68: "the difference is shown as the server's internal type prints",
        69: "the difference is shown as the server's internal type prints",
        70: "growth of a static claim is not refused",
        81: "a Secret sent as a ConfigMap: only the decoder's last words differ",
        94: "YAML text, whose uids and times are not left out of the comparison",
        97: "descriptions of columns are not served",
    },
    "07-rollout-surge": {27: _PASSING, 43: _PASSING, 53: _PASSING},
    "09-rollout-recreate": {22: _PASSING, 27: _PASSING, 38: _PASSING, 43: _PASSING},
    "12-scale": {
        18: _PASSING,
        34: _PASSING,
        37: "an apply to scale names its rival by the Deployment's version",
        41: "autoscaling/v1 is not served",
    },
    "17-service-endpoints": {},
}


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings beside the repository ({RECORDINGS.name})")
@pytest.mark.parametrize("scenario", _OPTIONAL)
async def test_a_recorded_scenario_is_answered_alike(scenario: str, tmp_path: Path) -> None:
    optional = _OPTIONAL[scenario]
    server = await KubernetesApi.start(tmp_path, "127.0.0.1", 0, "admin", "viewer", viewer_role=Role.NONE)
    try:
        tokens = {"admin": "admin", "viewer": "viewer", "badtoken": "nobody"}
        outcome = await Replay(server.url, tokens).run(load(RECORDINGS / f"{scenario}.json"), hasty=frozenset(optional))
    finally:
        await server.stop()
    surprising = [f"{index} {asked}: {why}" for index, asked, why in outcome.differing if index not in optional]
    assert not surprising, "\n".join(surprising)
    assert outcome.equal >= 20

"""Use case: a replica on CPU that answers for a model on GPUs while that sleeps or wakes. Off unless asked for.

    wanted: noted in the record → applied → proven → its address is in the record, and the proxy may use it
    not wanted: its address leaves the record → its objects go → forgotten

Level-triggered, as rollouts are: each look compares what should be with what is, so that one cut short is made good by the
next. Only a version that has served is bridged; a wake, a hold or the ladder take no notice of bridges.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from deployer.errors import SlipwayError
from deployer.glance import Glance, bridged
from deployer.names import bridge_name
from deployer.ports import Cluster, ModelServer, ServableStore, Workload, Workloads
from deployer.proving import difference
from deployer.record import Bridge, ModelRecord, VersionRecord
from deployer.state import State
from deployer.templates import Templates

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bridges:
    """The bridges of all models; ``run`` is one look at each."""

    state: State
    cluster: Cluster
    workloads: Workloads
    servables: ServableStore
    server: ModelServer
    templates: Templates
    enabled: bool

    def run(self, models: Iterable[Glance]) -> None:
        """One look at every model. What fails for one is tried again at the next look, and keeps no other.

        Costs no call for a model that has no bridge and needs none, and reads no record where the bridge stands.
        """
        concerned = [
            model for model in models if model.bridge is not None or (self.enabled and model.bridged is not None)
        ]
        if not concerned:
            return
        up = self.cluster.state().power == "Running" and self.state.cluster().leaving != "cluster"
        for model in concerned if up else ():
            try:
                if not self._stands(model) and (record := self.state.find(model.name)) is not None:
                    self._look(record)
            except SlipwayError as error:
                log.warning("the bridge of '%s': %s", model.name, error.message)
        if not up:
            self._unroute(concerned)

    def _stands(self, model: Glance) -> bool:
        """Whether the bridge is as it should be, for all that can be seen from outside."""
        bridge = model.bridge
        if not self.enabled or bridge is None or bridge.address is None or bridge.version != model.bridged:
            return False
        found = {work.version: work for work in self.workloads.of(bridge_name(model.name))}.get(bridge.version)
        return found is not None and found.replicas > 0 and found.complete

    def _look(self, record: ModelRecord) -> None:
        wanted, bridge = self._wanted(record), record.bridge
        if bridge is not None and (wanted is None or wanted.version != bridge.version):
            leaving = bridge.but(address=None)
            if self._noted(record.name, bridge, leaving):
                self.workloads.delete_version(bridge_name(record.name), bridge.version)
                self._noted(record.name, leaving, None)
            return
        if wanted is None:
            return
        begun = bridge or Bridge(version=wanted.version)
        if self._noted(record.name, bridge, begun):
            self._bring_up(record.name, wanted, begun)

    def _bring_up(self, model: str, wanted: VersionRecord, bridge: Bridge) -> None:
        found = {work.version: work for work in self.workloads.of(bridge_name(model))}.get(wanted.version)
        if found is None or found.replicas == 0:
            self._noted(model, bridge, bridge.but(address=None))
            self.workloads.apply(self.templates.bridge(model, wanted))
        elif bridge.address is None and found.complete and found.address is not None:
            self._prove(model, bridge, found)
        elif bridge.address is not None and not found.complete:
            self._noted(model, bridge, bridge.but(address=None))

    def _prove(self, model: str, bridge: Bridge, work: Workload) -> None:
        manifest = self.servables.read(f"{model}/{bridge.version}/servable.json")
        if manifest is None or work.address is None:
            return
        told = difference(self.server, work.address, model, bridge.version, manifest.data)
        if told is None:
            self._noted(model, bridge, bridge.but(address=work.address))
        else:
            log.warning(
                "the bridge of '%s' v%s answers otherwise than at its conversion (%s)", model, bridge.version, told
            )

    def _unroute(self, models: Iterable[Glance]) -> None:
        """Nobody is sent where no cluster runs; what stands there is proven again when it does."""
        for model in models:
            if model.bridge is not None and model.bridge.address is not None:
                self._noted(model.name, model.bridge, model.bridge.but(address=None))

    def _wanted(self, record: ModelRecord) -> VersionRecord | None:
        return bridged(record) if self.enabled else None

    def _noted(self, model: str, before: Bridge | None, after: Bridge | None) -> bool:
        """Notes the bridge, unless another look has noted something else meanwhile; tells whether it stands there now."""
        found = self.state.change(
            model, lambda record: record.but(bridge=after) if record.bridge == before != after else record
        )
        return found.bridge == after

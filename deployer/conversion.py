"""One attempt at an upload: fetch → scan → convert → publish → desired.

Whatever is written or published is checked to be wanted still: the record must be about this upload, the blobs must be
those that were fetched, and the lease must be held. What an attempt before has finished is not done again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deployer import telemetry, upload_record
from deployer.errors import Conflict
from deployer.fetching import Fetched, OptionsInside, fetch
from deployer.options import ServeOptions
from deployer.ports import Clock, Lease, RolloutQueue, ServableStore, UploadStore
from deployer.publishing import publish, published_size, unchanged, unpublish
from deployer.record import ModelRecord, VersionRecord
from deployer.resolution import Upload, resolve
from deployer.schema import breaking_change, known_to_clients
from deployer.state import State
from deployer.tags import tag_upload
from deployer.telemetry import span
from deployer.timeline import Stage, stage_done
from exporter import ExportOptions, ScanReport, VerifiedServable

log = logging.getLogger(__name__)

Scan = Callable[[Path, ExportOptions, Path | None], ScanReport]
Export = Callable[[ScanReport, Path], VerifiedServable]


@dataclass(frozen=True)
class Conversion:
    """Makes a version of an upload; ``attempt`` is what the upload's use case calls."""

    state: State
    uploads: UploadStore
    servables: ServableStore
    queue: RolloutQueue
    options_inside: OptionsInside
    scan: Scan
    export: Export
    clock: Clock

    def attempt(self, upload: Upload, lease: Lease, folder: Path) -> None:
        """Takes the upload to a version that shall serve.

        Raises:
            UploadRefused, ExportError: it cannot be, or not now.
            Conflict: it changed meanwhile, or is not wanted any more.
            LeaseLost: another instance may be at it by now.
        """
        started = self.clock()
        with span("scan", {"model": upload.model}):
            fetched = fetch(upload, self.uploads, self.options_inside, folder / "source")
            report = self.scan(fetched.source, fetched.options.export, fetched.labels)
        scanned = stage_done("scan", started, self.clock())
        lease.check()
        self._abandon_others(upload, report.digest)
        version = self.state.model(upload.model).by_identity(report.digest)
        if version is None or version.state == "publishing":
            version = self._finished(upload, version, scanned) or self._make(
                upload, fetched, report, scanned, lease, folder / "servable"
            )
        else:
            self.state.change(upload.model, lambda before: upload_record.ended(before, upload, scanned))
        lease.check()
        self._desire(upload, version.version, fetched.options.serve)

    def _make(
        self, upload: Upload, fetched: Fetched, report: ScanReport, scanned: Stage, lease: Lease, destination: Path
    ) -> VersionRecord:
        started = self.clock()
        record = self.state.change(
            upload.model, lambda before: upload_record.at(before, upload, "converting", "convert", started, scanned)
        )
        tag_upload(self.uploads, record)
        with span("convert", {"model": upload.model}):
            servable = self.export(report, destination)
        telemetry.converted("done")
        timings = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in servable.manifest.timings.items())
        converted = stage_done("convert", started, self.clock(), detail=timings)
        self._unchanged(upload)
        started = self.clock()
        version = self._numbered(upload, servable, report.digest, fetched.options.serve, converted)
        copies = unchanged(fetched.source, fetched.files, servable.manifest)
        with span("publish", {"model": upload.model}):
            size = publish(servable, self.servables, lease, model=upload.model, version=version.version, copies=copies)
        return self._published(upload, version, size, started)

    def _numbered(
        self, upload: Upload, servable: VerifiedServable, identity: str, serve: ServeOptions, converted: Stage
    ) -> VersionRecord:
        """The version that is to be published: that of an attempt before, or the next."""
        manifest, now = servable.manifest, self.clock()

        def numbered(record: ModelRecord) -> ModelRecord:
            after = upload_record.at(record, upload, "publishing", "publish", now, converted)
            if after.by_identity(identity) is not None:
                return after
            version = VersionRecord(
                version=record.next_version, identity=identity, state="publishing", created=now, serve=serve,
                source=manifest.source.model_dump(mode="json"), labels=len(manifest.labels) if manifest.labels else None,
                signatures={name: item.model_dump(mode="json") for name, item in manifest.signatures.items()},
                parity=manifest.parity.max_abs_error,
            )  # fmt: skip
            what, why = f"v{version.version} is made of it", f"identity {identity[:12]}"
            after = after.with_version(version).but(next_version=record.next_version + 1)
            return after.noting(now, upload_record.who(upload), what, why)

        record = self.state.change(upload.model, numbered)
        tag_upload(self.uploads, record)
        version = record.by_identity(identity)
        if version is None:  # only a writer that forgets versions could bring this about
            raise Conflict(
                "lost_version", f"The new version of '{upload.model}' vanished from its record.", "Try again."
            )
        return version

    def _finished(self, upload: Upload, version: VersionRecord | None, scanned: Stage) -> VersionRecord | None:
        """The version, where an attempt before published all of it and was killed before it said so."""
        if version is None:
            return None
        size = published_size(self.servables, upload.model, version.version, version.identity)
        return None if size is None else self._published(upload, version, size, self.clock(), scanned)

    def _published(
        self, upload: Upload, version: VersionRecord, size: int, started: datetime, *before: Stage
    ) -> VersionRecord:
        published = version.but(state="published", bytes=size)
        stage = stage_done("publish", started, self.clock(), detail=f"v{version.version}")
        self.state.change(
            upload.model, lambda record: upload_record.ended(record.with_version(published), upload, *before, stage)
        )
        return published

    def _abandon_others(self, upload: Upload, identity: str) -> None:
        """Gives up versions whose publish was cut short when their upload was overwritten; their numbers are not used again."""
        record = self.state.model(upload.model)
        for version in record.versions:
            if version.state != "publishing" or version.identity == identity:
                continue
            unpublish(self.servables, upload.model, version.version)
            reason = "Its upload was overwritten before it was published."
            gone = version.but(state="failed", reason=reason)
            now = self.clock()
            self.state.change(
                upload.model,
                lambda before, gone=gone, now=now: before.with_version(gone).noting(  # type: ignore[misc]  # bound
                    now, upload_record.who(upload), f"v{gone.version} abandoned", gone.reason
                ),
            )

    def _desire(self, upload: Upload, version: int, serve: ServeOptions) -> None:
        """Makes the version the desired one and asks for its rollout; or holds it back, where it breaks clients.

        Raises:
            Conflict: what clients know has changed meanwhile.
        """
        now = self.clock()
        than = known_to_clients(self.state.model(upload.model))
        change: Sequence[str] = ()
        if than is not None and than != version and not serve.accept_schema_change:
            change = breaking_change(self.servables, upload.model, than, version)

        def desired(before: ModelRecord) -> ModelRecord:
            if known_to_clients(before) != than:
                raise Conflict(
                    "overwritten", f"'{upload.model}' serves another version by now.", "It is looked at anew."
                )
            if change and than is not None:
                return upload_record.held(before, upload, now, version, serve, than=than, change=change)
            return upload_record.desired(before, upload, now, version, serve)

        record = self.state.change(upload.model, desired)
        if not change:
            self.queue.ask(upload.model)
        tag_upload(self.uploads, record)

    def _unchanged(self, upload: Upload) -> None:
        """Makes sure that nothing of an upload that was overwritten meanwhile is published."""
        now = resolve(upload.stem, self.uploads.listing(upload.stem))
        if now is None or now.fingerprint != upload.fingerprint:
            raise Conflict(
                "overwritten", f"'{upload.primary.name}' changed during its conversion.", "It is begun anew."
            )

"""Use case: one upload, through to a published version.

    blobs → Upload → [complete?] → ScanReport → VerifiedServable → published version → record: desired → queue "look at NAME"

One upload, one version: a duplicate event, the same bytes again, a crash and a retry all end at the same version. A lease
lets one instance work on a model at a time; whoever finds it taken leaves, for the holder looks again when it is done.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from deployer.errors import Conflict, UploadRefused
from deployer.names import part_of
from deployer.options import ModelOptions, ServeOptions, parse_options
from deployer.ports import Clock, Documents, RolloutQueue, ServableStore, UploadStore
from deployer.publishing import publish
from deployer.record import ModelRecord, Stage, UploadState, UploadStatus, VersionRecord, merged, stage_done
from deployer.resolution import Upload, missing, resolve
from deployer.state import State
from deployer.tags import tag_upload, tags_of
from deployer.telemetry import converted, logger, span
from exporter import ExportError, ExportOptions, ScanReport, VerifiedServable

log = logger(__name__)

_RESTARTS = 5  # how often an upload that is overwritten while at work is begun anew in one invocation
_ENDED: frozenset[UploadState] = frozenset({"published", "serving", "failed", "superseded"})

OptionsInside = Callable[[Path], str | None]
Scan = Callable[[Path, ExportOptions, Path | None], ScanReport]
Export = Callable[[ScanReport, Path], VerifiedServable]


@dataclass(frozen=True)
class Uploads:
    """Takes uploads through; ``take`` is what the blob function calls."""

    state: State
    documents: Documents
    uploads: UploadStore
    servables: ServableStore
    queue: RolloutQueue
    options_inside: OptionsInside
    scan: Scan
    export: Export
    clock: Clock

    def take(self, blob: str) -> None:
        """Takes the upload that this blob belongs to as far as it goes now.

        A permanent failure is recorded, with stage, reason and what to do, and the call returns. What may heal is raised.
        """
        try:
            part = part_of(blob)
        except UploadRefused as refused:
            log.warning("%s refused: %s %s", blob, refused.message, refused.hint)
            self.uploads.tag(blob, tags_of("failed", None, f"{refused.message} {refused.hint}"))
            return
        with self.documents.lease(f"upload-{part.model}") as held:
            if not held:
                log.info("%s: another instance is at work on '%s'", blob, part.model)
                return
            done = ""
            for _ in range(_RESTARTS):
                upload = resolve(part.stem, self.uploads.listing(part.stem))
                if upload is None or upload.fingerprint == done:
                    return
                if self._take(upload):
                    done = upload.fingerprint
        raise Conflict(
            "overwritten", f"'{blob}' was overwritten {_RESTARTS} times while at work.", "It is tried again."
        )

    def _take(self, upload: Upload) -> bool:
        """Takes one upload as far as it goes; False where its blobs changed meanwhile and it must be begun anew."""
        record = self.state.find(upload.model)
        known = record.upload if record and record.upload and record.upload.fingerprint == upload.fingerprint else None
        if record is not None and known is not None and known.state in _ENDED:
            tag_upload(self.uploads, record)  # the call that ended it may have been killed before it said so
            if known.state == "published":
                self.queue.ask(upload.model)
            return True
        if record is not None and self._older(upload, record):
            log.info("%s: '%s' has a newer upload under another spelling", upload.primary.name, upload.model)
            return True
        if (lacking := missing(upload)) is not None:
            self._record(upload, "receiving", reason=f"waiting for {lacking}")
            return True
        with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
            try:
                with span("upload", {"model": upload.model}):
                    self._convert(upload, Path(folder))
            except Conflict as changed:
                log.info("%s: %s", upload.primary.name, changed.message)
                return False
            except UploadRefused as refused:
                self._refuse(upload, refused.stage, refused.message, refused.hint)
            except ExportError as error:
                converted("refused" if error.permanent else "failed")
                if not error.permanent:
                    raise
                self._refuse(upload, error.stage, error.message, error.hint)
        return True

    def _older(self, upload: Upload, record: ModelRecord) -> bool:
        """Whether the model's upload is another file, newer than this one: ``Cats_v2`` and ``cats-v2`` are one model."""
        if record.upload is None or part_of(record.upload.blob).stem == upload.stem:
            return False
        newest = self.uploads.find(record.upload.blob)
        return newest is not None and newest.modified > upload.primary.modified

    def _convert(self, upload: Upload, folder: Path) -> None:
        started = self.clock()
        self._record(upload, "scanning", stage="scan")
        with span("scan", {"model": upload.model}):
            source, options, labels = self._fetch(upload, folder / "source")
            report = self.scan(source, options.export, labels)
        self._stage(upload, "scan", started)
        record = self.state.model(upload.model)
        version = record.by_identity(report.digest)
        if version is None or version.state == "publishing":
            started = self.clock()
            self._record(upload, "converting", stage="convert")
            with span("convert", {"model": upload.model}):
                servable = self.export(report, folder / "servable")
            converted("done")
            timings = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in servable.manifest.timings.items())
            self._stage(upload, "convert", started, detail=timings)
            with span("publish", {"model": upload.model}):
                version = self._publish(upload, servable, report.digest, options.serve)
        self._desire(upload, version.version, options.serve)

    def _fetch(self, upload: Upload, folder: Path) -> tuple[Path, ModelOptions, Path | None]:
        """Downloads the upload; returns the model's path, its options, and the labels file if there is one."""
        folder.mkdir()
        root = folder / upload.stem if upload.directory else folder
        for blob in upload.blobs:
            target = root / upload.path_of(blob)
            if not target.resolve().is_relative_to(folder.resolve()):
                raise UploadRefused("bad_name", f"'{blob.name}' climbs out of its folder.", "Rename it.", stage="name")
            target.parent.mkdir(parents=True, exist_ok=True)
            self.uploads.download(blob, target)
        beside: dict[str, Path] = {}
        for blob in upload.sidecars:
            beside[blob.name.removeprefix(upload.stem)] = folder / blob.name
            self.uploads.download(blob, folder / blob.name)
        source = root if upload.directory else root / upload.primary.name
        if (chosen := beside.get(".yaml")) is not None:
            options = parse_options(chosen.read_text(encoding="utf-8", errors="replace"), where=chosen.name)
        else:
            options = parse_options(self.options_inside(source), where=f"slipway.yaml in {source.name}")
        return source, options, self._named_labels(options, folder) or beside.get(".labels.txt")

    def _named_labels(self, options: ModelOptions, folder: Path) -> Path | None:
        """The label file that the options name, where it lies in the container; else it is looked for inside the model."""
        named = options.export.labels
        found = self.uploads.find(named) if isinstance(named, str) else None
        if found is None:
            return None
        target = folder / "labels" / PurePosixPath(found.name).name
        target.parent.mkdir()
        self.uploads.download(found, target)
        return target

    def _publish(self, upload: Upload, servable: VerifiedServable, identity: str, serve: ServeOptions) -> VersionRecord:
        started = self.clock()
        self._unchanged(upload)
        self._record(upload, "publishing", stage="publish")
        manifest = servable.manifest

        def numbered(record: ModelRecord) -> ModelRecord:
            if record.by_identity(identity) is not None:
                return record
            version = VersionRecord(
                version=record.next_version, identity=identity, state="publishing", created=started, serve=serve,
                source=manifest.source.model_dump(mode="json"), labels=len(manifest.labels) if manifest.labels else None,
                signatures={name: item.model_dump(mode="json") for name, item in manifest.signatures.items()},
                parity=manifest.parity.max_abs_error,
            )  # fmt: skip
            return record.with_version(version).but(next_version=record.next_version + 1)

        version = self.state.change(upload.model, numbered).by_identity(identity)
        if version is None:  # only a writer that forgets versions could bring this about
            raise Conflict(
                "lost_version", f"The new version of '{upload.model}' vanished from its record.", "Try again."
            )
        size = publish(servable, self.servables, model=upload.model, version=version.version)
        published = version.but(state="published", bytes=size)
        self.state.change(upload.model, lambda record: record.with_version(published))
        self._stage(upload, "publish", started, detail=f"v{version.version}")
        return published

    def _desire(self, upload: Upload, version: int, serve: ServeOptions) -> None:
        """Makes the version the desired one and asks for its rollout."""
        now = self.clock()

        def desired(record: ModelRecord) -> ModelRecord:
            wanted = record.version(version)
            wanted = wanted.but(serve=serve, reason=None, hint=None, state=_revived(wanted.state))
            serving = record.route is not None and record.route.version == version
            status = _status(upload, "serving" if serving else "published", now, record).but(version=version)
            changed = now if record.asleep else record.changed_rung
            return record.with_version(wanted).but(desired=version, upload=status, asleep=False, changed_rung=changed)

        record = self.state.change(upload.model, desired)
        stages = record.upload.stages if record.upload else ()
        self.state.note(upload.model, version, *(stage.but(version=version) for stage in stages))
        self.queue.ask(upload.model)
        tag_upload(self.uploads, record)

    def _unchanged(self, upload: Upload) -> None:
        """Makes sure that nothing of an upload that was overwritten meanwhile is published."""
        now = resolve(upload.stem, self.uploads.listing(upload.stem))
        if now is None or now.fingerprint != upload.fingerprint:
            raise Conflict(
                "overwritten", f"'{upload.primary.name}' changed during its conversion.", "It is begun anew."
            )

    def _refuse(self, upload: Upload, stage: str, reason: str, hint: str) -> None:
        log.warning(
            "%s refused at %s: %s %s", upload.primary.name, stage, reason, hint,
            extra={"model": upload.model, "stage": stage},
        )  # fmt: skip
        record = self.state.find(upload.model)
        at = record.upload.at if record and record.upload else self.clock()
        self._stage(upload, stage, at, detail=reason, failed=True)
        self._record(upload, "failed", stage=stage, reason=reason, hint=hint)

    def _record(
        self,
        upload: Upload,
        state: UploadState,
        *,
        stage: str | None = None,
        reason: str | None = None,
        hint: str | None = None,
    ) -> None:
        now = self.clock()
        record = self.state.change(
            upload.model,
            lambda before: before.but(
                upload=_status(upload, state, now, before).but(stage=stage, reason=reason, hint=hint)
            ),
        )
        tag_upload(self.uploads, record)

    def _stage(self, upload: Upload, stage: str, started: datetime, *, detail: str = "", failed: bool = False) -> None:
        ended = stage_done(stage, started, self.clock(), detail=detail, failed=failed)
        self.state.change(upload.model, lambda before: _with_stage(before, ended))


def _status(upload: Upload, state: UploadState, now: datetime, record: ModelRecord) -> UploadStatus:
    """The upload's status, keeping the stages that the same upload has gone through already."""
    before = record.upload
    same = before is not None and before.fingerprint == upload.fingerprint
    return UploadStatus(
        blob=upload.primary.name, etag=upload.primary.etag, fingerprint=upload.fingerprint, state=state, at=now,
        stages=before.stages if before is not None and same else (),
    )  # fmt: skip


def _with_stage(record: ModelRecord, stage: Stage) -> ModelRecord:
    if record.upload is None:
        return record
    return record.but(upload=record.upload.but(stages=merged(record.upload.stages, [stage])))


def _revived(state: str) -> str:
    """A version that failed or was retired is rolled out again when it is asked for again."""
    return "published" if state in ("failed", "retired", "publishing") else state

"""Model file in, verified servable out.

1. (``scan`` before) the caller holds a ``ScanReport``: the file is known, and may be loaded
2. the source is still what was scanned
3. load, trace, write, verify in the converting process (``worker``, ``server``, ``convert``), within ``limits``
4. the files are digested and described in ``servable.json``
5. the directory appears at its destination, whole or not at all
"""

import logging
from collections.abc import Callable
from dataclasses import InitVar, dataclass
from pathlib import Path

from exporter.endings import crashed, error_of
from exporter.errors import ConversionFailed, Stage
from exporter.job import LOG, OUTCOME, OUTCOME_TYPE, SERVABLE, Converted, Ended, Failed, Job
from exporter.limits import MIB, Limits, ScanBounds
from exporter.manifest import ExporterInfo, FileDigest, Manifest, SourceInfo
from exporter.scanning import ScanReport, content_digest, directory_files, require_unchanged
from exporter.worker import WORKER
from exporter.workspace import workspace

VERSION = "0.1.0"

_LOGGER = logging.getLogger(__name__)
_VERIFIED = object()
_LARGEST_OUTCOME = 64 * MIB
_LOG_TAIL = 4096


@dataclass(frozen=True)
class VerifiedServable:
    """A servable that was read back as TensorFlow Serving does and answered rightly; only ``export`` makes one."""

    directory: Path
    manifest: Manifest
    token: InitVar[object]

    def __post_init__(self, token: object) -> None:
        if token is not _VERIFIED:
            raise TypeError("a VerifiedServable comes from exporter.export, which verifies it")


def export(
    report: ScanReport,
    destination: Path,
    *,
    limits: Limits | None = None,
    on_stage: Callable[[Stage], None] = lambda stage: None,
) -> VerifiedServable:
    """Converts what was scanned into a servable at ``destination``, which must not exist yet.

    Blocks the calling thread, any thread, for the length of the conversion; ``on_stage`` is called in it as each stage
    begins. Working files lie beside the destination and are removed whatever happens.

    Raises:
        FileExistsError: there is something at the destination.
        ExportError: why there is no servable; nothing is left at the destination.
    """
    if destination.exists():
        raise FileExistsError(f"'{destination}' exists already; a servable is never written over another.")
    limits = limits or Limits()
    reached = Stage.LOAD

    def enter(stage: Stage) -> None:
        nonlocal reached
        reached = stage
        on_stage(stage)

    require_unchanged(report)
    with workspace(destination) as working:
        ended = WORKER.run(_job(report, working, limits), enter)
        converted = _outcome(working, ended, limits, reached)
        servable = working / SERVABLE
        manifest = _manifest(report, converted, servable)
        manifest.write(servable)
        servable.rename(destination)
    return VerifiedServable(destination, manifest, _VERIFIED)


def _job(report: ScanReport, working: Path, limits: Limits) -> Job:
    return Job(
        directory=str(working),
        source=str(report.source.path.resolve()),
        format=report.source.format,
        packaging=report.source.packaging,
        root=report.source.root,
        loader=report.loader,
        allowed_layers=report.allowed_layers,
        options=report.options,
        labels=report.labels.names if report.labels else None,
        limits=limits,
        bounds=report.bounds,
    )


def _outcome(working: Path, ended: Ended, limits: Limits, stage: Stage) -> Converted:
    """What the conversion found out, or why it ended without."""
    if ended.exit_code != 0:
        log = _log_tail(working)
        _LOGGER.warning("a conversion ended with status %s; the end of its log:\n%s", ended.exit_code, log)
        raise error_of(ended, limits, stage, log)
    file = working / OUTCOME
    if (working / SERVABLE).is_symlink() or file.is_symlink() or not file.is_file():
        raise crashed("left no outcome, or links in its place", stage)
    if file.stat().st_size > _LARGEST_OUTCOME:
        raise crashed("wrote an outcome beyond all measure", stage)
    outcome = OUTCOME_TYPE.validate_json(file.read_bytes())
    if isinstance(outcome, Failed):
        _LOGGER.info("a conversion failed; the end of its log:\n%s", _log_tail(working))
        raise outcome.error_of_caller()
    _LOGGER.info("converted in %s, peak memory %d MiB", outcome.timings, ended.peak_rss_bytes // MIB)
    return outcome


def _log_tail(working: Path) -> str:
    file = working / LOG
    if not file.exists():
        return ""
    with file.open("rb") as log:
        log.seek(max(0, file.stat().st_size - _LOG_TAIL))
        return log.read(_LOG_TAIL).decode("utf-8", errors="replace")


def _manifest(report: ScanReport, converted: Converted, servable: Path) -> Manifest:
    bounds = ScanBounds()
    files = {
        file.relative_to(servable).as_posix(): FileDigest(sha256=digest, bytes=size)
        for file in directory_files(servable, bounds)
        for digest, size in [content_digest(file, bounds)]
    }
    if "saved_model.pb" not in files:
        raise ConversionFailed(
            "The conversion ended without a saved_model.pb.", hint="Report this.", stage=Stage.WRITE, code="no_servable"
        )
    timings = {Stage.SCAN: round(report.seconds, 4)} | converted.timings
    return Manifest(
        source=SourceInfo(
            name=report.source.path.name,
            format=report.source.format.family,
            sha256=report.sha256,
            bytes=report.bytes,
            keras_version=report.keras_version,
        ),
        exporter=ExporterInfo(slipway=VERSION, tensorflow=converted.tensorflow, keras=converted.keras),
        signatures=converted.signatures,
        image=converted.image,
        labels=report.labels.names if report.labels else None,
        top=report.options.top,
        golden=converted.golden,
        parity=converted.parity,
        files=files,
        bytes=sum(file.bytes for file in files.values()),
        timings={stage.value: seconds for stage, seconds in timings.items()},
        sandbox=converted.sandbox,
        identity=report.digest,
    )

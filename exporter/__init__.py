"""Turns a model file into a verified TensorFlow Serving servable. Knows nothing of Azure or Kubernetes.

::

    report = scan(Path("digits.keras"), ExportOptions(labels=("zero", …)))   # reads, never loads
    servable = export(report, Path("out/1"))                                 # converts and verifies, elsewhere
    servable.manifest.signatures

TensorFlow and Keras are imported in that process only: never by this package's façade, and never in the caller's.
"""

from exporter.errors import (
    BadOptions,
    ConversionFailed,
    Crashed,
    ExportError,
    Finding,
    NotAModel,
    OutOfMemory,
    ParityFailed,
    ScanRefused,
    Stage,
    TimedOut,
    Unsupported,
    WorkerUnavailable,
)
from exporter.exporting import VerifiedServable, export
from exporter.formats import Packaging, Source, SourceFormat
from exporter.hdf5_scan import WALKER
from exporter.inside import options_inside
from exporter.labels import Labels
from exporter.limits import Limits, ScanBounds
from exporter.manifest import Manifest
from exporter.options import ExportOptions, ImageOptions, Scaling
from exporter.scanning import ScanReport, scan
from exporter.schema_diff import Change, SchemaDiff, schema_diff
from exporter.worker import WORKER

__all__ = [
    "BadOptions",
    "Change",
    "ConversionFailed",
    "Crashed",
    "ExportError",
    "ExportOptions",
    "Finding",
    "ImageOptions",
    "Labels",
    "Limits",
    "Manifest",
    "NotAModel",
    "OutOfMemory",
    "Packaging",
    "ParityFailed",
    "Scaling",
    "ScanBounds",
    "ScanRefused",
    "ScanReport",
    "SchemaDiff",
    "Source",
    "SourceFormat",
    "Stage",
    "TimedOut",
    "Unsupported",
    "VerifiedServable",
    "WorkerUnavailable",
    "export",
    "options_inside",
    "scan",
    "schema_diff",
    "shutdown",
]


def shutdown() -> None:
    """Ends the converting process and what it is doing; the next export starts another. Done by itself at exit."""
    WORKER.close()
    WALKER.close()

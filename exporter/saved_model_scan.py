"""A SavedModel's graph, checked for operations that reach outside of it. Pure: nothing is loaded.

A graph is a program: TensorFlow Serving runs it with the rights of its container, so an operation that reads or writes
files, opens connections or calls Python is refused, in the main graph and in every function of its library. What every
SavedModel has in order to restore its variables (RestoreV2, SaveV2, MergeV2Checkpoints, ShardedFilename) is not, as long
as it does that only (``saved_model_flow``). What is not known to be harmless (``graph_ops``) is refused.
"""

import re
from pathlib import PurePosixPath

from exporter import graph_ops, saved_model_flow, saved_model_proto
from exporter.errors import Finding, NotAModel, ScanRefused, Stage, Unsupported
from exporter.saved_model_proto import MetaGraph, Node

SERVE_TAG = "serve"
_INTERNAL_SIGNATURE = "__saved_model_"

# What the best known of the refused do; as in TensorFlow's registry, without version suffix (V2 …) and "Experimental".
_KNOWN = {
    **dict.fromkeys(
        ("ReadFile", "MatchingFiles", "ImmutableConst", "WholeFileReader", "TextLineReader"), "reads files"
    ),
    **dict.fromkeys(("FixedLengthRecordReader", "TFRecordReader", "LMDBReader", "IdentityReader"), "reads files"),
    **dict.fromkeys(("TextLineDataset", "TFRecordDataset", "FixedLengthRecordDataset", "LMDBDataset"), "reads files"),
    **dict.fromkeys(("CSVDataset", "SqlDataset", "LoadDataset", "MatchingFilesDataset"), "reads files"),
    **dict.fromkeys(("LoadAndRemapMatrix", "GenerateVocabRemapping"), "reads files"),
    **dict.fromkeys(
        ("WriteFile", "SaveDataset", "SnapshotDataset", "CacheDataset", "DatasetToTFRecord"), "writes files"
    ),
    **dict.fromkeys(
        ("SummaryWriter", "CreateSummaryFileWriter", "CreateSummaryDbWriter", "ImportEvent"), "writes files"
    ),
    **dict.fromkeys(("WriteSummary", "WriteRawProtoSummary", "WriteGraphSummary"), "writes files"),
    **dict.fromkeys(("DebugIdentity", "DebugNumericSummary", "DebugNanCount"), "writes to files or the network"),
    **dict.fromkeys(("PyFunc", "PyFuncStateless", "EagerPyFunc", "GeneratorDataset"), "calls Python code"),
    **dict.fromkeys(
        ("DatasetFromGraph", "RemoteFusedGraphExecute", "MlirPassthroughOp"), "runs a graph that is hidden in it"
    ),
    **dict.fromkeys(("Rpc", "TryRpc", "RegisterDataset", "DataServiceDataset"), "opens network connections"),
    **dict.fromkeys(("BigQueryReader", "DistributedSave"), "opens network connections"),
    **dict.fromkeys(("TPUCompile", "TPUExecute", "XlaHostCompute"), "needs a TPU"),
}
_HARMLESS = graph_ops.PURE | graph_ops.CHECKPOINT | graph_ops.TABLE_FILES | graph_ops.PRINTS
_LOGS = frozenset({b"stderr", b"stdout", b"log(info)", b"log(warning)", b"log(error)"})
_VERSION_SUFFIX = re.compile(r"V\d+$")


def check(content: bytes, *, name: str) -> MetaGraph:
    """The graph that TensorFlow Serving would serve, once nothing in the file reaches outside of it.

    Raises:
        NotAModel: the bytes are no SavedModel.
        Unsupported: it has no graph tagged 'serve', or that graph no signature.
        ScanRefused: an operation or an asset reaches outside of the graph.
    """
    try:
        graphs = saved_model_proto.parse(content)
    except saved_model_proto.UnparsableError as error:
        raise NotAModel(
            f"The saved_model.pb of '{name}' is damaged ({error}).",
            hint="It was probably cut short on its way: upload it again.",
            stage=Stage.SCAN,
            code="truncated_model",
        ) from error
    findings = [finding for graph in graphs for finding in _findings(graph)]
    if findings:
        raise ScanRefused(
            f"'{name}' is refused: {findings[0]}" + (f" (and {len(findings) - 1} more)." if findings[1:] else "."),
            hint="A served graph computes outputs from inputs and nothing else: export it without these operations.",
            code="unsafe_operation",
            findings=findings,
        )
    return _servable_graph(graphs, name)


def _servable_graph(graphs: list[MetaGraph], name: str) -> MetaGraph:
    serving = [graph for graph in graphs if SERVE_TAG in graph.tags]
    if not serving:
        tags = sorted({tag for graph in graphs for tag in graph.tags})
        raise Unsupported(
            f"'{name}' has no graph tagged '{SERVE_TAG}' (its tags: {', '.join(tags) or 'none'}).",
            hint="Export it for serving: model.export(DIRECTORY) or tf.saved_model.save(model, DIRECTORY).",
            stage=Stage.SCAN,
            code="no_serve_tag",
        )
    if all(signature.startswith(_INTERNAL_SIGNATURE) for signature in serving[0].signatures):
        raise Unsupported(
            f"'{name}' has no signature, so nothing in it can be called by name.",
            hint="Export it with signatures: model.export(DIRECTORY), or tf.saved_model.save(…, signatures=…).",
            stage=Stage.SCAN,
            code="no_signature",
        )
    return serving[0]


def _findings(graph: MetaGraph) -> list[Finding]:
    findings = [Finding(node.where, problem) for node in graph.nodes if (problem := _problem(node))]
    findings += [Finding("graph", f"has two of the name '{name[:200]}'") for name in graph.doubles]
    for file in graph.asset_files:
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts:
            findings.append(Finding("asset_file_def", f"the asset '{file}' is outside of the model's own folder"))
    return [*findings, *saved_model_flow.findings(graph)]


def _problem(node: Node) -> str | None:
    if node.op in graph_ops.PRINTS and node.strings.get("output_stream", b"stderr") not in _LOGS:
        return f"the operation {node.op} writes files"
    if node.op in _HARMLESS:
        return None
    what = _KNOWN.get(node.op) or _KNOWN.get(_VERSION_SUFFIX.sub("", node.op.removeprefix("Experimental")))
    return f"the operation {node.op} {what or 'is none of those that are known to do nothing but compute'}"

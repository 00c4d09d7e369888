"""Whether all files of a SavedModel directory have come, by what the model itself says. Pure, but for what it has read.

``variables/variables.index`` names the data files and how long each must be; ``saved_model.pb`` names the assets, and tells
whether there are variables. So no marker file is needed, and the order in which the files come does not matter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deployer.ports import BlobRef
from deployer.resolution import Upload
from exporter import saved_model_proto, tensor_bundle

ROOT = "saved_model.pb"
INDEX = "variables/variables.index"
_LARGEST_READ = 256 << 20  # bytes; a larger graph is refused by the scan in any case

Read = Callable[[BlobRef], bytes]


@dataclass(frozen=True)
class Lacking:
    """What a directory waits for, in words; ``certain``: it cannot be served without."""

    what: str
    certain: bool = True


def lacking(upload: Upload, read: Read) -> Lacking | None:
    """What the upload still lacks; None where nothing. Reads the index and the graph only, and only once both are there.

    What cannot be read is no reason to wait: the scan says what is wrong with it.
    """
    if not upload.directory:
        return None
    blobs = {str(upload.path_of(blob)): blob for blob in upload.blobs}
    if ROOT not in blobs:
        return Lacking(ROOT)
    has_variables = any(name.startswith("variables/") for name in blobs)
    if has_variables and INDEX not in blobs:
        return Lacking(INDEX)
    if has_variables and (found := _data(blobs, read)) is not None:
        return Lacking(found)
    return _asked_for(blobs, read, has_variables=has_variables)


def mixed(upload: Upload, taken: Mapping[str, str]) -> bool:
    """Whether some of its files are those of the upload before (their ETags by name) and some are not.

    Then it may be half overwritten, by a client that sends one file after the other.
    """
    if not upload.directory:
        return False
    same = sum(taken.get(blob.name) == blob.etag for blob in upload.blobs)
    return same > 0 and not (same == len(upload.blobs) == len(taken))


def _data(blobs: Mapping[str, BlobRef], read: Read) -> str | None:
    index = blobs[INDEX]
    try:
        if index.size > _LARGEST_READ:
            return None
        files = list(tensor_bundle.parse(read(index)).files())
    except tensor_bundle.UnreadableError:
        return None
    for file, least in files:
        name = f"variables/{file}"
        if name not in blobs:
            return name
        if blobs[name].size < least:
            return f"{name} (it has {blobs[name].size} of {least} bytes)"
    return None


def _asked_for(blobs: Mapping[str, BlobRef], read: Read, *, has_variables: bool) -> Lacking | None:
    graph = blobs[ROOT]
    try:
        if graph.size > _LARGEST_READ:
            return None
        wants = saved_model_proto.wants(read(graph))
    except saved_model_proto.UnparsableError:
        return None
    for asset in sorted(wants.assets):
        if f"assets/{asset}" not in blobs:
            return Lacking(f"assets/{asset}")
    if not has_variables and (wants.variables or wants.saver):
        # TensorFlow 2 writes the folder for a model without variables, too; such a model is served without it.
        return Lacking(INDEX, certain=wants.variables)
    return None

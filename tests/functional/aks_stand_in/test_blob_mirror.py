"""A blob container seen as a folder: whole files, in the order of their upload, and only what is there."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from localcloud.kubelet import BlobMirrors
from localcloud.kubelet.mirror import MirrorError

DEADLINE = 20.0


@pytest.fixture
async def container(azurite: str) -> AsyncIterator[ContainerClient]:
    async with BlobServiceClient.from_connection_string(azurite) as service:
        yield await service.create_container("servables")


@pytest.fixture
async def mirrors(azurite: str, tmp_path: Path) -> AsyncIterator[BlobMirrors]:
    async with BlobMirrors(azurite, tmp_path, poll_seconds=0.05) as running:
        yield running


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  (a folder has no event)
            await asyncio.sleep(0.02)


def files(tree: Path) -> dict[str, bytes]:
    return {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


async def test_a_mount_has_what_the_container_has(container: ContainerClient, mirrors: BlobMirrors) -> None:
    await container.upload_blob("cats/1/saved_model.pb", b"graph")
    await container.upload_blob("cats/1/variables/variables.index", b"")
    tree = await mirrors.mount("servables")
    assert files(tree) == {"cats/1/saved_model.pb": b"graph", "cats/1/variables/variables.index": b""}
    assert os.stat(tree / "cats/1/saved_model.pb").st_mode & 0o777 == 0o444  # noqa: PTH116  (the mode is the point)


async def test_new_changed_and_removed_blobs_follow(container: ContainerClient, mirrors: BlobMirrors) -> None:
    await container.upload_blob("a", b"1")
    await container.upload_blob("folder/b", b"1")
    tree = await mirrors.mount("servables")
    await container.upload_blob("a", b"two", overwrite=True)
    await container.upload_blob("c", b"3")
    await container.delete_blob("folder/b")
    await until(lambda: files(tree) == {"a": b"two", "c": b"3"})
    assert not (tree / "folder").exists()


async def test_a_file_that_is_replaced_is_never_seen_in_half(container: ContainerClient, mirrors: BlobMirrors) -> None:
    """Neither by who opens it meanwhile nor by who has it open: that one goes on reading the old one."""
    old, new = b"o" * 900_000, b"n" * 900_000
    await container.upload_blob("big", old)
    tree = await mirrors.mount("servables")
    seen: set[bytes] = set()
    with (tree / "big").open("rb") as held:
        await container.upload_blob("big", new, overwrite=True)
        async with asyncio.timeout(DEADLINE):
            while new not in seen:
                seen.add((tree / "big").read_bytes())
                await asyncio.sleep(0)
        assert held.read() == old
    assert seen <= {old, new}


async def test_a_mount_may_show_changes_late(container: ContainerClient, azurite: str, tmp_path: Path) -> None:
    """As blobfuse does, which keeps what it knows for as long as its cache is told to."""
    async with BlobMirrors(azurite, tmp_path, poll_seconds=600) as late:
        tree = await late.mount("servables")
        await container.upload_blob("a", b"1")
        assert files(tree) == {}
        late.unmount("servables")
        assert files(await late.mount("servables")) == {"a": b"1"}  # a new mount knows nothing yet


async def test_saved_model_comes_after_what_was_uploaded_before_it(
    container: ContainerClient, mirrors: BlobMirrors
) -> None:
    """Whoever sees saved_model.pb sees the variables, also where names sort the other way."""
    tree = await mirrors.mount("servables")
    seen_without_variables = False

    async def watch() -> None:
        nonlocal seen_without_variables
        while True:
            graph, variables = (tree / "m/1" / name for name in ("saved_model.pb", "variables/variables.index"))
            if graph.exists():
                seen_without_variables |= not variables.exists()
            await asyncio.sleep(0)

    watcher = asyncio.create_task(watch())
    await container.upload_blob("m/1/variables/variables.index", b"x" * 200_000)
    await container.upload_blob("m/1/saved_model.pb", b"graph")
    await until((tree / "m/1/saved_model.pb").exists)
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)
    assert not seen_without_variables


async def test_a_restart_fetches_only_what_changed(container: ContainerClient, azurite: str, tmp_path: Path) -> None:
    for name in ("same", "changed"):
        await container.upload_blob(name, b"1")
    async with BlobMirrors(azurite, tmp_path) as first:
        tree = await first.mount("servables")
    inode = (tree / "same").stat().st_ino
    await container.upload_blob("changed", b"2", overwrite=True)
    async with BlobMirrors(azurite, tmp_path) as second:
        assert files(await second.mount("servables")) == {"same": b"1", "changed": b"2"}
    assert (tree / "same").stat().st_ino == inode


async def test_names_that_are_no_paths_are_left_out(container: ContainerClient, mirrors: BlobMirrors) -> None:
    await container.upload_blob("good", b"1")
    await container.upload_blob("twice//slash", b"1")
    await container.upload_blob("both", b"1")
    await container.upload_blob("both/below", b"1")
    tree = await mirrors.mount("servables")
    assert set(files(tree)) in ({"good", "both"}, {"good", "both/below"})


async def test_directory_markers_are_no_files(container: ContainerClient, mirrors: BlobMirrors) -> None:
    """Accounts with a hierarchical namespace list a folder as an empty blob of its name."""
    await container.upload_blob("cats", b"", metadata={"hdi_isfolder": "true"})
    await container.upload_blob("cats/a", b"1")
    assert files(await mirrors.mount("servables")) == {"cats/a": b"1"}


async def test_a_container_that_does_not_exist_cannot_be_mounted(mirrors: BlobMirrors) -> None:
    with pytest.raises(MirrorError, match="servables does not exist"):
        await mirrors.mount("servables")


async def test_an_account_that_does_not_answer_cannot_be_mounted(tmp_path: Path) -> None:
    dead = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/a;"
    async with BlobMirrors(dead, tmp_path) as mirrors:
        with pytest.raises(MirrorError, match="cannot be read"):
            await mirrors.mount("servables")

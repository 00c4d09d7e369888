"""A scan says what an upload is and gives it an identity that content and options decide, and nothing else."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import pytest

from exporter import BadOptions, ExportOptions, ScanBounds, ScanRefused, scan

TESTDATA = Path(__file__).parents[4] / "shared" / "tf_serving_testdata"
HALF_PLUS_TWO = TESTDATA / "saved_model_half_plus_two_cpu" / "00000123"
CONFIG = b'{"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": []}}'
needs_testdata = pytest.mark.skipif(
    not TESTDATA.exists(), reason="TensorFlow Serving's test models are not beside this"
)


def empty_hdf5() -> bytes:
    content = io.BytesIO()
    h5py.File(content, "w").close()
    return content.getvalue()


@pytest.fixture
def keras_file(tmp_path: Path) -> Path:
    path = tmp_path / "digits.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", CONFIG)
        archive.writestr("metadata.json", b'{"keras_version": "3.15.1"}')
        archive.writestr("model.weights.h5", empty_hdf5())
    return path


def with_member(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, content)
    return path


def test_a_report_knows_version_size_and_content_digest(keras_file: Path) -> None:
    report = scan(keras_file, ExportOptions())
    reference = subprocess.run(["sha256sum", keras_file], capture_output=True, text=True, check=True, timeout=30)
    assert report.sha256 == reference.stdout.split()[0]
    assert (report.bytes, report.keras_version) == (keras_file.stat().st_size, "3.15.1")


def test_the_digest_is_the_same_in_another_process_and_under_another_name(keras_file: Path) -> None:
    renamed = keras_file.with_name("other.keras")
    renamed.write_bytes(keras_file.read_bytes())
    program = (
        "import sys; from pathlib import Path; from exporter import ExportOptions, scan; "
        "print(scan(Path(sys.argv[1]), ExportOptions(labels=('a', 'b'))).digest)"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", program, renamed], capture_output=True, text=True, check=True, timeout=60,
        env={"PYTHONHASHSEED": "4", "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert scan(keras_file, ExportOptions(labels=("a", "b"))).digest == elsewhere.stdout.strip()


@pytest.mark.parametrize(
    "options",
    [
        ExportOptions(),
        ExportOptions(labels=("b",)),
        ExportOptions(labels=("a",), top=3),
        ExportOptions(labels=("a",), logits=False),
        ExportOptions.model_validate({"labels": ("a",), "image": {"scaling": "tf"}}),
    ],
)
def test_every_option_that_affects_the_export_changes_the_digest(keras_file: Path, options: ExportOptions) -> None:
    assert scan(keras_file, options).digest != scan(keras_file, ExportOptions(labels=("a",))).digest


def test_labels_count_by_what_they_say_not_by_where_they_stand(keras_file: Path, tmp_path: Path) -> None:
    beside = tmp_path / "digits.labels.txt"
    beside.write_text("cat\ndog\n")
    assert (
        scan(keras_file, ExportOptions(), labels=beside).digest
        == scan(keras_file, ExportOptions(labels="names.txt"), labels=beside).digest
        == scan(keras_file, ExportOptions(labels=("cat", "dog"))).digest
    )


def test_one_changed_byte_changes_the_digest(keras_file: Path) -> None:
    before = scan(keras_file, ExportOptions()).digest
    assert scan(with_member(keras_file, "note", b"x"), ExportOptions()).digest != before


def test_labels_inside_the_model_are_found(keras_file: Path) -> None:
    found = scan(with_member(keras_file, "labels.txt", b"cat\ndog\n"), ExportOptions()).labels
    assert found is not None
    assert (found.names, found.found) == (("cat", "dog"), "labels.txt inside the model")


def test_labels_beside_the_model_come_before_those_inside(keras_file: Path, tmp_path: Path) -> None:
    beside = tmp_path / "digits.labels.txt"
    beside.write_text("lynx\n")
    found = scan(with_member(keras_file, "labels.txt", b"cat\ndog\n"), ExportOptions(), labels=beside).labels
    assert found is not None
    assert found.names == ("lynx",)


def test_a_label_file_that_the_options_name_is_read_from_inside(keras_file: Path) -> None:
    found = scan(with_member(keras_file, "names/en.txt", b"cat\n"), ExportOptions(labels="names/en.txt")).labels
    assert found is not None
    assert found.names == ("cat",)


@pytest.mark.parametrize("name", ["missing.txt", "../secret.txt", "/etc/passwd"])
def test_a_label_file_that_is_nowhere_is_said_to_be(keras_file: Path, name: str) -> None:
    with pytest.raises(BadOptions, match=name):
        scan(keras_file, ExportOptions(labels=name))


def test_a_configuration_beyond_the_bound_is_refused_unread(keras_file: Path) -> None:
    with pytest.raises(ScanRefused, match="larger than 10 bytes"):
        scan(keras_file, ExportOptions(), bounds=ScanBounds(config_bytes=10))


@needs_testdata
def test_a_directory_counts_by_relative_paths_and_bytes(tmp_path: Path) -> None:
    copies = [tmp_path / name for name in ("one", "two")]
    for copy in copies:
        for file in (file for file in HALF_PLUS_TWO.rglob("*") if file.is_file()):
            target = copy / file.relative_to(HALF_PLUS_TWO)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    digests = {scan(path, ExportOptions()).digest for path in [HALF_PLUS_TWO, *copies]}
    assert len(digests) == 1
    (copies[1] / "assets" / "foo.txt").rename(copies[1] / "assets" / "bar.txt")
    assert scan(copies[1], ExportOptions()).digest not in digests


@needs_testdata
def test_a_link_in_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes((HALF_PLUS_TWO / "saved_model.pb").read_bytes())
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "foo.txt").symlink_to("/etc/passwd")
    with pytest.raises(ScanRefused, match=r"assets/foo\.txt: is a link"):
        scan(tmp_path, ExportOptions())


@needs_testdata
@pytest.mark.parametrize("source", ["keras_file", "saved_model"])
@pytest.mark.parametrize(
    ("options", "named"), [({"logits": True}, "logits"), ({"image": {"height": 8}, "logits": True}, "image")]
)
def test_image_options_without_labels_are_refused_as_they_would_do_nothing(
    keras_file: Path, source: str, options: dict[str, object], named: str
) -> None:
    path = keras_file if source == "keras_file" else HALF_PLUS_TWO
    with pytest.raises(BadOptions, match=f"has no labels, and without them {named} does nothing") as refused:
        scan(path, ExportOptions.model_validate(options))
    assert refused.value.code == "option_without_effect"


@needs_testdata
def test_labels_of_a_saved_model_come_from_its_folder_too(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes((HALF_PLUS_TWO / "saved_model.pb").read_bytes())
    assert scan(tmp_path, ExportOptions()).labels is None
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    (tmp_path / "other.txt").write_text("one\ntwo\n")
    found = scan(tmp_path, ExportOptions())
    assert found.labels is not None
    assert found.labels.names == ("cat", "dog")
    named = scan(tmp_path, ExportOptions(labels="other.txt"))
    assert named.labels is not None
    assert named.labels.names == ("one", "two")
    assert named.digest != found.digest


def test_importing_and_scanning_imports_neither_tensorflow_nor_keras_nor_numpy(keras_file: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from exporter import ExportOptions, scan; "
        "scan(Path(sys.argv[1]), ExportOptions()); "
        "print({'tensorflow', 'keras', 'h5py', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, keras_file], capture_output=True, text=True, check=True, timeout=60,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.stdout.strip() == "set()"

"""The options file is read strictly: each key, its bounds, and errors that name the key and the file."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import UploadRefused
from deployer.options import ModelOptions, Replicas, parse_options
from exporter import Scaling


def parsed(text: str | None) -> ModelOptions:
    return parse_options(text, where="cats.yaml")


@pytest.mark.parametrize("text", [None, "", "# nothing yet\n", "{}"])
def test_no_options_are_the_defaults(text: str | None) -> None:
    options = parsed(text)
    assert (options.serve.gpus, options.serve.replicas, options.serve.rollout) == (1, Replicas(min=1, max=1), "auto")
    assert (options.export.labels, options.export.top, options.serve.idle.after) == (None, 5, None)


def test_every_key_is_read() -> None:
    options = parsed(
        """
        labels: [lynx, tiger]
        image: {height: 224, width: 192, scaling: tf}
        logits: false
        top: 3
        gpus: 0
        replicas: {min: 1, max: 4}
        rollout: replace
        idle: {after_minutes: 7.5}
        """
    )
    export, serve = options.export, options.serve
    assert export.labels == ("lynx", "tiger")
    assert export.image is not None
    assert (export.image.height, export.image.width, export.image.scaling) == (224, 192, Scaling.TF)
    assert (export.logits, export.top) == (False, 3)
    assert (serve.gpus, serve.replicas, serve.rollout) == (0, Replicas(min=1, max=4), "replace")
    assert serve.idle.after == timedelta(minutes=7, seconds=30)


def test_one_number_of_replicas_is_as_many_at_least_and_at_most() -> None:
    assert parsed("replicas: 3").serve.replicas == Replicas(min=3, max=3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colour: red", "unknown colour"),
        ("gpu: 1\nTop: 3", "unknown Top, gpu; known are"),
        ("1: 2", "unknown 1"),
        ("gpus: many", "gpus: "),
        ("gpus: -1", "gpus: "),
        ("gpus: 1.5", "gpus: "),
        ("top: 0", "top: "),
        ("logits: perhaps", "logits: "),
        ("image: {height: tall}", "image.height: "),
        ("image: {depth: 3}", "image.depth: "),
        ("image: {scaling: imagenet}", "image.scaling: "),
        ("labels: 5", "labels."),
        ("labels: []", "labels."),
        ("replicas: 0", "replicas.min: "),
        ("replicas: {min: 3, max: 2}", "max (2) is below min (3)"),
        ("replicas: {least: 3}", "replicas.least: "),
        ("rollout: slowly", "rollout: "),
        ("idle: {after_minutes: 0}", "idle.after_minutes: "),
        ("idle: {after_minutes: .inf}", "idle.after_minutes: "),
        ("idle: {after_minutes: 1e300}", "idle.after_minutes: "),
        ("idle: 30", "idle: "),
        ("- a\n- b", "holds a list where key: value pairs belong"),
        ("just words", "holds a str"),
        ("a: [", "not YAML"),
        ("a: 2001-99-99", "not YAML"),
        ("[" * 5000, "not YAML"),
        ("a: !!python/object/apply:os.system [id]", "not YAML"),
    ],
)
def test_what_is_wrong_is_refused_by_key_and_file(text: str, told: str) -> None:
    with pytest.raises(UploadRefused) as refused:
        parsed(text)
    assert refused.value.message.startswith("cats.yaml cannot be used: ")
    assert told in refused.value.message
    assert (refused.value.code, refused.value.stage) == ("bad_options", "options")


def test_all_wrong_keys_are_named_at_once() -> None:
    with pytest.raises(UploadRefused, match=r"logits: .*; top: "):
        parsed("top: 0\nlogits: 7")


@given(
    st.text(max_size=40)
    | st.text(alphabet="abc:[]{}!&*-?|>%@`'\"#, \n0123456789", max_size=40)
    | st.sampled_from(["int", "float", "timestamp", "bool", "null", "binary", "set", "omap"]).map(
        lambda t: f"a: !!{t} x"
    )
)
def test_any_text_is_options_or_refused(text: str) -> None:
    try:
        options = parsed(text)
    except UploadRefused:
        return
    assert isinstance(options, ModelOptions)


@given(st.floats(min_value=1e-6, max_value=525_600))
def test_any_idle_time_that_is_taken_is_a_duration(minutes: float) -> None:
    after = parsed(f"idle: {{after_minutes: {minutes!r}}}").serve.idle.after
    assert after is not None and after > timedelta(0)

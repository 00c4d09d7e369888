"""Flags, configuration files and mounts."""

from pathlib import Path

import pytest
import yaml

from localcloud.tf_serving import config, flags
from localcloud.tf_serving.errors import ServingError, StartError
from localcloud.tf_serving.paths import Mounts
from localcloud.tf_serving.server import bind_address
from localcloud.tf_serving.versions import All, Latest, Specific

# What a deployment may pass: the facts' list of flags worth setting, and the entry point's own.
DEPLOYED = [
    "--port=8500", "--rest_api_port=8501", "--model_name=cats", "--model_base_path=/models/cats",
    "--model_config_file=/config/models.config", "--model_config_file_poll_wait_seconds=0",
    "--enable_batching=true", "--batching_parameters_file=/config/batching.config",
    "--monitoring_config_file=/config/monitoring.config", "--tensorflow_intra_op_parallelism=4",
    "--tensorflow_inter_op_parallelism=4", "--tensorflow_session_parallelism=0", "--rest_api_num_threads=16",
    "--rest_api_timeout_in_ms=30000", "--num_load_threads=1", "--num_unload_threads=1",
    "--file_system_poll_wait_seconds=0", "--load_retry_interval_micros=1000000", "--max_num_load_retries=2",
    "--enable_model_warmup=true", "--enable_grpc_healthcheck_service=true", "--per_process_gpu_memory_fraction=0.9",
    "--flush_filesystem_caches=false", "--allow_version_labels_for_unavailable_models=true",
    "--rest_api_enable_cors_support", "--grpc_channel_arguments=grpc.max_connection_age_ms=2000",
    "--xla_gpu_compilation_enabled=false", "--saved_model_tags=serve",
]  # fmt: skip


def test_every_flag_of_a_deployment_is_accepted() -> None:
    options = flags.parse(DEPLOYED)
    assert options.rest_api_port == 8501
    assert options.per_process_gpu_memory_fraction == 0.9
    assert options.flush_filesystem_caches is False
    assert options.rest_api_enable_cors_support is True
    assert options.grpc_channel_arguments == "grpc.max_connection_age_ms=2000"


def test_the_products_own_template_is_accepted_as_it_is() -> None:
    template = Path(__file__).parents[3] / "k8s_templates" / "version.yaml"
    manifests = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(template.read_text())}
    container = manifests["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    options = flags.parse(container["args"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {"grpc": options.port, "http": options.rest_api_port} == ports
    files = {f"/config/{name}": text for name, text in manifests["ConfigMap"]["data"].items()}
    (model,) = config.parse_models(files[options.model_config_file], source=options.model_config_file)
    assert (model.name, model.base_path, model.policy) == ("example", "/models/example", Specific(frozenset({1})))
    page = config.parse_prometheus_path(files[options.monitoring_config_file], source=options.monitoring_config_file)
    annotations = manifests["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert page == annotations["prometheus.io/path"]


def test_defaults_are_those_of_the_real_server() -> None:
    options = flags.parse(["--model_base_path=/m"])
    assert (options.port, options.rest_api_port, options.model_name) == (8500, 0, "default")
    assert (options.max_num_load_retries, options.load_retry_interval_micros) == (5, 60_000_000)
    assert (options.file_system_poll_wait_seconds, options.rest_api_timeout_in_ms) == (1, 30_000)


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("--no_such_flag=1", "unknown argument: --no_such_flag=1"),
        ("model", "unknown argument: model"),
        ("--port=eighty", "Couldn't interpret value eighty for flag port."),
        ("--port=4294967296", "Couldn't interpret value 4294967296 for flag port."),
        ("--enable_batching=maybe", "Couldn't interpret value maybe for flag enable_batching."),
        ("--model_name", "Flag model_name needs a value: --model_name=VALUE."),
        ("--rest_api_port=8500", "--rest_api_port cannot be same as --port."),
    ],
)
def test_a_wrong_argument_is_named(argument: str, reason: str) -> None:
    with pytest.raises(flags.UsageError) as caught:
        flags.parse(["--model_base_path=/m", argument])
    assert str(caught.value).startswith(reason)


def test_a_server_without_a_model_is_refused() -> None:
    with pytest.raises(flags.UsageError, match="nothing to serve"):
        flags.parse(["--rest_api_port=8501"])


def test_models_have_policies_and_labels() -> None:
    text = """
    model_config_list {
      config { name: "a" base_path: "/models/a" model_platform: "tensorflow" }
      config { name: "b" base_path: "/models/b" model_platform: "tensorflow"
               model_version_policy { specific { versions: 3 versions: 4 } }
               version_labels { key: "stable" value: 3 } version_labels { key: "canary" value: 4 } }
      config: { name: "c", base_path: "/models/c", model_platform: "tensorflow", model_version_policy: { all: {} } },
      config { name: "d" base_path: "/models/d" model_platform: "tensorflow"
               model_version_policy { latest { num_versions: 2 } }
               logging_config { sampling_config { sampling_rate: 0.5 } } }
    }"""
    a, b, c, d = config.parse_models(text, source="models.config")
    assert (a.name, a.base_path, a.policy, a.labels) == ("a", "/models/a", Latest(1), {})
    assert b.policy == Specific(frozenset({3, 4}))
    assert b.labels == {"stable": 3, "canary": 4}
    assert (c.policy, d.policy) == (All(), Latest(2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("improperly formatted file", "Invalid protobuf file: 'models.config'"),
        ("model_config_list { config { nmae: 'x' } }", "Invalid protobuf file: 'models.config'"),
        ('model_config_list { config { name: "x" base_path: "/x" } }', "Illegal setting neither"),
        (
            'model_config_list { config { name: "x" base_path: "/x" model_platform: "caffe" } }',
            "Model x requests unsupported platform caffe",
        ),
        (
            'model_config_list { config { name: "x" model_platform: "tensorflow" } '
            'config { name: "x" model_platform: "tensorflow" } }',
            "Illegal to list model x multiple times in config list",
        ),
    ],
)
def test_a_configuration_that_cannot_be_used_says_why(text: str, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        config.parse_models(text, source="models.config")
    assert caught.value.message.startswith(message)


def test_batching_parameters_are_checked() -> None:
    config.check_batching("max_batch_size { value: 8 } allowed_batch_sizes: [2, 8]", source="b")
    for text in ("max_batch_size { value: 8 } allowed_batch_sizes: [8, 2]", "allowed_batch_sizes: [4]", "max_batch: 3"):
        with pytest.raises(ServingError):
            config.check_batching(text, source="b")


def test_the_prometheus_page_is_off_unless_enabled() -> None:
    assert config.parse_prometheus_path("", source="m") is None
    assert config.parse_prometheus_path('prometheus_config { path: "/x" }', source="m") is None
    assert config.parse_prometheus_path("prometheus_config { enable: true }", source="m") == (
        "/monitoring/prometheus/metrics"
    )


def test_mounts_map_the_longest_prefix_and_back() -> None:
    mounts = Mounts.parse('{"/models": "/host/m", "/models/special": "/host/s"}')
    assert mounts.host("/models/a/1") == Path("/host/m/a/1")
    assert mounts.host("/models/special/1") == Path("/host/s/1")
    assert mounts.host("/models") == Path("/host/m")
    assert mounts.host("/models2/x") == Path("/models2/x")
    assert mounts.container("cannot read /host/s/1") == "cannot read /models/special/1"
    assert Mounts.parse("").host("/x") == Path("/x")


@pytest.mark.parametrize("text", ["[]", '{"models": "/host"}', '{"/models": "host"}', '{"/models": 1}', "{"])
def test_mounts_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"LOCALCLOUD_MOUNTS|Expecting property name"):
        Mounts.parse(text)


def test_only_loopback_is_listened_on() -> None:
    assert bind_address({}) == "127.0.0.1"
    assert bind_address({"LOCALCLOUD_BIND_ADDRESS": "127.9.8.7"}) == "127.9.8.7"
    for address in ("0.0.0.0", "192.0.2.1", "localhost", ""):  # noqa: S104  (what must be refused)
        with pytest.raises(StartError, match="no loopback address"):
            bind_address({"LOCALCLOUD_BIND_ADDRESS": address})

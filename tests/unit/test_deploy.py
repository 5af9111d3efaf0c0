"""Dockerfile, compose and Kubernetes files: valid, hardened, and true to the service that they run."""

import contextlib
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from server.metrics import Metrics
from server.settings import Settings
from trades_bob import app

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parent.parent.parent
KUBERNETES = ROOT / "docker" / "kubernetes"
MANIFESTS = sorted(path for path in KUBERNETES.glob("*.yaml") if path.name != "kustomization.yaml")
DOCKERFILES = ["Dockerfile", "tests/container/submission.Dockerfile"]


def manifest(name):
    return yaml.safe_load((KUBERNETES / f"{name}.yaml").read_text())


def pod_of(name):
    return manifest(name)["spec"]["template"]["spec"]


def flags_of(command):
    return {flag for parameter in get_command(app).commands[command].params for flag in parameter.opts}


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_hadolint_finds_nothing(dockerfile):
    hadolint = Path(sys.executable).parent / "hadolint"
    run = subprocess.run([hadolint, ROOT / dockerfile], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


def test_the_dockerfile_names_the_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"ARG VERSION={project['version']}\n" in (ROOT / "Dockerfile").read_text()


def test_the_dockerfile_goes_to_no_registry_but_the_base_images():
    text = (ROOT / "Dockerfile").read_text()
    assert "syntax=" not in text
    images = {line.split()[1] for line in text.splitlines() if line.startswith("FROM ")}
    assert images == {"${BASE}", "scratch"}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifests_keep_to_the_strict_schema(path):
    kubernetes_validate.validate(yaml.safe_load(path.read_text()), "1.32", strict=True)


def test_the_schema_check_notices_a_typo():
    broken = manifest("deployment")
    broken["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.32", strict=True)


def test_kustomize_applies_every_manifest_but_the_job():
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == [path.name for path in MANIFESTS if path.name != "attack-job.yaml"]


@pytest.mark.parametrize("name", ["deployment", "attack-job"])
def test_pods_are_hardened(name):
    pod = pod_of(name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]


def test_the_deployment_has_a_gpu_and_probes_of_the_service():
    (container,) = pod_of("deployment")["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["ports"][0]["containerPort"] == Settings.model_fields["port"].default
    assert container["startupProbe"]["httpGet"]["path"] == container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_a_pod_has_time_to_drain():
    pod = pod_of("deployment")
    before_s = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > before_s + Settings.model_fields["drain_timeout_s"].default


def test_selectors_find_the_deployments_pods():
    labels = manifest("deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifest("deployment")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("service")["spec"]["selector"] == labels
    assert manifest("disruption-budget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("network-policy")["spec"]["podSelector"]["matchLabels"] == labels
    assert manifest("autoscaler")["spec"]["scaleTargetRef"]["name"] == manifest("deployment")["metadata"]["name"]
    assert pod_of("attack-job").get("labels") != labels


def test_the_autoscaler_follows_a_metric_that_the_service_exports():
    (metric,) = manifest("autoscaler")["spec"]["metrics"]
    assert f"# TYPE {metric['pods']['metric']['name']} gauge" in Metrics().text().decode()
    assert int(metric["pods"]["target"]["averageValue"]) < Settings.model_fields["max_queue"].default
    assert metric["pods"]["metric"]["name"] in (ROOT / "docs" / "deploy.md").read_text()


def test_the_jobs_command_is_one_that_the_harness_knows():
    (container,) = pod_of("attack-job")["containers"]
    program, command, *options = container["command"]
    assert (program, command) == ("trades-bob", "attack")
    assert {option.partition("=")[0] for option in options} <= flags_of("attack")
    assert f"--endpoint=http://{manifest('service')['metadata']['name']}" in options
    assert {"/images", "/report"} <= {mount["mountPath"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("name", ["service", "attack"])
def test_compose_services_are_hardened(name):
    service = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"]
    assert service["mem_limit"]


def test_compose_passes_every_setting_but_what_the_image_fixes():
    """Name by name, since compose has no pattern: a new setting must be added there."""
    service = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]["service"]
    settings = {f"TRADES_BOB_{name.upper()}" for name in Settings.model_fields}
    assert set(service["environment"]) == settings - {"TRADES_BOB_HOST", "TRADES_BOB_PORT", "TRADES_BOB_BUNDLE"}
    valued = {name for name, value in service["environment"].items() if value is not None}
    assert valued == {"TRADES_BOB_API_KEYS_FILE"}, "the others keep their value outside"


def test_composes_attack_is_one_that_the_harness_knows():
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    program, command, *options = services["attack"]["command"]
    assert (program, command) == ("trades-bob", "attack")
    assert {option.partition("=")[0] for option in options} <= flags_of("attack")
    (gpu,) = services["service"]["deploy"]["resources"]["reservations"]["devices"]
    assert gpu == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_the_guide_explains_every_build_argument():
    guide = (ROOT / "docs" / "deploy.md").read_text()
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    arguments = {line.split()[1].partition("=")[0] for line in lines if line.startswith("ARG ")}
    assert {argument for argument in arguments if f"`{argument}" not in guide} == set()


@pytest.mark.parametrize(("torch_build", "ending"), [("cpu", "+cpu"), ("", "")])
def test_the_build_of_torch_can_be_demanded(tmp_path, torch_build, ending):
    script = ROOT / "docker" / "requirements.py"
    subprocess.run([sys.executable, script, torch_build, tmp_path / "out"], cwd=ROOT, check=True)
    tested = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    assert f"{tested}{ending}" in (tmp_path / "out" / "constraints.txt").read_text().splitlines()
    assert any(line.startswith("torch>=") for line in (tmp_path / "out" / "requirements.txt").read_text().splitlines())


@pytest.mark.parametrize("metadata", ["{", "[]", "{}", "\xff"])
def test_a_broken_bundle_json_stops_the_build_in_one_line(tmp_path, metadata):
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "bundle.json").write_text(metadata, encoding="latin-1")
    command = [sys.executable, ROOT / "docker" / "check_bundle.py", tmp_path, ""]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("trades-bob image: ")
    assert run.stderr.count("\n") == 1


def test_an_empty_port_is_as_good_as_none_for_the_health_check(monkeypatch):
    asked = []
    check = runpy.run_path(str(ROOT / "docker" / "healthcheck.py"))
    monkeypatch.setattr(check["_direct"], "open", lambda url, **_: asked.append(url) or contextlib.nullcontext())
    monkeypatch.setenv("TRADES_BOB_PORT", "")
    assert check["reason"]() is None
    assert asked == ["http://127.0.0.1:8000/readyz"]

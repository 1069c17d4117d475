"""Dockerfile and compose.yaml as text: what they name is there, and nothing runs as root."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from typer.main import get_command

from kogemma_rag.cli import app

ROOT = Path(__file__).parents[1]
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
    "hadolint"
)


class Stage(NamedTuple):
    """A stage of the Dockerfile: its name, what it begins from, its instructions."""

    name: str
    base: str
    instructions: list[tuple[str, str]]


def _stages() -> list[Stage]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    stages: list[Stage] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, value = line.partition(" ")
        if name == "FROM":
            base, stage = re.fullmatch(r"(\S+) AS (\S+)", value).groups()  # type: ignore[union-attr]
            stages.append(Stage(stage, base, []))
        else:
            stages[-1].instructions.append((name, value.strip()))
    return stages


STAGES = {stage.name: stage for stage in _stages()}


def _whole(stage: Stage) -> list[tuple[str, str]]:
    """The instructions of a stage after those of the stages that it begins from."""
    before = _whole(STAGES[stage.base]) if stage.base in STAGES else []
    return before + stage.instructions


def _last(stage: Stage, instruction: str) -> str:
    return [value for name, value in _whole(stage) if name == instruction][-1]


def _options(arguments: list[str]) -> dict[str, Any]:
    """What the command line makes of arguments; wrong usage is an error."""
    command = get_command(app).commands[arguments[0]]  # type: ignore[attr-defined]
    return dict(command.make_context(arguments[0], arguments[1:], resilient_parsing=False).params)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_targets_run_the_server_and_not_as_root(target: str) -> None:
    stage = STAGES[target]
    assert int(_last(stage, "USER")) > 0
    assert json.loads(_last(stage, "ENTRYPOINT")) == ["kogemma-rag"]
    options = _options(json.loads(_last(stage, "CMD")))
    assert (options["location"], options["host"], options["port"]) == (
        "/data/index",
        "0.0.0.0",  # noqa: S104 - within the container
        int(_last(stage, "EXPOSE")),
    )
    assert "/health" in _last(stage, "HEALTHCHECK")
    copied = [value for name, value in stage.instructions if name == "COPY"]
    assert copied == [f"--from={target}-packages /opt/kogemma-rag /opt/kogemma-rag"]


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_extras_are_those_of_the_package(target: str) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    known = re.findall(r"^(\w+) = \[", project.partition("optional-dependencies]")[2], re.M)
    installs = _last(STAGES[f"{target}-packages"], "RUN")
    [extras] = re.findall(r"'\.\[(.+?)\]'", installs)
    assert set(extras.split(",")) == {target, "serve", "pgvector"}
    assert set(extras.split(",")) <= set(known)
    assert "-c constraints.txt" in installs


def test_default_target_needs_no_gpu() -> None:
    assert list(STAGES)[-1] == "cpu"


def test_images_have_versions_and_nothing_is_fetched_unseen() -> None:
    bases = {stage.base for stage in STAGES.values()} - STAGES.keys()
    assert bases == {"python:3.12-slim-bookworm"}
    used = [(name, value) for stage in STAGES.values() for name, value in stage.instructions]
    assert not [value for name, value in used if name in ("ADD", "ARG")]
    assert not [value for _, value in used if re.search(r"curl|wget|sudo|TOKEN=|PASSWORD=", value)]


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    copied = [
        source
        for name, value in STAGES["source"].instructions
        if name == "COPY"
        for source in shlex.split(value)[:-1]
    ]
    assert "kogemma_rag" in copied
    assert {f"!{source}" for source in copied} == {rule for rule in rules if rule[0] == "!"}
    assert all((ROOT / source).exists() for source in copied)
    assert not [source for source in copied if fnmatch(source, "**/__pycache__")]


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing() -> None:
    assert HADOLINT is not None
    found = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8")))


def test_compose_services(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"server", "server-gpu", "database"}
    assert [services[name]["build"]["target"] for name in ("server", "server-gpu")] == [
        "cpu",
        "gpu",
    ]
    assert [services[name]["profiles"] for name in ("server", "server-gpu")] == [["cpu"], ["gpu"]]
    assert re.fullmatch(r"pgvector/pgvector:\d+\.\d+\.\d+-pg\d+", services["database"]["image"])
    volumes = {
        volume.partition(":")[0] for one in services.values() for volume in one.get("volumes", [])
    }
    assert {volume for volume in volumes if not volume.startswith(".")} == set(compose["volumes"])


@pytest.mark.parametrize("name", ["server", "server-gpu"])
def test_compose_server_is_closed_to_others(compose: dict[str, Any], name: str) -> None:
    server = compose["services"][name]
    options = _options([part.replace("=/documents", f"={ROOT}") for part in server["command"]])
    address = "postgresql://kogemma@database:5432/kogemma"
    assert (options["location"], options["watch"]) == (address, True)
    assert "--documents=/documents" in server["command"]
    assert options["data"].is_relative_to("/data")
    assert "data:/data" in server["volumes"]
    assert server["ports"] == ["127.0.0.1:8000:8000"]
    assert (server["read_only"], server["cap_drop"]) == (True, ["ALL"])
    assert int(server["stop_grace_period"].removesuffix("s")) > 30
    assert "./documents:/documents:ro" in server["volumes"]


def test_compose_asks_for_its_secrets(compose: dict[str, Any]) -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    secrets = re.findall(r"(\w*(?:TOKEN|PASSWORD)): (.+)", text)
    assert len(secrets) == 3
    assert all(re.match(r"\$\{\w+:\?", value) for _, value in secrets)
    assert "ports" not in compose["services"]["database"]

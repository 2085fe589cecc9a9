"""What cannot be run everywhere is at least looked at: the files under deploy/."""

import configparser
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def service() -> dict[str, Any]:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert list(compose["services"]) == ["tracemill"]
    assert set(compose["volumes"]) == {"data"}
    found: dict[str, Any] = compose["services"]["tracemill"]
    return found


def test_compose_publishes_the_data_port_on_loopback_alone(service: dict[str, Any]) -> None:
    assert service["ports"] == ["127.0.0.1:8080:8080"]


def test_compose_leaves_the_admin_side_on_the_containers_loopback(service: dict[str, Any]) -> None:
    assert set(service["environment"]) == {"TRACEMILL_UPSTREAM"}
    assert not {"command", "entrypoint", "network_mode"} & set(service)
    assert "--admin-host" not in (DEPLOY / "Dockerfile").read_text()


def test_compose_gives_the_container_no_rights_it_does_not_need(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["volumes"] == ["data:/data"]
    assert not {"privileged", "cap_add", "devices", "user"} & set(service)


def test_compose_waits_longer_than_a_drain_takes(service: dict[str, Any]) -> None:
    assert int(service["stop_grace_period"].removesuffix("s")) > 20


def test_the_image_runs_as_nobody_in_particular_and_says_how_it_is() -> None:
    instructions = [
        line.split(maxsplit=1) for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line[:1].isupper()
    ]
    names = [name for name, _ in instructions]
    assert names.count("FROM") == 2
    last_user = [rest for name, rest in instructions if name == "USER"][-1]
    assert last_user == "10001:10001"
    assert {"HEALTHCHECK", "VOLUME", "STOPSIGNAL"} <= set(names)
    assert ["ENTRYPOINT", '["tracemill"]'] in instructions


def test_the_unit_keeps_its_files_private_and_outlives_a_drain() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "tracemill.service")
    service = unit["Service"]
    assert service["UMask"] == "0077"
    assert service["StateDirectoryMode"] == "0700"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["DynamicUser"] == "yes"
    assert service["CapabilityBoundingSet"] == ""
    assert int(service["TimeoutStopSec"]) > 20

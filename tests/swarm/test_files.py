"""What the stage files promise by themselves, as Docker reads them."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from tests.docker import docker, run
from tests.owners import STAGES

DRAIN_AND_GRACEFUL_SECONDS = 5 + 20  # of the image


def services(stage: str) -> dict[str, str]:
    """Each service of a stage as `docker stack config` prints it."""
    text = docker("stack", "config", "-c", f"swarm/{stage}.yaml").partition("\nservices:\n")[2]
    text = re.split(r"^\w", text, maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(r"^  ([\w-]+):\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize(("before", "after"), list(pairwise(STAGES)))
def test_a_step_starts_nothing_anew_but_the_kit(before: str, after: str) -> None:
    earlier, later = services(before), services(after)
    assert {name for name in earlier.keys() & later.keys() if earlier[name] != later[name]} == {"kit"}
    assert earlier["kit"].replace(before, after) == later["kit"]


@pytest.mark.parametrize("stage", STAGES)
def test_who_serves_has_time_to_drain(stage: str) -> None:
    found = services(stage)
    for name in found.keys() & {"entrance", "monolith", "users", "topics", "messages", "web"}:
        grace = re.search(r"stop_grace_period: (\d+)s", found[name])
        assert grace, name
        assert int(grace[1]) > DRAIN_AND_GRACEFUL_SECONDS, name


@pytest.mark.parametrize("stage", STAGES)
def test_only_the_doors_are_published_and_databases_are_apart(stage: str) -> None:
    found = services(stage)
    assert {name for name, text in found.items() if "ports:" in text} <= {"gateway", "entrance"}
    for name, text in found.items():
        networks = set(re.findall(r"^      ([\w-]+): null", text.partition("    networks:\n")[2], re.MULTILINE))
        if name.endswith("-db"):
            assert networks == {name, "replication"}, name
        else:
            assert {network for network in networks if network.endswith("-db")} <= {f"{_site(name)}-db"}, name
            assert "replication" not in networks or name == "kit", name


def _site(name: str) -> str:
    return "monolith" if name == "entrance" else name.partition("-")[0]


def test_secrets_sh_says_what_is_wrong() -> None:
    done = run("swarm/secrets.sh", "nonsense-v1")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1

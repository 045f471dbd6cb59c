"""What the load's people do, by name, and how often: `--mix NAME=FACTOR`, times as often as usual."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from loadtest.errors import LoadtestError

READ = ("browse", "come_back", "read_the_old")
WRITE = ("post", "reply", "open_topic", "edit_message", "delete_message", "edit_topic", "delete_topic", "trespass")
ACCOUNT = ("edit_profile", "renew", "log_in_again", "start_anew", "take_a_name")
GROUPS = {"read": READ, "write": WRITE, "account": ACCOUNT}
NAMES = (*GROUPS, *READ, *WRITE, *ACCOUNT)
MOST = 100.0
# Locust's weights are whole numbers: a tenth of the rarest step can still be asked for.
_FINE = 10


def parse(words: Iterable[str]) -> dict[str, float]:
    """`post=2`, `write=0.5`, ...; LoadtestError says what else there is."""
    factors: dict[str, float] = {}
    for word in words:
        name, _, factor = word.partition("=")
        if name not in NAMES:
            raise LoadtestError(f"--mix {word}: no step is called {name!r}; there are {', '.join(NAMES)}")
        try:
            factors[name] = float(factor)
            right = 0 <= factors[name] <= MOST
        except ValueError:
            right = False
        if not right:
            raise LoadtestError(f"--mix {word}: expected {name}=FACTOR from 0 to {MOST:.0f}, such as {name}=2")
    if not any(_factor(name, factors) for name in (*READ, *WRITE)):
        raise LoadtestError("--mix: nothing is left to do; leave read or write above 0")
    return factors


def _factor(task: str, factors: Mapping[str, float]) -> float:
    group = next(group for group, tasks in GROUPS.items() if task in tasks)
    return factors.get(group, 1.0) * factors.get(task, 1.0)


def mixed(tasks: Iterable[Any], factors: Mapping[str, float]) -> list[Any]:
    """Locust's list of tasks, each as often as it weighs, weighed anew."""
    weighed = [
        task
        for task, weight in Counter(tasks).items()
        for _ in range(round(weight * _FINE * _factor(task.__name__, factors)))
    ]
    if not weighed:
        raise LoadtestError("--mix: nothing is left to do for some of the users; leave read above 0")
    return weighed

"""Clients of the library that change works and look at once whether everybody shows the change."""

from __future__ import annotations

import random
from typing import Any

import requests

from tests.crowd import Crowd
from tests.foreign.conftest import Town
from tests.servers import wait_for


class Readers(Crowd):
    """Each has a work of its own, so it knows exactly what the library must show of it. They never ask twice."""

    def __init__(self, town: Town, number: int = 6) -> None:
        super().__init__(number)
        self._town = town
        self.complaints: list[str] = []
        self.works: dict[str, tuple[list[str], int]] = {}
        """Of each work the titles that it had, in order, and the number of its copies."""

    def wait_for(self, number: int) -> None:
        """Until so many more changes have been acknowledged, or somebody complains."""
        goal = self._changes() + number
        wait_for(lambda: self.complaints or self._changes() >= goal, f"{goal} changes", seconds=60)

    def _changes(self) -> int:
        return sum(len(titles) + copies for titles, copies in list(self.works.values()))

    def _work(self, number: int) -> None:
        try:
            title = f"reader {number}, 0"
            work = self._ask("POST", "/api/works", json={"title": title})["id"]
            titles, copies = [title], 0
            while not self._stop.is_set():
                self.works[work] = (titles, copies)
                if random.random() < 0.5:
                    title = f"reader {number}, {len(titles)}"
                    self._ask("PATCH", f"/api/works/{work}", json={"title": title, "details": {"n": len(titles)}})
                    titles = [*titles, title]
                else:
                    given = self._ask("POST", f"/api/works/{work}/copies", json={"shelf": "A"})["number"]
                    copies += 1
                    assert given == copies, f"copy {given} after {copies - 1}"
                seen = self._ask("GET", f"/api/works/{work}")
                assert (seen["title"], len(seen["copies"])) == (title, copies), f"stale: {seen}, not {title}, {copies}"
            self.works[work] = (titles, copies)
        except (AssertionError, requests.RequestException) as error:
            self.complaints.append(repr(error))

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        site = random.choice(list(self._town.url))
        answer = requests.request(method, self._town.url[site] + path, timeout=30, **options)
        assert answer.ok, f"{method} {path} at {site}: {answer.status_code} {answer.text}"
        return answer.json()

    def check(self, owner: str) -> None:
        """Nothing failed or was stale, and `owner` has every change once: the trigger noted each former title."""
        assert not self.complaints, self.complaints[0]
        for work, (titles, copies) in self.works.items():
            history = self._town.run(owner, 'SELECT title FROM "WorkHistory" WHERE work_id = %s ORDER BY id', [work])
            now = self._town.run(owner, "SELECT title FROM works WHERE id = %s", [work])
            assert [title for (title,) in history + now] == titles
            numbers = self._town.run(owner, "SELECT number FROM copies WHERE work_id = %s ORDER BY 1", [work])
            assert [n for (n,) in numbers] == list(range(1, copies + 1))

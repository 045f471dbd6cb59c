"""The worker as a process: it comes, it goes, and it says in a line what it lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from redis import Redis

from forum.events import Worker, drained
from tests.servers import RedisServer, wait_for
from tests.services.conftest import Place

ROOT = Path(__file__).parents[2]
HANDLED = "SELECT count(*) FROM topics_inbox"


def environment(place: Place, redis_server: RedisServer) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": place.url, "REDIS_URL": redis_server.url, "FORUM_API_URL": "http://127.0.0.1:9",
        "STRANGLER_SECRET": "a secret that only tests know", "STRANGLER_CONFIG": str(ROOT / "strangler.toml"),
    }  # fmt: skip


def test_a_killed_workers_work_is_done_by_the_next(
    place: Callable[[str], Place], redis: Redis, redis_server: RedisServer, tmp_path: Path
) -> None:
    topics = place("topics")
    posted = 300
    command = [sys.executable, "-m", "services.topics.worker"]
    with (tmp_path / "log").open("wb") as log:
        for number in range(posted):
            topics.emit("user.updated", user_id=number)
        first = subprocess.Popen(command, env=environment(topics, redis_server), cwd=ROOT, stderr=log)
        wait_for(lambda: topics.value(HANDLED) > 0, "the first to begin")
        first.kill()  # wherever it stands
        first.wait(10)
        topics.emit("user.updated", user_id=posted)
        second = subprocess.Popen(command, env=environment(topics, redis_server), cwd=ROOT, stderr=log)
        wait_for(lambda: topics.value(HANDLED) == posted + 1, "the second to do the rest")
        second.terminate()
        assert second.wait(15) == 0, (tmp_path / "log").read_text()
    consumers = [each["name"] for each in redis.xinfo_consumers("forum:events", "topics")]
    assert not any(f"/{second.pid}/" in name for name in consumers), "it did not sign off"


def test_a_worker_that_goes_leaves_nothing_unpublished(place: Callable[[str], Place], redis: Redis) -> None:
    topics = place("topics")
    worker = Worker("topics", engine=topics.engine, redis=redis, config=topics.config, handlers={})
    for number in range(500):  # more than one batch
        topics.emit("user.updated", user_id=number)
    worker.stop()  # before it could begin
    worker.run()
    assert drained(topics.engine)


def test_drained_says_whether_a_monolith_may_go(
    place: Callable[[str], Place], redis: Redis, redis_server: RedisServer
) -> None:
    monolith = place("monolith")

    def ask(**changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "monolith.worker", "--drained"], cwd=ROOT, capture_output=True, text=True,
            env={**environment(monolith, redis_server), **changes},
        )  # fmt: skip

    redis.ping()
    assert ask().returncode == 0
    monolith.emit("user.updated", user_id=1)
    assert not drained(monolith.engine)
    assert ask().returncode == 1
    unreachable = ask(DATABASE_URL="postgresql://forum:x@127.0.0.1:9/nowhere")
    assert unreachable.returncode == 2
    assert unreachable.stderr.count("\n") == 1, unreachable.stderr


def test_a_worker_without_its_settings_names_them_in_one_line() -> None:
    bare = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    done = subprocess.run(
        [sys.executable, "-m", "services.users.worker"], cwd=ROOT, env=bare, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1, done.stderr
    assert "DATABASE_URL" in done.stderr

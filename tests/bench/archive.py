"""Import: how long 50,000 mails take from an mbox file into an empty forum, and the memory of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from forum.migrations import upgrade
from local.postgres import Cluster
from monolith.migrate import SCRIPTS
from tests.archive import lists
from tests.bench.result import Options, Result
from tests.servers import new_database, running_cluster

MAILS, SMALL = 50_000, 5_000
SECONDS_BOUND = 60.0
MEMORY_BOUND = 1.2

_RUN = """
import json, resource, sys
from pathlib import Path
from forum.archive import load
done = load.load(sys.argv[1], [Path(sys.argv[2])])
used = resource.getrusage(resource.RUSAGE_SELF)
figures = {"memory": used.ru_maxrss * 1024, "cpu_seconds": used.ru_utime + used.ru_stime}
print(json.dumps({"seconds": done.seconds, "messages": done.messages, **figures}))
"""


def measure(options: Options) -> list[Result]:
    with running_cluster(fsync="on") as cluster, tempfile.TemporaryDirectory() as folder:
        small, large = (_import(cluster, Path(folder), number, options) for number in (SMALL, MAILS))
    assert large["messages"] == MAILS, large
    seconds, grown = large["seconds"], large["memory"] / small["memory"]
    return [
        Result(
            f"forum import mbox: {MAILS:,} mails ({large['megabytes']:.0f} MB)",
            f"{seconds:.0f} s ({MAILS / seconds:,.0f} mails/s; {large['cpu_seconds']:.0f} s of CPU of its own)",
            f"at most {SECONDS_BOUND:.0f} s", seconds <= SECONDS_BOUND, large,
        ),
        Result(
            f"forum import mbox: memory, {MAILS:,} mails against {SMALL:,}",
            f"{grown:.2f} times ({small['memory'] / 1e6:.0f} -> {large['memory'] / 1e6:.0f} MB at the peak)",
            f"at most {MEMORY_BOUND} times", grown <= MEMORY_BOUND, {"small": small, "large": large},
        ),
    ]  # fmt: skip


def _import(cluster: Cluster, folder: Path, number: int, options: Options) -> dict[str, float]:
    options.say(f"{number:,} mails")
    path = lists.write(folder / "list.mbox", number)
    url = new_database(cluster)
    upgrade(url, SCRIPTS)
    words = [sys.executable, "-c", _RUN, url, str(path)]
    done = subprocess.run(words, env=os.environ, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found | {"megabytes": path.stat().st_size / 1e6}

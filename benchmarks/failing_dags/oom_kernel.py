"""A task in a memory cgroup of its own, which the kernel kills there, as in a container."""

import os
from contextlib import suppress
from pathlib import Path

from airflow.sdk import DAG, task

LIMIT = 500 << 20


def enter():
    """Move this process into a cgroup with a limit before its task begins; not the parser of DAG files."""
    if b"dag-processor" in Path("/proc/self/cmdline").read_bytes():
        return
    for parent, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(parent) / f"contrail-way-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            if (group / limit).exists():
                (group / limit).write_text(str(LIMIT))
                (group / "cgroup.procs").write_text(str(os.getpid()))
                return
            group.rmdir()


enter()
with DAG("way_oom_kernel", schedule=None, tags=["way"]):

    @task
    def work():
        held = []
        while True:
            held.append(bytearray(os.urandom(1024) * 16_384))

    work()

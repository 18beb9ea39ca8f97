"""A quota of CPU time counts as so many cores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streampose import cores

CPU = Path("/sys/fs/cgroup/cpu")
"""Version 1's controller, where a machine has it."""


def tree(root: Path, groups: str, files: dict[str, str]) -> Path:
    """What Linux shows of its control groups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("", {}, None),
        # systemd: a service in a slice; whichever lets through least.
        (
            "0::/a.slice/b.service\n",
            {"a.slice/b.service/cpu.max": "max 100000", "a.slice/cpu.max": "200000 100000"},
            2.0,
        ),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "200000 100000"}, 0.5),
        # The host's path, its own group as the uppermost: a container that shares the host's names.
        ("0::/docker/1f2e\n", {"cpu.max": "300000 100000"}, 3.0),
        # Version 1, and both.
        (
            "3:memory:/m\n2:cpu,cpuacct:/docker/1f\n1:name=systemd:/a:b\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        (
            "1:cpu:/\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n", "unified/cgroup.procs": ""},
            None,
        ),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("0::/\n", {"cpu.max": "100000 0\n"}, None),
        ("0:\nnonsense\n0::/\n", {"cpu.max": "100000 100000\n"}, 1.0),
    ],
)
def test_the_tightest_group_is_the_quota(tmp_path: Path, groups: str, files: dict[str, str], quota: float | None):
    assert cores.cpu_quota(tree(tmp_path, groups, files)) == quota


def test_where_linux_shows_nothing_there_is_none(tmp_path: Path):
    assert cores.cpu_quota(tmp_path) is None


@pytest.mark.parametrize(("quota", "counted"), [(None, 8), (0.3, 1), (3.0, 3), (3.2, 4), (64.0, 8)])
def test_it_is_rounded_up_and_affinity_holds(monkeypatch: pytest.MonkeyPatch, quota: float | None, counted: int):
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    monkeypatch.setattr(cores, "_affinity", lambda: list(range(8)))
    assert cores.available_cores() == counted


@pytest.fixture
def group() -> Iterator[Path]:
    """A real one, of half a core."""
    made = CPU / f"streampose-{os.getpid()}"
    try:
        made.mkdir()
        (made / "cpu.cfs_quota_us").write_text("50000")
        (made / "cpu.cfs_period_us").write_text("100000")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield made
    made.rmdir()


def test_a_process_within_a_real_quota_counts_and_does_not_stay_on_a_core(group: Path):
    """Two programs with quotas on one machine would both be kept to its first cores."""
    program = f"""
import os
open({str(group / "cgroup.procs")!r}, "w").write(str(os.getpid()))
from streampose import cores
before = os.sched_getaffinity(0)
cores.share_cores()
cores.stay_on_core(0)
print(cores.cpu_quota(), cores.available_cores(), os.sched_getaffinity(0) == before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["0.5", "1", "True"]

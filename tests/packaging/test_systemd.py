# SPDX-License-Identifier: GPL-2.0-or-later
"""The systemd unit, by systemd's own tools and against what the agent does."""

import re
import shlex

import pytest

from conftest import ROOT, run, tool

UNIT = ROOT / "packaging/systemd/tcplat.service"
DEFAULT = ROOT / "packaging/systemd/tcplat.default"
EXPOSURE = "1.4"


def settings():
    """Name to the list of its values; comments are none."""
    found = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def analyze(*args):
    return run([tool("systemd-analyze"), "--no-pager", *args],
               env={"SYSTEMD_COLORS": "0", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"})


def test_exposure_is_what_the_document_says():
    done = analyze("security", "--offline=true", "--threshold=14", str(UNIT))
    assert done.returncode == 0, done.stdout
    assert f"level for tcplat.service: {EXPOSURE} OK" in done.stdout
    assert f"exposure of **{EXPOSURE}**" in " ".join((ROOT / "docs/FLEET.md").read_text().split())


def test_verify_is_clean(tmp_path, build):
    """As the unit is, but with the program that is here rather than installed."""
    text = UNIT.read_text()
    assert text.count("ExecStart=/usr/sbin/tcplat ") == 1
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("/usr/sbin/tcplat", str(build / "tcplat")))
    done = analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout) == (0, "")


def test_verify_would_complain(tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("RemoveIPC=", "RemoveIPCC=").replace(
        "/usr/sbin/tcplat", "/bin/true"))
    assert "Unknown key 'RemoveIPCC'" in analyze("verify", "--man=no", str(unit)).stdout


def test_two_capabilities_and_no_more():
    got = settings()
    assert got["AmbientCapabilities"] == got["CapabilityBoundingSet"] == ["CAP_BPF CAP_PERFMON"]
    assert got["DynamicUser"] == got["NoNewPrivileges"] == ["yes"]


def test_what_would_break_it_is_not_there():
    """Capabilities of another user namespace are void; without the network nobody scrapes it."""
    got = settings()
    for name in ("PrivateUsers", "PrivateNetwork", "ProcSubset", "RootDirectory"):
        assert name not in got
    assert set(got["RestrictAddressFamilies"][0].split()) == {"AF_INET", "AF_INET6", "AF_UNIX"}


def test_it_is_started_as_it_says():
    got = settings()
    assert got["Type"] == ["notify"] and got["WatchdogSec"] == ["60s"]
    assert got["ExecStart"] == ["/usr/sbin/tcplat serve $TCPLAT_OPTIONS"]
    assert got["EnvironmentFile"] == ["-/etc/default/tcplat"]


def test_default_options_are_options(serve_options):
    line, = [line for line in DEFAULT.read_text().splitlines() if line.startswith("TCPLAT_OPT")]
    value, = shlex.split(line.partition("=")[2])
    words = [word.split("=")[0] for word in value.split() if word.startswith("-")]
    assert words and set(words) <= serve_options
    commented = re.findall(r"--[a-z][a-z-]+", DEFAULT.read_text())
    assert set(commented) - {"--help"} <= serve_options


def expand(word):
    """The system calls of a group, and of the groups in it."""
    if not word.startswith("@"):
        return {word}
    done = analyze("syscall-filter", word)
    assert done.returncode == 0, done.stdout
    names = [line.strip() for line in done.stdout.splitlines()[1:] if line.startswith("    ")]
    return set().union(*(expand(name) for name in names if not name.startswith("#")))


@pytest.fixture(scope="module")
def allowed():
    """What the unit's lists come to, in their order; execve and the like are always allowed."""
    found = expand("@default")
    for line in settings()["SystemCallFilter"]:
        names = set().union(*(expand(word) for word in line.lstrip("~").split()))
        found = found - names if line.startswith("~") else found | names
    return found


# The clock is ours to read, not to set; systemd closes the call that could do both.
CLOCK = {"adjtimex", "clock_adjtime"}


def test_system_calls_of_the_agent_are_allowed(allowed):
    """All of its own filter, and what sets that up; but of the privileged ones nothing more."""
    own = set(re.findall(r"SCMP_SYS\((\w+)\)", (ROOT / "src/serve/lockdown.c").read_text()))
    assert {"epoll_wait", "bpf", "accept4", "getdents64"} <= own
    assert own - allowed - CLOCK == set()
    assert {"bpf", "capset", "seccomp", "prctl", "socket", "bind", "listen", "execve",
            "setsockopt", "timerfd_create", "signalfd4", "membarrier"} <= allowed
    assert allowed & expand("@privileged") == {"bpf", "capset"}
    assert not allowed & {"perf_event_open", "mount", "ptrace", "init_module", "reboot"}

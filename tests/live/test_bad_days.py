# SPDX-License-Identifier: GPL-2.0-or-later
"""Rights, kernels and limits that are less than we want: one clear line, nothing half-started."""

import os
import subprocess

import pytest

from lib import paths, traffic
from lib.commands import NOBODY, ports, public_tool, script, setpriv, with_mounts, wrapped
from lib.tool import Tracer, run_tool

BTF = "/sys/kernel/btf/vmlinux"


def refusal(done, status=1):
    """What it says instead of doing anything."""
    assert (done.stdout, done.status) == ("", status), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("tcplat: ")
    return line.removeprefix("tcplat: ")


# --- rights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("have, uid, missing", [
    (["perfmon"], 0, "CAP_BPF"),
    (["bpf"], 0, "CAP_PERFMON"),
    (["net_admin"], 0, "CAP_BPF and CAP_PERFMON"),
    (["perfmon"], NOBODY, "CAP_BPF"),
    ([], NOBODY, "CAP_BPF and CAP_PERFMON"),
])
def test_missing_capabilities_are_named(tmp_path, have, uid, missing):
    tool = wrapped(tmp_path, prefix=setpriv(*have, uid=uid), tool=public_tool())
    for args in (["connect"], ["connect", "--hist", "--", "touch", tmp_path / "ran"]):
        assert refusal(run_tool(args, tool=tool)) == (
            f"needs root, or the capabilities CAP_BPF and CAP_PERFMON (missing: {missing}); "
            "try sudo")
    assert not (tmp_path / "ran").exists()
    done = run_tool(["connect", "--features"], tool=tool)
    assert done.stdout.splitlines()[0].endswith(f"rights missing: {missing}")


def test_root_of_a_user_namespace(tmp_path):
    """It has every capability, but not those that count."""
    become = ["unshare", "--user", "--map-root-user"]
    possible = subprocess.run([*become, "true"], capture_output=True, text=True, timeout=10)
    if possible.returncode:
        pytest.skip(f"no user namespaces here: {possible.stderr.strip()}")
    tool = wrapped(tmp_path, prefix=become)
    line = refusal(run_tool(["connect", "--", "touch", tmp_path / "ran"], tool=tool))
    assert "Operation not permitted" in line and "user namespace" in line
    assert not (tmp_path / "ran").exists()
    done = run_tool(["connect", "--features"], tool=tool)
    assert "rights of a user namespace, which the kernel does not take" in done.stdout


def test_two_capabilities_are_enough(loopback, tmp_path):
    """No root, no locked memory. What needs tracefs is left out, and that is said."""
    trace_id = "/sys/kernel/tracing/events/syscalls/sys_enter_connect/id"
    readable = not subprocess.run([*setpriv("bpf", "perfmon"), "test", "-r", trace_id],
                                  check=False, timeout=10).returncode
    tool = wrapped(tmp_path, "ulimit -l 0", prefix=setpriv("bpf", "perfmon"), tool=public_tool())
    with Tracer("connect", "--json", "--netns", loopback.client.inode, tool=tool) as tracer:
        with open(f"/proc/{tracer.pid}/status", encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        assert status["Uid"].split() == [str(NOBODY)] * 4
        assert status["CapEff"] == f"{1 << 38 | 1 << 39:016x}"  # CAP_PERFMON, CAP_BPF
        with traffic.Server(loopback.server, "127.0.0.1") as server:
            result = traffic.connect_once(loopback.client, "127.0.0.1", server.port)
        row = tracer.wait_for(lambda row: row["rport"] == server.port)
        assert (row["pid"], row["outcome"]) == (result.pid, "established")
        refused = traffic.refused_locally(loopback.client, None)
        assert refused.error == "ENETUNREACH"
        _, rows, summary, stderr = tracer.stop()
    assert [row["pid"] for row in rows] == [result.pid] + [refused.pid] * readable
    warnings = [line for line in stderr.splitlines() if "warning" in line]
    assert len(warnings) == (not readable), stderr
    assert readable or "refuses before any SYN are not shown: cannot use tracefs" in warnings[0]
    assert summary["events"] == len(rows)


# --- kernels -------------------------------------------------------------------------------------


def doctored(tmp_path, name):
    """The tool on a kernel that seems to lack something: one name in a copy of its BTF is changed.

    Everything keeps its place there, so what is left remains true.
    """
    with open(BTF, "rb") as file:
        btf = file.read()
    whole = b"\0" + name.encode() + b"\0"
    assert btf.count(whole) == 1
    copy = tmp_path / f"btf-{name}"
    copy.write_bytes(btf.replace(whole, b"\0X" + whole[2:]))
    return with_mounts(tmp_path, f"--bind {copy} {BTF}")


def features(tool="tcplat"):
    """--features as {name: (here, since)}, its first line and its exit status."""
    done = run_tool(["connect", "--features"], tool=tool)
    assert done.stderr == ""
    kernel, _, head, *lines = done.stdout.splitlines()
    assert head.split() == ["FEATURE", "HERE", "SINCE", "WHAT", "IT", "MEANS"]
    return {name: (here, since) for name, here, since, *_ in map(str.split, lines)}, kernel, \
        done.status


def test_features_of_this_kernel(tmp_path):
    """As found in its BTF by searching for strings, and in tracefs by looking for a file."""
    with open(BTF, "rb") as file:
        btf = file.read()
    at = "/sys/kernel/tracing"
    look = with_mounts(tmp_path, f"-t tracefs none {at}", tool="test")
    call = not subprocess.run([look, "-e", f"{at}/events/syscalls/sys_enter_connect"],
                              check=False, timeout=10).returncode
    found = {name: f"\0{text}\0".encode() in btf for name, text in {
        "inet_sock_set_state": "btf_trace_inet_sock_set_state",
        "sched_process_fork": "btf_trace_sched_process_fork",
        "bpf_iter_task_file": "bpf_iter_task_file",
        "bpf_iter_bpf_sk_storage_map": "bpf_iter_bpf_sk_storage_map",
        "tcp_sock.total_rto": "total_rto",
        "sk_data_ready": "btf_trace_sk_data_ready",
        "tcp_probe": "btf_trace_tcp_probe",
        "tcp_retransmit_skb": "btf_trace_tcp_retransmit_skb",
        "tcp_rcv_space_adjust": "btf_trace_tcp_rcv_space_adjust",
        "sched_switch": "btf_trace_sched_switch",
    }.items()}
    found["syscalls:sys_enter_connect"] = call
    have, kernel, status = features()
    assert {name: here for name, (here, _) in have.items()} == {
        name: "yes" if here else "no" for name, here in found.items()}
    assert kernel == f"kernel {os.uname().release}, BTF present, rights sufficient"
    assert have["inet_sock_set_state"][1] == "4.16" and status == 0
    assert features(public_tool())[0] == have
    done = run_tool(["--features"])
    assert done.status == 0 and kernel in done.stdout


@pytest.mark.parametrize("name, feature", [
    ("btf_trace_inet_sock_set_state", "inet_sock_set_state"),
    ("btf_trace_sched_process_fork", "sched_process_fork"),
    ("bpf_iter_task_file", "bpf_iter_task_file"),
    ("bpf_iter_bpf_sk_storage_map", "bpf_iter_bpf_sk_storage_map"),
    ("total_rto", "tcp_sock.total_rto"),
])
def test_features_of_a_kernel_that_lacks_one(tmp_path, name, feature):
    here, _, _ = features()
    if here[feature][0] == "no":
        pytest.skip(f"this kernel has no {feature} to begin with")
    have, _, status = features(doctored(tmp_path, name))
    assert {name for name in have if have[name][0] != here[name][0]} == {feature}
    assert have[feature][0] == "no"
    assert status == (feature == "inet_sock_set_state")


def test_no_btf(tmp_path):
    tool = with_mounts(tmp_path, "-t tmpfs none /sys/kernel/btf")
    line = refusal(run_tool(["connect", "--", "touch", tmp_path / "ran"], tool=tool))
    assert line == ("this kernel has no BTF (/sys/kernel/btf/vmlinux); it must be built with "
                    "CONFIG_DEBUG_INFO_BTF=y")
    assert not (tmp_path / "ran").exists()
    done = run_tool(["connect", "--features"], tool=tool)
    assert (done.stderr, done.status) == ("", 1)
    assert "BTF missing (CONFIG_DEBUG_INFO_BTF)" in done.stdout


def test_without_the_state_changes(tmp_path):
    tool = doctored(tmp_path, "btf_trace_inet_sock_set_state")
    line = refusal(run_tool(["connect", "--", "touch", tmp_path / "ran"], tool=tool))
    assert line == ("this kernel lacks the tracepoint inet_sock_set_state (in Linux since 4.16); "
                    "see --features")
    assert not (tmp_path / "ran").exists()


def test_without_forks(loopback, tmp_path):
    """Only the descendants of a command cannot be told."""
    tool = doctored(tmp_path, "btf_trace_sched_process_fork")
    command = script("if os.fork() == 0: connect(180)\nelse: os.wait()")
    line = refusal(run_tool(["connect", "--", *command], tool=tool, ns=loopback.client))
    assert "sched_process_fork" in line and "-a traces everything" in line
    with Tracer("connect", "--json", "-a", "--netns", loopback.client.inode, "--", *command,
                tool=tool, ns=loopback.client) as tracer:
        stopped = tracer.finish()
        assert (stopped.status, ports(stopped.rows)) == (0, [180])
    with Tracer("connect", "--json", "--max-events", "1", "--netns", loopback.client.inode,
                tool=tool) as tracer:
        loopback.client.run(command)
        assert ports(tracer.finish().rows) == [180]


def test_without_the_pass_over_sockets_at_the_start(delayline, tmp_path):
    """An attempt that is older than the tracer then counts as one whose start was lost."""
    delayline.control("hold")
    with traffic.Client(delayline.client, delayline.server_v4, 1, mode="epoll") as client:
        client.go().connecting()
        filters = ["--netns", delayline.client.inode, "-p", client.pid]
        with Tracer("connect", "--json", *filters) as whole, Tracer(
            "connect", "--json", *filters, tool=doctored(tmp_path, "bpf_iter_task_file")
        ) as lacking:
            delayline.control("release")
            assert client.result().error == "ECONNREFUSED"
            summaries = [tracer.stop().summary for tracer in (whole, lacking)]
        assert whole.rows == lacking.rows == []
    assert [(s["unseen_start"], s["lost"]["reentered"]) for s in summaries] == [(1, 0), (0, 1)]


def test_without_the_pass_over_sockets_at_the_end(delayline, tmp_path):
    """How many attempts are open is then known from those that began and those that ended."""
    with traffic.Client(delayline.client, delayline.server_v4, 1, mode="epoll") as client:
        delayline.control("hold")
        try:
            filters = ["--netns", delayline.client.inode, "-p", client.pid]
            with Tracer("connect", "--json", *filters) as whole, Tracer(
                "connect", "--json", *filters,
                tool=doctored(tmp_path, "bpf_iter_bpf_sk_storage_map"),
            ) as lacking:
                client.go().connecting()
                summaries = [tracer.stop().summary for tracer in (whole, lacking)]
        finally:
            delayline.control("release")
        assert client.result().error == "ECONNREFUSED"
    assert whole.rows == lacking.rows == []
    assert [summary["still_open"] for summary in summaries] == [1, 1]
    assert not any(sum(summary["lost"].values()) for summary in summaries)


def test_without_the_newer_counter_of_retransmits(tmp_path):
    """Before 6.7: two older ones, each of which is right at one end only."""
    if features()[0]["tcp_sock.total_rto"][0] == "no":
        pytest.skip("this kernel has only the older ones to begin with")
    with paths.delayline(drop_syn=1) as slow, paths.delayline(loss=(100, 0)) as dead:
        filters = ["--netns", slow.client.inode, "--netns", dead.client.inode]
        with Tracer("connect", "--json", *filters) as new, Tracer(
            "connect", "--json", *filters, tool=doctored(tmp_path, "total_rto")
        ) as old, traffic.Server(slow.server, slow.server_v4) as server, traffic.Client(
            slow.client, slow.server_v4, server.port
        ) as client:
            client.go()
            assert traffic.time_out(dead.client, dead.server_v4, 1,
                                    user_timeout_ms=500).error == "ETIMEDOUT"
            assert client.result().retransmits == 1
            for tracer in (new, old):
                rows = {row["outcome"]: row for row in tracer.wait_for(lambda _: True, count=2)}
                assert rows["established"]["syn_retransmits"] == 1
                assert rows["timed_out"]["syn_retransmits"] == 1


# --- limits --------------------------------------------------------------------------------------


def test_too_few_descriptors(tmp_path):
    for n in (6, 10, 14):
        tool = wrapped(tmp_path, f"ulimit -n {n}")
        assert f"Too many open files; at most {n} may be" in refusal(
            run_tool(["connect"], tool=tool))


def test_two_at_once_see_the_same(loopback):
    """Each has programs and state of its own, also where one ends before the other."""
    with Tracer("connect", "--json", "--netns", loopback.client.inode) as first, Tracer(
        "connect", "--json", "--netns", loopback.client.inode
    ) as second, traffic.StormServer(loopback.server, "127.0.0.1") as server:
        account = traffic.storm(loopback.client, "127.0.0.1", server.port, 300, threads=2)
        assert account["established"] == 300
        seen = first.stop()
        account = traffic.storm(loopback.client, "127.0.0.1", server.port, 200)
        assert account["established"] == 200
        both = second.stop()
    assert (len(seen.rows), len(both.rows)) == (300, 500)
    assert seen.summary["events"] == 300 and both.summary["events"] == 500

    def who(rows):
        return sorted((row["lport"], row["pid"], row["tid"]) for row in rows)

    assert who(seen.rows) == who(both.rows[:300])

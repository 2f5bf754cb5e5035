# SPDX-License-Identifier: GPL-2.0-or-later
"""Running tcplat and traffic, and reading what they cost."""
import contextlib
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import tempfile
import time

BUILD = os.environ.get("TCPLAT_BUILD", "build")
TCPLAT = os.path.join(BUILD, "tcplat")
STATS = "/proc/sys/kernel/bpf_stats_enabled"
BPFTOOL = next(p for p in ("/usr/sbin/bpftool", "/usr/local/sbin/bpftool", "/usr/bin/bpftool")
               if os.path.exists(p))


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo")
                if line.startswith("model name")), platform.machine())
    with open("/proc/meminfo") as f:
        mem = int(f.readline().split()[1]) // 1024 // 1024
    return (f"Machine: {os.cpu_count()} CPUs ({cpu}, virtual), {mem} GiB, "
            f"Linux {platform.release()}, {time.strftime('%Y-%m-%d', time.gmtime())}.\n")


@contextlib.contextmanager
def bpf_stats():
    """Time every BPF program of the host, and leave the switch as it was."""
    with open(STATS) as f:
        before = f.read()
    try:
        with open(STATS, "w") as f:
            f.write("1")
        yield
    finally:
        with open(STATS, "w") as f:
            f.write(before)


@contextlib.contextmanager
def stats_off():
    with open(STATS, "w") as f:
        f.write("0")
    try:
        yield
    finally:
        with open(STATS, "w") as f:
            f.write("1")


class Tracer:
    """A running tcplat; out: path its output goes to."""

    def __init__(self, *args, out=os.devnull):
        self.p = subprocess.Popen([TCPLAT, *args, "-v", "-o", out], stderr=subprocess.PIPE,
                                  stdin=subprocess.DEVNULL, text=True)
        self.attached_ms = None
        for line in self.p.stderr:
            if "probes attached after" in line:
                self.attached_ms = float(line.split()[-2])
                break
        if self.attached_ms is None:
            raise RuntimeError("tcplat did not start")

    def memory_kib(self):
        """(all that is resident, of it the pages of BPF maps)"""
        rss = maps = 0
        is_map = False
        with open(f"/proc/{self.p.pid}/smaps") as f:
            for line in f:
                if "-" in line.split()[0] and ":" not in line.split()[0]:
                    is_map = "bpf-map" in line or "bpf_map" in line
                elif line.startswith("Rss:"):
                    kib = int(line.split()[1])
                    rss += kib
                    maps += kib if is_map else 0
        return rss, maps

    def cpu_s(self):
        with open(f"/proc/{self.p.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.p.send_signal(signal.SIGINT)
        err = self.p.stderr.read()
        self.p.wait(timeout=30)
        return err


@contextlib.contextmanager
def tracer(*args, out=os.devnull):
    t = Tracer(*args, out=out)
    try:
        yield t
    finally:
        if t.p.poll() is None:
            t.stop()


def start_rows(what, n, *words):
    """Two lines of a table: the start of tcplat with these words, and its memory."""
    times, sizes = [], []
    with stats_off():
        for _ in range(n):
            with tracer(*words) as t:
                times.append(t.attached_ms)
                rss, maps = t.memory_kib()
                sizes.append((rss - maps) / 1024)
    return [f"| {what}start to \"probes attached\", ms | **{statistics.median(times):.1f}** | "
            f"{min(times):.1f} to {max(times):.1f} | 30 |",
            f"| {what}resident, BPF map pages apart, MiB | **{statistics.median(sizes):.2f}** | "
            f"{min(sizes):.2f} to {max(sizes):.2f} | 6 |"]


@contextlib.contextmanager
def empty_programs(where):
    with subprocess.Popen([os.path.join(BUILD, "bench", "empty-programs"), where], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        if p.stdout.readline().strip() != "ready":
            raise RuntimeError("empty programs did not attach")
        yield
        p.stdin.close()


@contextlib.contextmanager
def listener(addr="127.0.0.1", port=0):
    with subprocess.Popen([os.path.join(BUILD, "connstorm"), "--listen", addr, "--port", str(port)],
                          text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        word, _, bound = p.stdout.readline().strip().partition(" ")
        if word != "ready":
            raise RuntimeError("no listener")
        yield int(bound)
        p.stdin.close()


def storm(port, count, *args, addr="127.0.0.1"):
    out = subprocess.run([os.path.join(BUILD, "connstorm"), "--to", addr, "--port", str(port),
                          "--count", str(count), "--reset-close", *args],
                         check=True, capture_output=True, text=True, timeout=120).stdout
    return json.loads(out)


def programs(but=()):
    """name -> (run_time_ns, run_cnt) of the programs loaded now, except these ids."""
    return {p.get("name", ""): (p.get("run_time_ns", 0), p.get("run_cnt", 0))
            for p in _shown() if p["id"] not in but}


def program_ids():
    return {p["id"] for p in _shown()}


def _shown():
    return json.loads(subprocess.run([BPFTOOL, "prog", "show", "--json"], check=True,
                                     capture_output=True, text=True).stdout)


def ratio_interval(ratios):
    """Median and a 95 % interval of it by order statistics (binomial)."""
    r = sorted(ratios)
    n = len(r)
    k = max(0, math.floor(n / 2 - 1.96 * math.sqrt(n) / 2))
    return statistics.median(r), r[k], r[n - 1 - k]


def on_cpu(cpu, argv):
    return argv if cpu is None else ["taskset", "-c", str(cpu), *argv]


@contextlib.contextmanager
def nginx(port=7791, page=0, cpu=None):
    """page: bytes of a file to serve; 0: two bytes that are in the configuration."""
    with tempfile.TemporaryDirectory(prefix="tcplat-bench-") as d:
        conf = os.path.join(d, "nginx.conf")
        answer = f"root {d}/www;" if page else "location / { return 200 'ok'; }"
        if page:
            os.chmod(d, 0o755)
            os.mkdir(os.path.join(d, "www"))
            with open(os.path.join(d, "www", "index.html"), "w") as f:
                f.write("x" * page)
        with open(conf, "w") as f:
            f.write(f"daemon off; worker_processes 1; pid {d}/pid; error_log stderr crit;\n"
                    "events { worker_connections 1024; }\n"
                    f"http {{ access_log off; client_body_temp_path {d}; proxy_temp_path {d};\n"
                    f" fastcgi_temp_path {d}; uwsgi_temp_path {d}; scgi_temp_path {d};\n"
                    f" sendfile on; server {{ listen 127.0.0.1:{port}; {answer} }} }}\n")
        p = subprocess.Popen(on_cpu(cpu, ["/usr/sbin/nginx", "-c", conf, "-p", d]),
                             stderr=subprocess.DEVNULL)
        try:
            wait_port(port, p)
            yield port
        finally:
            p.terminate()
            p.wait(timeout=10)


def wait_port(port, p):
    import socket
    for _ in range(500):
        with socket.socket() as s:
            if not s.connect_ex(("127.0.0.1", port)):
                return
        if p.poll() is not None:
            break
        time.sleep(0.01)
    raise RuntimeError("nginx did not start")


def wrk(port, seconds, close, cpu=None):
    args = on_cpu(cpu, ["wrk", "-t1", "-c16", f"-d{seconds}s", f"http://127.0.0.1:{port}/"])
    if close:
        args += ["-H", "Connection: close"]
    out = subprocess.run(args, check=True, capture_output=True, text=True,
                         timeout=seconds + 30).stdout
    return float(next(line.split()[1] for line in out.splitlines()
                      if line.startswith("Requests/sec")))


def write_doc(path, text):
    with open(path, "w") as f:
        f.write(text)
    if "SUDO_UID" in os.environ:
        os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))

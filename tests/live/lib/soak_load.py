# SPDX-License-Identifier: GPL-2.0-or-later
"""The loads of a soak. Each is a thread that runs one batch after the other, and each batch counts
what it has made from its own side, in a Ledger.

Programs have names of their own, by which tracers and ledger know them: the tag of the soak, the
epoch, the kind. A batch is of one epoch altogether, however long the soak takes to begin another.
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import signal
import struct
import sys
import threading

from . import paths, traffic
from .binaries import traffic_program
from .netns import NetNS
from .process import Child, until
from .soak_agent import SILENCE

_AGENT = str(pathlib.Path(__file__).with_name("soak_agent.py"))

NGINX = "/usr/sbin/nginx"
WRK = "/usr/bin/wrk"
EPOCHS = FIRST, BETWEEN, SECOND = "axb"  # of one tracer of the summary, of none, of the next one

# One batch each; none takes longer than about two seconds.
STORM, REFUSED = 6000, 2000
TALK = {"connections": 4, "messages": 50, "refused": 10}
DEAD = {"opened": 40, "unread": 20}
HELD, TOUCHED = 5000, 500  # of each process: few may have more than 20,000 files open
WRK_CONNECTIONS, WRK_SECONDS = 16, 1


class Ledger:
    """What was made: {(epoch, comm, what): [least, most]}; what: an outcome, or "pickup"."""

    def __init__(self):
        self.lock = threading.Lock()
        self.made = collections.defaultdict(lambda: [0, 0])
        self.batches = collections.Counter()

    def add(self, epoch, comm, what, least, most=None):
        with self.lock:
            entry = self.made[epoch, comm, what]
            entry[0] += least
            entry[1] += least if most is None else most

    def of(self, epochs, pickups=False):
        """{(comm, what): (least, most)}"""
        found = collections.defaultdict(lambda: (0, 0))
        for (epoch, comm, what), (least, most) in self.made.items():
            if epoch in epochs and (what == "pickup") == pickups:
                found[comm, what] = found[comm, what][0] + least, found[comm, what][1] + most
        return found


class Town:
    """All loads, their names and namespaces; in a with block."""

    def __init__(self, directory, connections):
        self.directory = pathlib.Path(directory)
        self.tag = f"s{os.getpid():x}"
        self.connections = connections
        self.holders = []
        self.ledger = Ledger()
        self.epoch = FIRST
        self.ending = False
        self.failed = None
        self.running = collections.Counter()  # batches under way, by epoch
        self.changed = threading.Condition()
        self.stack = contextlib.ExitStack()
        self.veth = self.lo = self.storms = None

    def comm(self, kind, epoch=""):
        return f"{self.tag}{epoch}{kind}"

    def comms(self):
        """All names there may be; a filter takes 16."""
        kinds = [self.comm(kind, epoch) for kind in ("storm", "talk", "dead", "wrk")
                 for epoch in EPOCHS]
        return [*kinds, self.comm("hold"), self.comm("nginx")]

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.veth = stack.enter_context(paths.veth())
            self.lo = stack.enter_context(paths.loopback()).client
            self.veth.client.ip("neigh", "add", SILENCE[0], "lladdr", "02:00:00:00:00:07",
                                "dev", self.veth.client_dev, "nud", "permanent")
            self.storms = stack.enter_context(
                traffic.StormServer(self.veth.server, self.veth.server_v4))
            if os.path.exists(NGINX) and os.path.exists(WRK):
                stack.enter_context(self._nginx())
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    # --- programs under a name of their own ---

    def named(self, program, kind, epoch=""):
        """The kernel takes the name by which a program is called."""
        link = self.directory / self.comm(kind, epoch)
        with contextlib.suppress(FileExistsError):
            link.symlink_to(program)
        return str(link)

    def agent(self, ns, kind, epoch, *args):
        name = self.comm(kind, epoch)
        return Child([sys.executable, "-I", "-S", _AGENT, kind, name, *args], ns)

    @contextlib.contextmanager
    def _nginx(self):
        temp = "".join(f"{kind}_temp_path {self.directory}; "
                       for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf = self.directory / "nginx.conf"
        conf.write_text(
            f"daemon off; master_process off; pid {self.directory}/pid; error_log stderr crit; "
            "events { worker_connections 1024; } "
            f"http {{ access_log off; {temp} keepalive_requests 100000000; "
            "server { listen 127.0.0.1:8080; location / { return 200 'ok'; } } }")
        with Child([self.named(NGINX, "nginx"), "-c", conf, "-p", self.directory],
                   self.lo) as child:
            until(lambda: self.lo.run(["ss", "-Htln", "sport = :8080"]).stdout, 5,
                  "nginx to listen")
            try:
                yield
            finally:
                child.signal(signal.SIGTERM)

    # --- batches; each returns {(comm, what): count or (least, most)} ---

    def storm(self, epoch):
        comm = self.comm("storm", epoch)
        binary = self.named(traffic_program("connstorm"), "storm", epoch)
        account = self._storm(binary, self.veth.server_v4, self.storms.port, STORM,
                              "--threads", 2, "--parallel", 64)
        refused = self._storm(binary, self.veth.server_v4, 1, REFUSED, "--parallel", 8)
        return {(comm, "established"): account["established"],
                (comm, "refused"): refused["failed"]["ECONNREFUSED"]}

    def _storm(self, binary, addr, port, count, *options):
        argv = [binary, "--to", addr, "--port", port, "--count", count, "--reset-close", *options]
        account = json.loads(self.veth.client.run(list(map(str, argv)), timeout=60).stdout)
        assert account["made"] == count, account
        return account

    def talk(self, epoch):
        """In a namespace of its own, which goes with its process, and with what that left open."""
        comm = self.comm("talk", epoch)
        with NetNS() as ns, self.agent(ns, "talk", epoch, *TALK.values()) as child:
            said = json.loads(child.line(60))
            ns.close()
            return {(comm, "established"): said["established"],
                    (comm, "refused"): said["refused"], (comm, "pickup"): said["reads"]}

    def dead(self, epoch):
        """Killed with attempts under way and data unread, in the midst of further connects."""
        comm = self.comm("dead", epoch)
        file = self.directory / "dead"
        file.write_bytes(bytes(16))

        def counted():
            return struct.unpack("=QQ", file.read_bytes())

        with self.agent(self.veth.client, "dead", epoch, file, *DEAD.values()) as child:
            said = json.loads(child.line(60))
            until(lambda: counted()[1] >= 20, 10, "it to connect")
            child.signal(signal.SIGKILL)
            child.wait()
        begun, ended = counted()
        # one may have been under way
        return {(comm, "established"): said["established"], (comm, "refused"): (ended, begun),
                (comm, "aborted"): (said["aborted"], said["aborted"] + begun - ended)}

    def web(self, epoch):
        comm = self.comm("wrk", epoch)
        out = self.lo.run([self.named(WRK, "wrk", epoch), "-t1", f"-c{WRK_CONNECTIONS}",
                           f"-d{WRK_SECONDS}s", "http://127.0.0.1:8080/"]).stdout
        count = int(re.search(r"(\d+) requests in", out)[1])
        # it does not count what is under way at its end
        answers = count, count + 2 * WRK_CONNECTIONS
        # one more connection, at first, to see whether there is a server at all
        return {(comm, "established"): WRK_CONNECTIONS + 1, (comm, "pickup"): answers,
                (self.comm("nginx"), "pickup"): answers}

    def touch(self, epoch):
        """Of the sockets that are held, some are read from; none between two tracers."""
        if epoch == BETWEEN:
            with self.changed:
                self.changed.wait(0.05)
            return {}
        for holder in self.holders:
            holder.send(f"touch {TOUCHED}")
            holder.line(60)
        return {(self.comm("hold"), "pickup"): TOUCHED * len(self.holders)}

    # --- running them ---

    def hold(self):
        """Opens the sockets that stay open until all is over."""
        for _ in range(0, self.connections, HELD):
            holder = self.stack.enter_context(self.agent(self.lo, "hold", "", HELD))
            said = json.loads(holder.line(120))
            self.ledger.add(FIRST, self.comm("hold"), "established", said["established"])
            self.holders.append(holder)

    def release(self):
        for holder in self.holders:
            holder.stop(30)

    def start(self):
        """Begins all loads; returns what ends them, and waits for it."""
        batches = [self.storm, self.talk, self.dead, self.touch]
        if os.path.exists(NGINX) and os.path.exists(WRK):
            batches.append(self.web)
        threads = [threading.Thread(target=self._run, args=(batch,)) for batch in batches]
        for thread in threads:
            thread.start()

        def end():
            with self.changed:
                self.ending = True
                self.changed.notify_all()
            for thread in threads:
                thread.join()

        self.stack.callback(end)
        return end

    def _run(self, batch):
        while True:
            with self.changed:
                if self.ending or self.failed:
                    return
                epoch = self.epoch
                self.running[epoch] += 1
            try:
                for (comm, what), count in batch(epoch).items():
                    least, most = count if isinstance(count, tuple) else (count, None)
                    self.ledger.add(epoch, comm, what, least, most)
                self.ledger.batches[batch.__name__] += 1
            except BaseException as error:  # for who waits, who will raise it
                self.failed = error
                raise
            finally:
                with self.changed:
                    self.running[epoch] -= 1
                    self.changed.notify_all()

    def begin_epoch(self, epoch, timeout=60):
        """Returns when nothing of the one before is under way."""
        with self.changed:
            before, self.epoch = self.epoch, epoch
            self.changed.notify_all()
            if not self.changed.wait_for(lambda: not self.running[before], timeout):
                raise TimeoutError(f"batches of epoch {before!r} do not end: {self.running}")
        self.check()

    def check(self):
        if self.failed:
            raise RuntimeError("a load of the soak failed") from self.failed

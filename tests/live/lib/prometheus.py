# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's own Prometheus, on a port of loopback, with its data in a directory of the test's."""

import http.client
import json
import re
import select
import shutil
import subprocess
import time
import urllib.parse

import pytest

from .process import Child

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None,
                                      reason="prometheus is not installed")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None,
                                    reason="promtool is not installed")


def check_metrics(text):
    """promtool's opinion on a page in the text format: nothing to say."""
    done = subprocess.run(["promtool", "check", "metrics"], input=text.encode(),
                          capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done


class Prometheus(Child):
    """It scrapes the agents each second; targets: {name: address}, labels host="name".

    Nobody but the test is asked or told anything: there is nothing in its configuration but this.
    """

    def __init__(self, directory, targets, interval_s=1):
        config = {
            "global": {"scrape_interval": f"{interval_s}s", "scrape_timeout": f"{interval_s}s"},
            "scrape_configs": [{"job_name": "tcplat", "static_configs": [
                {"targets": [address], "labels": {"host": name}}
                for name, address in targets.items()]}],
        }
        self.targets = dict(targets)
        path = directory / "prometheus.yml"
        path.write_text(json.dumps(config), encoding="ascii")  # JSON is YAML too
        super().__init__(["prometheus", f"--config.file={path}",
                          f"--storage.tsdb.path={directory / 'data'}",
                          "--web.listen-address=127.0.0.1:0"])
        try:
            listens = re.compile(r'msg="Listening on" address=127\.0\.0\.1:(\d+)')
            if not self.err.find("Server is ready to receive web requests", 30):
                raise RuntimeError(f"prometheus was never ready: {self.err.text()}")
            self.port = int(listens.search(self.err.text())[1])
        except BaseException:
            self.stop()
            raise

    def ask(self, path, **parameters):
        """What its API says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
            answer = json.load(connection.getresponse())
        finally:
            connection.close()
        assert answer["status"] == "success", (path, parameters, answer)
        return answer["data"]

    def query(self, expression):
        """[(labels, value)] of now."""
        data = self.ask("query", query=expression)
        assert data["resultType"] == "vector", data
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def by_host(self, expression):
        """{host: value}, each once."""
        found = {}
        for labels, value in self.query(expression):
            assert labels["host"] not in found, (expression, labels)
            found[labels["host"]] = value
        return found

    def one(self, expression):
        """Its only value; None when it has none."""
        found = self.query(expression)
        assert len(found) < 2, (expression, found)
        return found[0][1] if found else None

    def history(self, selector, seconds=600):
        """[(labels, [(time, value)])]: all that was scraped, as it was."""
        data = self.ask("query", query=f"{selector}[{seconds}s]")
        return [(one["metric"], [(at, float(value)) for at, value in one["values"]])
                for one in data["result"]]

    def wait_for(self, ask, expected, timeout=20):
        """Until ask() says this; what it says is shown otherwise."""
        deadline = time.monotonic() + timeout
        while (said := ask()) != expected:
            assert time.monotonic() < deadline, f"{said} instead of {expected}"
            select.select([], [], [], 0.05)
        return said

    def wait_up(self, **up):
        """Until so much is known of these hosts; by default all are up."""
        up = up or dict.fromkeys(self.targets, 1)
        self.wait_for(lambda: {host: value for host, value in self.by_host("up").items()
                           if host in up}, up)

    def wait_scrape(self, timeout=20):
        """Until each host that is up was scraped after now."""
        now = time.time()

        def fresh():
            return all(at > now for at in self.by_host("timestamp(up)").values())

        self.wait_for(fresh, True, timeout)

    def check_scrapes(self):
        """Every answer was read as a whole: no target has an error, and the log tells of none."""
        for target in self.ask("targets")["activeTargets"]:
            assert (target["health"], target["lastError"]) == ("up", ""), target
        samples = self.by_host("scrape_samples_scraped")
        assert set(samples) == set(self.targets) and all(samples.values()), samples
        self.check_log()

    def check_log(self):
        wrong = [line for line in self.err.all() if "err=" in line or "level=error" in line]
        assert not wrong, wrong

    def stop(self, timeout=5):
        """It does not look at its input: it is told."""
        if self.process.poll() is None:
            self.process.terminate()
        return super().stop(timeout)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Image and manifests: what they name exists here, and the agent gets what it needs."""

import json
import re
import shutil

import pytest
import yaml

from conftest import ROOT, run, tool

DOCKERFILE = ROOT / "packaging/docker/Dockerfile"
KUBERNETES = ROOT / "packaging/kubernetes"
PROGRAMS = ("tcplat", "tcplat-serve")


def instructions():
    """(word, rest) of each, continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def stages():
    """Instructions of the stage that builds, and of the one that runs."""
    all_of_it = instructions()
    starts = [i for i, (word, _) in enumerate(all_of_it) if word == "FROM"]
    assert len(starts) == 2 and starts[0] == 0
    return all_of_it[:starts[1]], all_of_it[starts[1]:]


def installed(stage):
    text = next(rest for word, rest in stage if word == "RUN" and "apt-get install" in rest)
    words = text.split("--no-install-recommends")[1].split("&&")[0].split()
    assert words == sorted(words)
    return set(words)


def copied(stage):
    """Sources of COPY from the context."""
    return [source.rstrip("/") for word, rest in stage
            if word == "COPY" and "--from" not in rest for source in rest.split()[:-1]]


def test_both_stages_are_the_same_debian():
    assert [rest.split()[0] for word, rest in instructions() if word == "FROM"] == [
        "debian:12-slim", "debian:12-slim"]


def test_packages_to_build_are_those_of_dev():
    table = (ROOT / "scripts/packages.sh").read_text().split("packages='")[1].split("'")[0]
    marked = {line.split()[1] for line in table.splitlines()
              if re.match(r"\s+[A-Z]*B[A-Z]*\s", line)}
    assert installed(stages()[0]) == marked


def owner(library):
    """The package with it; /lib is a link to /usr/lib, and dpkg knows either."""
    said = run([tool("dpkg-query"), "-S", f"/lib/x86_64-linux-gnu/{library}",
                f"/usr/lib/x86_64-linux-gnu/{library}"]).stdout
    found, = {line.split(":")[0] for line in said.splitlines() if "no path found" not in line}
    return found


def test_packages_to_run_are_the_libraries(build):
    """Of the programs' own needs, by the packages of this Debian; libc is in every image."""
    needed = set()
    for program in PROGRAMS:
        said = run([tool("readelf"), "-d", build / program])
        assert said.returncode == 0, said.stdout
        needed |= set(re.findall(r"\(NEEDED\).*\[(\S+)\]", said.stdout))
    if any(name.startswith(("libasan", "libubsan")) for name in needed):
        pytest.skip("built with sanitizers")
    packages = {owner(name) for name in needed}
    assert packages - {"libc6"} == installed(stages()[1])


def test_what_is_copied_exists_and_passes_the_list():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines()
            if line.startswith("!")}
    sources = copied(stages()[0]) + copied(stages()[1])
    assert sources and all((ROOT / source).exists() for source in sources)
    assert set(sources) == kept


def test_what_is_copied_is_enough_to_build(tmp_path):
    for source in copied(stages()[0]):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source,
                            ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, tmp_path / source)
    # What needs cmocka is left out in the image, too.
    done = run(["meson", "setup", "build", "-Dwerror=false"], cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    done = run(["ninja", "-C", "build", *PROGRAMS], 120, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_what_the_image_starts(serve_options):
    run_stage = dict(stages()[1])
    assert json.loads(run_stage["ENTRYPOINT"]) == ["/usr/sbin/tcplat"]
    words = json.loads(run_stage["CMD"])
    assert words[0] == "serve"
    assert {word.split("=")[0] for word in words[1:]} <= serve_options
    assert run_stage["USER"] == "0:0" and run_stage["EXPOSE"] == "9762"


def documents(name):
    return {item["kind"]: item for item in yaml.safe_load_all((KUBERNETES / name).read_text())}


@pytest.fixture(scope="module")
def pod():
    return documents("daemonset.yaml")["DaemonSet"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod):
    only, = pod["containers"]
    return only


def test_arguments_are_options(container, serve_options, build):
    words = container["args"]
    assert words[0] == "serve"
    assert {word.split("=")[0] for word in words[1:]} <= serve_options
    # Parsed by the program itself: a wrong value would be its own message.
    done = run([build / "tcplat", *words, "--help"])
    assert done.returncode == 0, done.stdout


def test_least_privilege(container, pod):
    context = container["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["BPF", "PERFMON"]}
    assert context["runAsUser"] == 0 and context["runAsNonRoot"] is False
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True and context["privileged"] is False
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["hostNetwork"] is False and pod["automountServiceAccountToken"] is False


def test_what_tracing_needs_of_the_node(container, pod):
    assert pod["hostPID"] is True
    volume, = pod["volumes"]
    assert volume["hostPath"] == {"path": "/sys/fs/cgroup", "type": "Directory"}
    mount, = container["volumeMounts"]
    assert mount["name"] == volume["name"] and mount["readOnly"] is True
    assert mount["mountPath"] == "/host/sys/fs/cgroup"
    assert pod["tolerations"] == [{"operator": "Exists"}]


def test_port_and_probes(container):
    port, = container["ports"]
    assert f"--listen=:{port['containerPort']}" in container["args"]
    for probe, path in (("startupProbe", "/-/ready"), ("readinessProbe", "/-/ready"),
                        ("livenessProbe", "/-/healthy")):
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}


def test_labels_belong_together():
    every = documents("daemonset.yaml")
    labels = {"app.kubernetes.io/name": "tcplat"}
    spec = every["DaemonSet"]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"] == labels
    assert spec["updateStrategy"]["type"] == "RollingUpdate"
    monitor = documents("podmonitor.yaml")["PodMonitor"]
    assert monitor["spec"]["selector"]["matchLabels"] == labels
    endpoint, = monitor["spec"]["podMetricsEndpoints"]
    container, = spec["template"]["spec"]["containers"]
    assert endpoint["port"] == container["ports"][0]["name"]
    # The rules ask for the job "tcplat", which is the value of this label.
    assert labels[monitor["spec"]["jobLabel"]] == "tcplat"
    names = {item["metadata"].get("namespace", item["metadata"]["name"])
             for item in [*every.values(), monitor]}
    assert names == {"tcplat"}


def test_the_version_is_the_project_s(container):
    version = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text())[1]
    assert container["image"].endswith(f"/tcplat:{version}")

# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian package: built from a copy of the tree, looked into, and held against lintian."""

import os
import re
import shutil

import pytest

from conftest import ROOT, run, tool

SECONDS = 240
EXAMPLES = ("grafana/tcplat.json", "kubernetes/daemonset.yaml", "kubernetes/podmonitor.yaml",
            "prometheus/prometheus.yml", "prometheus/tcplat.rules.yml",
            "prometheus/tcplat.rules.test.yml")
DROP_INS = ("tcpconnlat", "tcppktlat", "tcprtt")


def ignored(_, names):
    return [name for name in names if name == ".git" or name == "__pycache__"
            or name == "build" or name.startswith("build-")]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The directory with what dpkg-buildpackage made."""
    builder = tool("dpkg-buildpackage")
    tool("dh")
    tree = tmp_path_factory.mktemp("deb") / "tree"
    shutil.copytree(ROOT, tree, ignore=ignored, symlinks=True)
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("DEB_", "CFLAGS", "LDFLAGS", "CC"))}
    done = run([builder, "-us", "-uc", "-b"], SECONDS, cwd=tree,
               env={**env, "DEB_BUILD_OPTIONS": "nocheck parallel=2", "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done.stdout[-6000:]
    return tree.parent


def package(built, name):
    path, = built.glob(f"{name}_*.deb")
    return str(path)


@pytest.fixture(scope="module")
def unpacked(built):
    where = built / "unpacked"
    for name in ("tcplat", "tcplat-drop-in"):
        done = run([tool("dpkg-deb"), "-x", package(built, name), str(where)])
        assert done.returncode == 0, done.stdout
    return where


def field(built, name, which):
    return run([tool("dpkg-deb"), "-f", package(built, name), which]).stdout.strip()


def files(built, name):
    """Path to mode, directories aside."""
    listed = run([tool("dpkg-deb"), "-c", package(built, name)]).stdout
    return {line.split()[5].lstrip("."): line.split()[0] for line in listed.splitlines()
            if not line.startswith("d")}


def test_lintian_has_no_errors_and_no_warnings(built):
    changes, = built.glob("*.changes")
    options = ["--allow-root"] if os.geteuid() == 0 else []
    done = run([tool("lintian"), *options, "--no-cfg", "--profile", "debian",
                "--fail-on", "error,warning", str(changes)], SECONDS)
    assert (done.returncode, done.stdout) == (0, "")


def test_versions_are_one(built):
    version = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text())[1]
    for name in ("tcplat", "tcplat-drop-in"):
        assert field(built, name, "Version") == version


def test_files(built):
    got = files(built, "tcplat")
    assert got["/usr/sbin/tcplat"] == got["/usr/libexec/tcplat/tcplat-serve"] == "-rwxr-xr-x"
    plain = {path for path, mode in got.items() if mode == "-rw-r--r--"}
    assert plain >= {
        "/etc/default/tcplat", "/lib/systemd/system/tcplat.service",
        "/usr/share/bash-completion/completions/tcplat",
        "/usr/share/fish/vendor_completions.d/tcplat.fish",
        "/usr/share/zsh/vendor-completions/_tcplat",
        "/usr/share/doc/tcplat/copyright", "/usr/share/doc/tcplat/FLEET.md.gz",
        *(f"/usr/share/doc/tcplat/examples/{name}" for name in EXAMPLES),
        *(f"/usr/share/man/man8/{page.name}.gz" for page in (ROOT / "man").glob("tcplat*.8"))}
    allowed = ("/etc/default/", "/lib/systemd/system/", "/usr/sbin/", "/usr/libexec/tcplat/",
               "/usr/share/")
    assert all(path.startswith(allowed) for path in got)


def test_every_installed_file_is_in_a_package(built):
    """What meson installs and no package lists would be missed by users of the package only."""
    both = {path.removesuffix(".gz") for name in ("tcplat", "tcplat-drop-in")
            for path in files(built, name)}
    tmp = built / "tree/debian/tmp"
    meson = {"/" + str(path.relative_to(tmp)) for path in tmp.rglob("*")
             if path.is_symlink() or path.is_file()}
    moved = {path.replace("/site-functions/", "/vendor-completions/") for path in meson}
    assert moved - both == set()


def test_drop_in_names_are_apart(built):
    """libbpf-tools has files of these names: installed beside each other dpkg would refuse."""
    got = files(built, "tcplat-drop-in")
    assert {path for path in got if "/sbin/" in path} == {f"/usr/sbin/{n}" for n in DROP_INS}
    assert not any(f"/{name}" in path for path in files(built, "tcplat") for name in DROP_INS)
    assert field(built, "tcplat-drop-in", "Conflicts") == "libbpf-tools"
    version = field(built, "tcplat", "Version")
    assert field(built, "tcplat-drop-in", "Depends") == f"tcplat (= {version})"


def test_dependencies_are_the_libraries(built):
    names = {item.split()[0] for item in field(built, "tcplat", "Depends").split(", ")}
    assert names == {"libbpf1", "libc6", "libcap-ng0", "libjansson4", "libmicrohttpd12",
                     "libseccomp2"}


@pytest.fixture(scope="module")
def scripts(built):
    """scripts(name, args…): the calls that a maintainer script makes, systemd running."""
    control, helpers = built / "control", built / "helpers"
    assert run([tool("dpkg-deb"), "-e", package(built, "tcplat"), str(control)]).returncode == 0
    helpers.mkdir()
    for name in ("deb-systemd-helper", "deb-systemd-invoke", "systemctl"):
        # Nothing is enabled yet: debian-installed says so.
        (helpers / name).write_text(f'#!/bin/sh\necho {name} "$@" >>"$CALLS"\n'
                                    '[ "$1" != debian-installed ]\n')
        (helpers / name).chmod(0o755)

    def scripts(name, *args):
        if not (control / name).exists():
            return []
        calls, script = built / "calls", built / name
        calls.write_text("")
        # The machine that tests need not run systemd.
        script.write_text((control / name).read_text().replace("/run/systemd/system", "/"))
        done = run(["sh", str(script), *args], env={"PATH": f"{helpers}:/usr/bin:/bin",
                                                    "CALLS": str(calls)})
        assert done.returncode == 0, done.stdout
        return [line.replace("--quiet ", "") for line in calls.read_text().splitlines()
                if re.search(r" (enable|start|stop|restart|try-restart) ", line)]

    return scripts


def test_installing_neither_enables_nor_starts_it(built, scripts):
    assert scripts("preinst", "install") == scripts("postinst", "configure", "") == []
    assert "/etc/default/tcplat" in (built / "control/conffiles").read_text()


def test_an_upgrade_restarts_it_if_it_runs(scripts):
    assert scripts("prerm", "upgrade", "0.2.0") == scripts("preinst", "upgrade", "0.0.9") == []
    assert scripts("postinst", "configure", "0.0.9") == [
        "deb-systemd-invoke try-restart tcplat.service"]


def test_removing_stops_it(scripts):
    assert scripts("prerm", "remove") == ["deb-systemd-invoke stop tcplat.service"]


@pytest.mark.parametrize("name", ["tcplat", *DROP_INS])
def test_the_packaged_program_prints_its_version(built, unpacked, name):
    done = run([unpacked / "usr/sbin" / name, "--version"])
    assert done.returncode == 0 and field(built, "tcplat", "Version") in done.stdout


def test_the_packaged_agent_is_found_where_it_is(built, unpacked):
    agent = unpacked / "usr/libexec/tcplat/tcplat-serve"
    done = run([agent, "serve", "--version"])
    assert done.returncode == 0 and field(built, "tcplat", "Version") in done.stdout
    assert b"/usr/libexec/tcplat" in (unpacked / "usr/sbin/tcplat").read_bytes()


def test_programs_are_hardened(unpacked):
    for program in ("usr/sbin/tcplat", "usr/libexec/tcplat/tcplat-serve"):
        said = run([tool("readelf"), "-hdl", unpacked / program]).stdout
        assert "Position-Independent Executable" in said and "BIND_NOW" in said
        assert "GNU_RELRO" in said

# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernels of the guests: from Debian's archive, unpacked beside the build, never installed."""

import dataclasses
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).parent

# Drivers of the disks, wanted before there is a root file system.
_EARLY = ("virtio_pci", "virtio_blk")
# All that tests may ask for; the whole set would be a larger disk than the tests themselves.
_KEEP = ("net/", "drivers/net/veth.ko", "drivers/net/tun.ko", "drivers/net/dummy.ko",
         "drivers/net/ifb.ko", "drivers/virtio/", "drivers/block/virtio_blk.ko", "lib/",
         "crypto/", "arch/x86/crypto/")


@dataclasses.dataclass(frozen=True)
class Kernel:
    name: str  # major.minor
    release: str  # as uname -r says
    package: str  # with its version
    image: pathlib.Path
    modules: pathlib.Path  # what belongs at /lib/modules
    early: tuple  # module files in the order of loading, below modules/release


def listed():
    """{name: package} of kernels.txt."""
    lines = (HERE / "kernels.txt").read_text(encoding="ascii").splitlines()
    return dict(line.split() for line in lines if line.strip() and not line.startswith("#"))


def _apt(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def _candidate(package):
    """The package with the kernel in it, and its version: the other only depends on it."""
    said = _apt("apt-cache", "depends", "--no-recommends", "--no-suggests", package).stdout
    names = re.findall(r"Depends: <?(linux-image-[^\s>]+)", said)
    for name in names:
        shown = _apt("apt-cache", "show", "--no-all-versions", name).stdout
        if found := re.search(r"^Version: (.*)$", shown, re.M):
            return name, found[1]
    raise LookupError(f"apt knows no {package}; try apt-get update")


def _download(package, into):
    """One try with the package lists that are here, one with newer ones."""
    for attempt in (1, 2):
        try:
            name, version = _candidate(package)
        except LookupError:
            if attempt == 2:
                raise
        else:
            done = subprocess.run(["apt-get", "-q", "download", f"{name}={version}"], cwd=into,
                                  capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return name, version
            if attempt == 2:
                raise RuntimeError(f"apt-get download {name}: {done.stderr.strip()[-500:]}")
        _apt("apt-get", "-qq", "update")
    raise AssertionError


def _prune(tree):
    kernel = next(tree.glob("*/kernel"))
    for path in sorted(kernel.rglob("*")):
        if path.is_file() and not str(path.relative_to(kernel)).startswith(_KEEP):
            path.unlink()


def _early(tree):
    """In the order in which they can be loaded; those built in are in no file."""
    table, order = {}, []
    for line in (tree / "modules.dep").read_text(encoding="ascii").splitlines():
        path, _, needs = line.partition(":")
        table[re.sub(r"\.ko.*", "", pathlib.PurePath(path).name).replace("-", "_")] = (path, needs)
    for name in _EARLY:
        path, needs = table.get(name, (None, ""))
        for one in [*reversed(needs.split()), path]:
            if one and one not in order:
                order.append(one)
    return tuple(order)


def _unpack(deb, into):
    subprocess.run(["dpkg-deb", "-x", str(deb), str(into)], check=True)
    modules = into / "lib/modules"
    _prune(modules)
    release = next(modules.iterdir()).name
    subprocess.run(["/sbin/depmod", "-b", str(into), release], check=True)
    for name in ("usr", "etc"):
        shutil.rmtree(into / name, ignore_errors=True)


def get(name, cache):
    """The newest of the archive, downloaded when it is not here yet."""
    package = listed()[name]
    try:
        real, version = _candidate(package)
    except LookupError:
        real = version = None
    home = cache / f"{real}_{version}"
    if real is None or not home.is_dir():
        part = cache / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        real, version = _download(package, part)
        _unpack(next(part.glob("*.deb")), part / "x")
        home = cache / f"{real}_{version}"
        shutil.rmtree(home, ignore_errors=True)
        (part / "x").rename(home)
        shutil.rmtree(part)
    modules = home / "lib/modules"
    release = next(modules.iterdir()).name
    return Kernel(name, release, f"{real} {version}", home / f"boot/vmlinuz-{release}", modules,
                  _early(modules / release))

# SPDX-License-Identifier: GPL-2.0-or-later
"""The disks of a guest, made of what is installed here, without being root and without a mount.

The first holds the programs that tests use, copied from this host's packages; it changes only
with them and is kept. The second holds what is under test and the kernel's modules.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What the guest itself and the live tests start. What these depend on follows from them.
PACKAGES = (
    "bash base-files coreutils dash debianutils findutils gawk grep gzip hostname kmod libc-bin "
    "libcap2-bin login mawk mount passwd procps sed tar util-linux util-linux-extra "
    "libbpf1 libelf1 libjansson4 libmicrohttpd12 libcap-ng0 libseccomp2 bpftool python3 python3-pytest iproute2 "
    "curl ethtool iperf3 nftables nginx-light openssl strace tshark wrk"
).split()

# Half of the size, and nothing that runs.
_NOT = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/info",
        "/usr/share/i18n", "/usr/share/lintian", "/usr/share/bug", "/usr/share/zoneinfo")

_ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/:/usr/sbin/nologin\n"
              "www-data:x:33:33:www-data:/:/usr/sbin/nologin\n"
              "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "group": "root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "ld.so.conf": "/usr/local/lib\n/lib/x86_64-linux-gnu\n/usr/lib/x86_64-linux-gnu\n",
}


def _output(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True,
                          env={**os.environ, "LC_ALL": "C"}).stdout


def closure(names):
    """These packages and all that they depend on, as installed here: {name: version}."""
    listed = _output("apt-cache", "depends", "--recurse", "--installed", "--no-recommends",
                     "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces",
                     "--no-enhances", *names)
    wanted = {line.strip() for line in listed.splitlines() if not line.startswith((" ", "<"))}
    shown = _output("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status} ${Version}\n")
    have = {}
    for line in shown.splitlines():
        name, status, *version = line.split(" ")
        if status == "installed" and name in wanted:
            have[name] = version[0]
    return have


def _files(packages):
    listed = _output("dpkg-query", "-L", *sorted(packages)).splitlines()
    here = {path for path in listed
            if path.startswith("/") and path != "/." and not path.startswith(_NOT)
            and os.path.lexists(path)}
    # Made by the packages' scripts, so in no list; without them every start of Python compiles.
    for path in [pathlib.Path(path) for path in here if path.endswith(".py")]:
        here.update(map(str, path.parent.glob(f"__pycache__/{path.stem}.cpython-*.pyc")))
    return sorted(here)


def _copy(files, tree):
    """With tar: it keeps modes and links, and follows /bin -> usr/bin in the tree."""
    with subprocess.Popen(["tar", "-C", "/", "--no-recursion", "--null", "-T", "-", "-cf", "-"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as pack:
        with subprocess.Popen(["tar", "-C", tree, "--keep-directory-symlink", "-xf", "-"],
                              stdin=pack.stdout) as unpack:
            pack.stdout.close()
            pack.stdin.write("\0".join(path.lstrip("/") for path in files).encode())
            pack.stdin.close()
    if pack.returncode or unpack.returncode:
        raise RuntimeError("tar could not copy this host's packages")


def _ext4(tree, image, spare_mib):
    """Made aside and renamed: an image that is there is whole."""
    used = int(_output("du", "-sm", str(tree)).split()[0])
    part = image.with_suffix(".part")
    part.unlink(missing_ok=True)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E",
                    "root_owner=0:0", "-d", str(tree), str(part), f"{used * 5 // 4 + spare_mib}M"],
                   check=True, capture_output=True)
    part.rename(image)


def base(cache, extra=()):
    """The disk with the programs, made anew when a package of this host has changed."""
    packages = closure([*PACKAGES, *extra])
    recipe = pathlib.Path(__file__).read_bytes() + repr(sorted(packages.items())).encode()
    stem = "+".join(["base", *extra])
    image = cache / f"{stem}-{hashlib.sha256(recipe).hexdigest()[:16]}.img"
    if image.exists():
        return image
    for old in cache.glob(f"{stem}-*"):
        old.unlink()
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        tree = pathlib.Path(scratch)
        for name in ("bin", "sbin", "lib", "lib64"):
            (tree / "usr" / name).mkdir(parents=True)
            (tree / name).symlink_to(f"usr/{name}")
        _copy(_files(packages), tree)
        for name in ("proc", "sys", "dev", "run", "tmp", "root", "tcplat", "results",
                     "usr/lib/modules", "var/log/nginx", "var/lib/nginx", "etc/alternatives"):
            (tree / name).mkdir(parents=True, exist_ok=True)
        for name, text in _ETC.items():
            (tree / "etc" / name).write_text(text)
        for link in pathlib.Path("/etc/alternatives").iterdir():
            if link.is_symlink() and not (tree / "etc/alternatives" / link.name).is_symlink():
                (tree / "etc/alternatives" / link.name).symlink_to(os.readlink(link))
        subprocess.run(["/sbin/ldconfig", "-r", str(tree)], check=True)
        _ext4(tree, image, 200)
    return image


def _compile(tree):
    """What pytest makes of the tests' source takes a guest longer than many of the tests."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q",
                    "--collect-only", "tests/live"], cwd=tree, env=env, check=True,
                   capture_output=True, timeout=120)


def project(scratch, build, modules):
    """The disk with the build, the tests, what starts them, and one kernel's modules."""
    tree = scratch / "project"
    for name in ("tests/live", "tests/vm", "bench", "scripts"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    binaries = tree / "build"
    binaries.mkdir()
    for path in sorted(build.iterdir()):
        if path.is_symlink() or (path.is_file() and os.access(path, os.X_OK)):
            shutil.copy2(path, binaries / path.name, follow_symlinks=False)
    for name in ("bench", "tests/traffic"):
        for path in sorted((build / name).glob("*")):
            if path.is_file() and os.access(path, os.X_OK):
                (binaries / name).mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, binaries / name / path.name)
    shutil.copytree(modules, tree / "modules", symlinks=True)
    _compile(tree)
    image = scratch / "project.img"
    _ext4(tree, image, 64)
    shutil.rmtree(tree)
    return image

# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest: a kernel of Debian's under QEMU, without KVM, that runs one command and ends."""

import dataclasses
import os
import pathlib
import queue
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time

import image

HERE = pathlib.Path(__file__).parent

# The guest's clock counts its instructions, one a nanosecond, and jumps while it is idle: to
# itself it is a quiet machine of 1 GHz, whatever else this one does, so that bounds of time need
# no allowance for being emulated; and what waits takes no time at all.
COUNTED = ("-icount", "shift=0,sleep=off")

# A kernel that clears what it hands out and guards against its processor is half as fast here.
_APPEND = ("console=ttyS0 panic=-1 tsc=reliable random.trust_cpu=on "
           "mitigations=off init_on_alloc=0 nokaslr apparmor=0")


# What a command may leave in /results; the file is sparse.
RESULTS_SIZE = 256 << 20


@dataclasses.dataclass(frozen=True)
class Ended:
    status: int | None  # of the command; None when it was never heard of
    why: str | None  # the guest did not end by itself: what was seen
    seconds: float  # of real time
    console: str
    results: pathlib.Path


def sweep(cache):
    """Removes what a run that was killed left behind."""
    for path in cache.glob("guest-*"):
        if not pathlib.Path("/proc", path.name.split("-")[1]).exists():
            shutil.rmtree(path, ignore_errors=True)


def _initramfs(scratch, kernel):
    tree = scratch / "initramfs"
    tree.mkdir()
    subprocess.run(["cc", "-O2", "-static", "-o", str(tree / "init"), str(HERE / "init.c")],
                   check=True)
    for path in kernel.early:
        target = tree / "m" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(kernel.modules / kernel.release / path, target)
    (tree / "modules").write_text("".join(f"/m/{path}\n" for path in kernel.early))
    names = "\n".join(str(p.relative_to(tree)) for p in sorted(tree.rglob("*")))
    archive = scratch / "initramfs.cpio"
    with open(archive, "wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], cwd=tree, check=True,
                       input=names.encode(), stdout=out)
    return archive




def _qemu(kernel, initramfs, disks, memory, cpus, counted):
    # It ends with us, whatever ends us.
    argv = ["setpriv", "--pdeathsig", "KILL", "--", "qemu-system-x86_64", "-accel", "tcg", *(COUNTED if counted else ()),
            "-cpu", "Nehalem", "-m", str(memory), "-smp", str(cpus), "-nodefaults", "-no-user-config",
            "-display", "none", "-serial", "stdio", "-no-reboot",
            "-kernel", str(kernel.image), "-initrd", str(initramfs), "-append", _APPEND]
    for path, mode in disks:
        argv += ["-drive", f"if=virtio,format=raw,file={path},{mode}"]
    return argv


class Console:
    """What the guest says, kept with the time at which it came."""

    def __init__(self, pipe, file, show):
        self._lines = queue.SimpleQueue()
        self._file = open(file, "w", encoding="utf-8")
        self._show = show
        self._began = time.monotonic()
        self.text = []
        threading.Thread(target=self._read, args=(pipe,), daemon=True).start()

    def _read(self, pipe):
        for raw in pipe:
            self._lines.put(raw.decode("utf-8", "replace").rstrip("\r\n"))
        self._lines.put(None)

    def take(self, timeout):
        """The next line; None at its end; TimeoutError."""
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            self._file.close()
            return None
        self.text.append(line)
        self._file.write(f"{time.monotonic() - self._began:8.2f} {line}\n")
        self._file.flush()
        if self._show:
            self._show(line)
        return line


def _watch(process, console, seconds, silence):
    """Until the guest ends; why it was ended, or None."""
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return f"did not end within {seconds} s"
        try:
            if console.take(min(left, silence)) is None:
                return None
        except TimeoutError:
            if left > silence:
                return f"said nothing for {silence} s"


def run(kernel, command, cache, build, out, *, env=None, seconds=600, silence=180, memory=2048,
        cpus=1, counted=True, packages=(), show=None):
    """Runs a command in the project's directory of a guest. out: what it leaves in /results.

    Never raises for what the guest does; a guest that hangs is ended.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"guest-{os.getpid()}-", dir=cache) as name:
        scratch = pathlib.Path(name)
        results = scratch / "results.img"
        with open(results, "wb") as file:
            file.truncate(RESULTS_SIZE)
        order = _order(scratch, command, {**(env or {}), "COMPILED_AT": scratch / "project"})
        disks = [(image.base(cache, packages), "snapshot=on"),
                 (image.project(scratch, build, kernel.modules), "snapshot=on"),
                 (order, "readonly=on"), (results, "cache=unsafe")]
        began = time.monotonic()
        with subprocess.Popen(_qemu(kernel, _initramfs(scratch, kernel), disks, memory, cpus,
                                    counted),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as process:
            try:
                console = Console(process.stdout, out / "console.txt", show)
                why = _watch(process, console, seconds, silence)
            finally:
                process.kill()
        return _ended(results, out, why, time.monotonic() - began, console)


def _order(scratch, command, env):
    """The command as a disk that the guest's shell reads: whole sectors, of which it skips the end."""
    lines = [f"export {name}={shlex.quote(str(value))}" for name, value in env.items()]
    lines += ["set -- " + shlex.join(map(str, command)), "return 0\n"]
    text = "\n".join(lines).encode()
    file = scratch / "order.img"
    file.write_bytes(text + b"#" * (-len(text) % 512))
    return file


def _ended(disk, out, why, seconds, console):
    status = None
    with open(disk, "rb") as file:
        there = any(file.read(512))
    if there:
        with tarfile.open(disk, "r:") as tar:
            tar.extractall(out)
        if (out / "status").exists():
            status = int((out / "status").read_text())
    if why is None and status is None:
        why = "ended before its command did"
    return Ended(status, why, seconds, "\n".join(console.text), out)

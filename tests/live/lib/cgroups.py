# SPDX-License-Identifier: GPL-2.0-or-later
"""Where cgroup v2 is."""


def cgroup2_mount():
    """The mount point, or None; in the hybrid layout it is beside the others."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        return next((line.split()[1] for line in file if line.split()[2] == "cgroup2"), None)

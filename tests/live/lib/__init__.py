# SPDX-License-Identifier: GPL-2.0-or-later
"""What the live tests stand on: namespaces, paths, captures, traffic, the tool itself."""

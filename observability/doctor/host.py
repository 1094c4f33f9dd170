"""Check the ground: folders, their permissions, and room on the disk."""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from observability.doctor.link import Broken, Link, Off
from observability.doctor.ownership import start
from observability.local.layout import Layout

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["LINKS"]

_ROOM_BYTES = 1 << 30
_MOUNTS = Path("/proc/self/mounts")
_OCTAL = re.compile(r"\\([0-7]{3})")
_OF_A_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)
_BY_FUSE = (
    "fuse.ceph",
    "fuse.gcsfuse",
    "fuse.glusterfs",
    "fuse.mountpoint-s3",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
)


def _home(settings: Settings) -> str:
    home = settings.home.absolute()
    if not home.is_dir():
        raise Off(f"{home} is not there: nothing of ours has run", start(settings, "contrail relay"))
    for folder in (home, settings.journal_directory):
        if folder.is_dir() and os.statvfs(folder).f_flag & os.ST_RDONLY:
            raise Broken(
                f"the file system of {folder} is read-only", "name a folder that can be written by CONTRAIL_HOME"
            )
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            raise Broken(f"{folder} cannot be written", f"chown -R $(id -un) {folder} && chmod u+rwx {folder}")
    return str(home)


def _secrets(settings: Settings) -> str:
    keys = Layout(settings.home.absolute()).keys
    if not keys.is_dir():
        raise Off("no keys of ours: this Airflow was not started by contrail up")
    open_to_others = [path for path in (keys, *keys.iterdir()) if _mode(path) & 0o077]
    if open_to_others:
        raise Broken(f"{open_to_others[0]} can be read by others", f"chmod -R go= {keys}")
    return f"{keys} is for its owner only"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _disk(settings: Settings) -> str:
    folders = {folder for folder in (settings.home, settings.log_folder) if folder.is_dir()}
    for folder in folders:
        free = shutil.disk_usage(folder).free
        if free < _ROOM_BYTES:
            raise Broken(
                f"{free >> 20} MiB are free where {folder} is; less than 1024", f"free disk space: du -xsh {folder}/*"
            )
    return "at least 1 GiB free"


def _is_local(settings: Settings) -> str:
    """SQLite's journal needs memory that its readers share, which no network file system gives."""
    home = settings.home.absolute()
    kind = _file_system(home, _MOUNTS.read_text("utf-8", "replace") if _MOUNTS.is_file() else "")
    if kind in _OF_A_NETWORK or kind.startswith(_BY_FUSE):
        raise Broken(
            f"{home} is on a network file system ({kind}): SQLite can be damaged there, and two hosts share one home",
            "name a folder on a disk of this host by CONTRAIL_HOME; what hosts share is the store, and"
            " CONTRAIL_WATCH__LEDGER_URL",
        )
    return f"{home} is on a disk of this host" + (f" ({kind})" if kind else "")


def _file_system(path: Path, mounts: str) -> str:
    """The kind of file system under ``path``, by the kernel's list of mounts; "" where that does not say."""
    under = {str(path.resolve()), *map(str, path.resolve().parents)}
    kinds: dict[str, str] = {}
    for line in mounts.splitlines():
        _, point, kind, *_ = (*line.split(" "), "", "", "")
        kinds[_OCTAL.sub(lambda found: chr(int(found[1], 8)), point)] = kind  # the last one of a place is on top
    return kinds[max(found, key=len)] if (found := under & kinds.keys()) else ""


LINKS = (
    Link("home", _home), Link("local", _is_local, ("home",)), Link("secrets", _secrets, ("home",)), Link("disk", _disk),
)  # fmt: skip

"""The doctor's look at the disk under the home, where SQLite cannot work on every file system."""

from __future__ import annotations

import pytest

from observability.doctor import host
from observability.doctor.link import Broken
from observability.settings import load_settings

MOUNTS = r"""/dev/vda1 / ext4 rw 0 0
proc /proc proc rw 0 0
filer:/export /srv\040of\040all nfs4 rw,vers=4.2 0 0
/dev/vdb1 /srv\040of\040all/local xfs rw 0 0
tmpfs /srv\040of\040all/twice tmpfs rw 0 0
bucket /srv\040of\040all/twice fuse.s3fs rw 0 0
nonsense

x
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/opt/airflow/contrail", "ext4"),
        ("/srv of all/contrail", "nfs4"),
        ("/srv of all/local/contrail", "xfs"),
        ("/srv of all/twice", "fuse.s3fs"),
        ("/srv of allother", "ext4"),
    ],
)
def test_the_innermost_mount_and_the_last_of_a_place_counts(path, kind):
    assert host._file_system(host.Path(path), MOUNTS) == kind
    assert host._file_system(host.Path(path), "") == ""


@pytest.mark.parametrize(
    ("kind", "is_well"), [("ext4", True), ("nfs4", False), ("fuse.gcsfuse", False), ("cifs", False)]
)
def test_a_home_that_hosts_share_is_named_with_its_remedy(kind, is_well, tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda1 / ext4 rw 0 0\nshare {tmp_path} {kind} rw 0 0\n")
    monkeypatch.setattr(host, "_MOUNTS", mounts)
    settings = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path)})
    if is_well:
        assert kind in host._is_local(settings)
    else:
        with pytest.raises(Broken, match=f"network file system .{kind}.*") as found:
            host._is_local(settings)
        assert "CONTRAIL_HOME" in found.value.mend

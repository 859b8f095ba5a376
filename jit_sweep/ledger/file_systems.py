"""Whether a folder lies on a network file system, where sqlite's locks and shared memory cannot be trusted."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
_KERNEL = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "pvfs2", "orangefs")
_FUSE = ("sshfs", "glusterfs", "ceph", "s3fs", "gcsfuse", "rclone", "juicefs", "beegfs")
_ESCAPE = re.compile(r"\\([0-7]{3})")
NETWORK = frozenset((*_KERNEL, *(f"fuse.{name}" for name in _FUSE)))


def network_file_system(folder: Path, *, mounts: Path = MOUNTS) -> str:
    """The name of the network file system that holds a folder; empty on a local one, and where that cannot be told."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    place = folder.resolve()
    kinds: dict[Path, str] = {}
    for line in lines:
        _, point, kind, *_ = line.split(" ")
        # The kernel writes blanks as octal escapes.
        kinds[Path(_ESCAPE.sub(lambda escape: chr(int(escape[1], 8)), point))] = kind
    holding = next((parent for parent in (place, *place.parents) if parent in kinds), None)
    kind = kinds[holding] if holding is not None else ""
    return kind if kind in NETWORK else ""

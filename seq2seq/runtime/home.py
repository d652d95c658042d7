"""A user whom the system does not know (`docker run -u 12345`), or whose home folder cannot be written.

`getpass.getuser` and `Path.home` raise for the first, and libraries that ask them do, too; for the second, they end or
make temporary folders that nobody removes. Both are given a folder of their own below the system's temporary folder.
"""

from __future__ import annotations

import getpass
import os
import tempfile
from functools import cache
from pathlib import Path

CACHES = {
    ("XDG_CACHE_HOME", ".cache"): ("MPLCONFIGDIR", "WANDB_CACHE_DIR", "TRITON_CACHE_DIR"),
    ("XDG_CONFIG_HOME", ".config"): ("MPLCONFIGDIR",),
    ("XDG_DATA_HOME", ".local/share"): ("WANDB_DATA_DIR",),
}
"""Folders of a home, each with the variables that tell libraries to write elsewhere."""


@cache
def settle() -> bool:
    """Set what libraries need in this process's environment, where the system does not have it: USER, HOME, and places
    for their caches. What the user has set stays. Call it before they are imported. Returns whether HOME was set."""
    if os.name != "posix":  # other systems always have all of it
        return False
    made = False
    if not os.environ.get("HOME"):  # set to nothing, it would be the root folder
        os.environ.pop("HOME", None)
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        os.environ["USER"] = f"uid{os.getuid()}"
    try:
        home = Path.home()
    except (RuntimeError, KeyError):
        home = fallback()
        os.environ["HOME"] = str(home)
        made = True
    for (variable, name), needed in CACHES.items():
        if not writable(Path(os.environ.get(variable) or home / name)):
            for each in needed:
                os.environ.setdefault(each, str(fallback() / each.lower()))
    return made


@cache
def fallback() -> Path:
    """The folder of this user below the temporary folder; it is made, and nobody else can write to it."""
    identity = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"seq2seq-{identity}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if status.st_uid == identity and not status.st_mode & 0o022 and not folder.is_symlink() and writable(folder):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="seq2seq-"))  # somebody else's has the name


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which may have to be made first."""
    for place in (folder, *folder.parents):
        if place.is_dir():
            return os.access(place, os.W_OK | os.X_OK)
        if os.path.lexists(place):
            return False
    return False

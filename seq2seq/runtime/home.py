"""Support for users without an entry in the user database (`docker run -u 12345`), or without a writable home folder.

For the first, `getpass.getuser` and `Path.home` raise, and so do libraries that call them; for the second, libraries
fail or leave temporary folders. Both get a folder below the system's temporary folder.
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
"""Folders of a home, each with environment variables by which libraries write elsewhere."""


@cache
def settle() -> bool:
    """Set USER, HOME and cache folders in this process's environment for libraries, if they are missing. Variables that
    are set are not changed. Call it before importing these libraries. Returns whether HOME was set."""
    if os.name != "posix":  # other systems always have them
        return False
    made = False
    if not os.environ.get("HOME"):  # an empty value would mean the root folder
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
    """A folder for this user below the temporary folder, created if missing, that no other user can write to."""
    identity = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"seq2seq-{identity}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if status.st_uid == identity and not status.st_mode & 0o022 and not folder.is_symlink() and writable(folder):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="seq2seq-"))  # the name is taken by another user


def writable(folder: Path) -> bool:
    """Whether files can be created in a folder, which may not exist yet."""
    for place in (folder, *folder.parents):
        if place.is_dir():
            return os.access(place, os.W_OK | os.X_OK)
        if os.path.lexists(place):
            return False
    return False

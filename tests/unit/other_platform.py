"""Run as a script: takes away what Windows lacks, and the user's name and home folder, as for `docker run -u 12345`;
then imports every module of the package and trains two steps.

Other libraries have been imported before: what they need on this system is theirs.
"""

import builtins
import importlib
import os
import pkgutil
import pwd
import shutil
import signal
import sys
from pathlib import Path

import fastapi  # noqa: F401
import hydra  # noqa: F401
import joblib.externals.loky  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import onnx  # noqa: F401
import optuna  # noqa: F401
import portalocker  # noqa: F401
import prometheus_client  # noqa: F401
import pytorch_lightning  # noqa: F401
import sacrebleu  # noqa: F401
import scipy.stats  # noqa: F401
import torch  # noqa: F401
import uvicorn  # noqa: F401
from pytorch_lightning.trainer.connectors import signal_connector

MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "syslog", "posix"}
SIGNALS = "SIGUSR1 SIGUSR2 SIGKILL SIGHUP SIGQUIT SIGALRM SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGPIPE pthread_sigmask"
OF_OS = (
    "O_DIRECTORY O_CLOEXEC O_NONBLOCK fork forkpty sysconf setsid killpg getpgid statvfs "
    "sched_getaffinity sched_setaffinity getloadavg nice mkfifo chown fchown fchmod"
)


def unknown(uid: int) -> None:
    """As for a number that no user has."""
    raise KeyError(f"getpwuid(): uid not found: {uid}")


def hide() -> None:
    """Remove the names from `os` and `signal`, and refuse the modules to this package."""
    signal_connector._IS_WINDOWS = True  # what Lightning asks for, and the signals that there are then
    signal_connector._SignalConnector._valid_signals = staticmethod(lambda: {signal.SIGINT, signal.SIGTERM})
    shutil._use_fd_functions = False  # elsewhere no folder can be opened; Python 3.13 opens one with O_NONBLOCK
    for module, names in ((signal, SIGNALS), (os, OF_OS)):
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        os.environ.pop(name, None)
    pwd.getpwuid = unknown
    original = builtins.__import__

    def guarded(name, globals=None, *rest, **options):
        who = (globals or {}).get("__name__", "")
        if name.partition(".")[0] in MODULES and who.partition(".")[0] == "seq2seq":
            raise ModuleNotFoundError(f"{who} imports {name}, which this system does not have")
        return original(name, globals, *rest, **options)

    builtins.__import__ = guarded


def main(folder: Path) -> int:
    """Import everything, then train; the folder holds train.tsv."""
    assert not any(name.partition(".")[0] == "seq2seq" for name in sys.modules)
    hide()
    import seq2seq

    for module in pkgutil.walk_packages(seq2seq.__path__, "seq2seq."):
        if module.name != "seq2seq.__main__":  # which runs the command
            importlib.import_module(module.name)
    from seq2seq.cli.main import main as command

    data = ["data=tsv", "data.corpus.source_language=xx", "data.corpus.target_language=yy", "tokenizer=whitespace"]
    data += [f"data.corpus.{split}={folder}/train.tsv" for split in ("train", "val")]
    data += [f"data.corpus.tests={{test: {folder}/train.tsv}}", f"hydra.run.dir={folder}/run"]
    sizes = ["embedding.size=4", "encoder.hidden_size=4", "decoder.hidden_size=4", "trainer.max_steps=2"]
    sizes += ["logger=[tensorboard,wandb]"]
    code = command(["train", *data, *sizes, "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"])
    source = folder / "source.txt"
    source.write_text("a b\n", encoding="utf-8")
    return code or command(["translate-file", f"{folder}/run/bundle", str(source), f"{folder}/out.txt"])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

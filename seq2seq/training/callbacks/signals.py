"""SIGTERM and SLURM's warning signal: a training run writes a checkpoint and ends, so that it can be resumed.

A scheduler that preempts a job sends SIGTERM, and before that, if it was asked to (`sbatch --signal=USR1@120`),
SIGUSR1. Within training both wait for the next batch, where a checkpoint can be exact; SIGTERM does not wait for the
end of a validation, and a second SIGTERM for nothing. Everywhere else both act at once: there is nothing to write.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from seq2seq.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGUSR1) if hasattr(signal, "SIGUSR1") else (signal.SIGTERM,)


class Stopping:
    """A block in which the signals raise `Stopped`, at once or, while it `waits`, when `stop` is called.

    Only the main thread receives signals; in another one, the handlers are unchanged. Where processes train `together`,
    a launcher sends SIGTERM to all others when the first of them ends: a process that is ending already then finishes
    without being interrupted, its record above all.
    """

    def __init__(self, *, together: bool = False) -> None:
        self.together = together
        self.received: signal.Signals | None = None
        self.waits = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stopping:
        self._before = {each: signal.getsignal(each) for each in SIGNALS}
        self.listen()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if _main():
            for each, handler in self._before.items():
                signal.signal(each, signal.SIG_IGN if self.together and kind else handler)

    def listen(self) -> None:
        """Handle the signals; Lightning replaces the handlers when it begins to train."""
        if _main():
            for each in SIGNALS:
                signal.signal(each, self._receive)

    def now(self) -> None:
        """Let signals act at once from here on, also one that was received already."""
        self.waits = False
        if self.received is not None:
            self.stop()

    def stop(self) -> None:
        """Raise `Stopped` with the name of the signal."""
        name = self.received.name if self.received else "a signal to another process"
        raise Stopped(f"stopped by {name}; the same command with resume=auto resumes it")

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again = self.received == signal.SIGTERM
        if self.received != signal.SIGTERM:
            self.received = signal.Signals(number)
        if again or not self.waits:
            self.stop()


def _main() -> bool:
    return threading.current_thread() is threading.main_thread()

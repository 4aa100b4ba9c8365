"""Ctrl-C and SIGTERM end a run the same way from wherever it is: one line, the folder kept, exit 130 or 143.

Python runs its signal handlers between two of its own instructions only. TensorFlow can be inside one of its
own for a long time, and an exception raised while something imports may be swallowed. So a second thread
hears every signal at once, and ends the process itself if the main thread has not answered in time.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

GRACE = 10.0  # seconds the main thread has to answer a signal
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """The person, or the system, wants the process to end.

    Args:
        number: The signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


@contextmanager
def stoppable(last_words: Callable[[int], None] | None) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into `Stopped` inside the block, and see that it ends.

    An exception that a signal was turned into on its way (an import that failed, say) becomes `Stopped`
    again. A second signal ends the process at once. Outside the main thread this does nothing.

    Args:
        last_words: Called with the exit code, from another thread, only when the process has to be ended the
            hard way. None in the process of somebody else, a notebook's: that is never ended, SIGTERM is left to it,
            and each SIGINT becomes `Stopped`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []

    def raise_stopped(number: int, _frame: Any) -> None:
        if not heard or last_words is None:
            heard.append(number)
            raise Stopped(number)

    numbers = _SIGNALS if last_words else _SIGNALS[:1]
    with _watched(last_words) if last_words else nullcontext(), _handled(numbers, raise_stopped):
        try:
            yield
        except Stopped:
            raise
        except BaseException as error:
            if heard:
                raise Stopped(heard[0]) from error
            raise


@contextmanager
def _handled(numbers: tuple[signal.Signals, ...], handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Install the handler of these signals; put everything back afterwards."""
    handlers = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in handlers.items():
            signal.signal(number, previous)


@contextmanager
def _watched(last_words: Callable[[int], None]) -> Iterator[None]:
    """Let a thread hear the signals; put everything back afterwards."""
    ears, mouth = socket.socketpair()
    mouth.setblocking(False)
    over = threading.Event()
    threading.Thread(target=_watch, args=(ears, over, last_words), daemon=True).start()
    wakeup = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(wakeup)
        mouth.close()


def _watch(ears: socket.socket, over: threading.Event, last_words: Callable[[int], None]) -> None:
    """Wait for a signal; give the main thread its time, or less if a second comes; then end the process."""
    with ears:
        first = _hear(ears, None)
        if first is None or over.is_set():
            return
        _hear(ears, GRACE)  # a second signal, the end of the block, or the end of patience
        if not over.is_set():
            last_words(128 + first)
            os._exit(128 + first)


def _hear(ears: socket.socket, seconds: float | None) -> int | None:
    """The next of our signals within some seconds, else None; None too when the block is over."""
    ears.settimeout(seconds)
    try:
        while heard := ears.recv(1):
            if heard[0] in _SIGNALS:
                return heard[0]
    except TimeoutError:
        pass
    return None

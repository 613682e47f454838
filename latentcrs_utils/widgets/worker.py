"""The thread beside the callbacks in which all that is slow happens."""

import threading
from collections.abc import Callable


class Worker:
    """Does one slow thing at a time; it may be asked to stop.

    Attributes:
        gate: held while the state of the chat changes, here and in the callbacks.
        stopped: set when the user wants an end; what is slow looks at it.
    """

    def __init__(self) -> None:
        self.gate = threading.RLock()
        self.stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, job: Callable[[], None], after: Callable[[], None]) -> None:
        """Do something slow.

        Args:
            job: runs in a thread of its own.
            after: runs in that thread when the job has ended, well or not; the worker no longer
                counts as busy then.
        """

        def work() -> None:
            try:
                job()
            finally:
                with self.gate:
                    self._thread = None
                    after()

        self.stopped.clear()
        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is under way; whether that is so.

        Args:
            timeout: seconds; None for as long as it takes.
        """
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        with self.gate:
            return not self.busy

"""The newest frame, for any number of clients that look at it as often as they can."""

from __future__ import annotations

import io
import threading

from hpe.inference.annotation import draw_seen
from hpe.inference.seen import Seen

LONGEST_PX = 960
"""Longer side of the picture on the page, at most."""
QUALITY = 80
"""Of its JPEG."""


class Newest:
    """A place for one frame: the loop puts each one in, at once; a client waits for one that it has not seen yet."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._drawing = threading.Lock()
        self._count, self._seen = 0, None
        self._over = False
        self._drawn: tuple[int, bytes] = (0, b"")

    def put(self, seen: Seen) -> None:
        """Replace the frame."""
        with self._changed:
            self._count, self._seen = self._count + 1, seen
            self._changed.notify_all()

    def end(self) -> None:
        """No further frame will come."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def over(self) -> bool:
        return self._over

    def after(self, count: int, timeout_s: float) -> tuple[int, Seen | None]:
        """The first frame known after the one numbered `count`, with its number; None where none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._count > count or self._over, timeout_s)
            return (self._count, self._seen) if self._count > count else (count, None)

    def jpeg(self, count: int, seen: Seen) -> bytes:
        """The frame drawn, as JPEG; one client draws it for all."""
        with self._drawing:
            if self._drawn[0] != count:
                content = io.BytesIO()
                draw_seen(seen, LONGEST_PX).save(content, "JPEG", quality=QUALITY)
                self._drawn = count, content.getvalue()
            return self._drawn[1]

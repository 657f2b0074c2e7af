"""The processes that torchrun started for one run, and their printing; light, so that any command may ask."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpe.io.errors import require

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Share:
    """The part of every batch that a process takes: of `count` processes that with number `rank`."""

    rank: int = 0
    count: int = 1

    def of(self, batch: Tensor) -> Tensor:
        """This process's part of something that has a row for each sample of a batch."""
        return batch[self.rank :: self.count]

    def check(self, batch_size: int) -> None:
        """Refuse a batch that cannot be shared out evenly, or of which one sample would be left."""
        require(
            batch_size % self.count == 0 and (batch_size > self.count or self.count == 1),
            f"--batch-size {batch_size}: {self.count} processes share each batch; give a multiple of {self.count}, and "
            "two images or more for each",
        )


WHOLE = Share()
"""What a process takes that trains alone."""


def process_count() -> int:
    """Processes that work on this run together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this one talks to the user and writes files; the only one, as a rule."""
    return os.environ.get("RANK", "0") == "0"


def say(line: str) -> None:
    """Print a line at once, also into a pipe; of the processes of one run the first alone does."""
    if is_first_process():
        print(line, flush=True)


def give_up_standard_output() -> None:
    """Print nothing more: what could not be written there the interpreter would try again, and fail, at its end."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115

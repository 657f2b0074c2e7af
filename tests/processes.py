"""Looks after processes that tests start."""

import time


def ended(pid: int, within_s: float = 20.0) -> bool:
    """Whether the process ends in time (a zombie has ended)."""
    limit = time.monotonic() + within_s
    while time.monotonic() < limit:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False

"""When to prune, and to which sparsity: the two schedules of the TensorFlow Model Optimization Toolkit (TF-MOT).

A step is the number of optimizer steps taken so far. Both schedules prune at the steps where

    step >= begin_step and (end_step == -1 or step <= end_step) and (step - begin_step) % frequency == 0

so the final sparsity is met exactly only where `end_step - begin_step` is a multiple of `frequency`. Step 0 is served
with step 1, at the first call of a pruner. There it differs from TF-MOT 0.8, which counts a step before it looks at the
schedule: with begin_step 0 its first masks come at the step `frequency`, here they come at once.

A final sparsity below the first one is allowed (the paper's 0.75 to 0.5): masks give weights back (magnitude.py says
which), channels do not come back and refuse it.
"""

from typing import Protocol

from pruning.errors import PruningError


class Schedule(Protocol):
    """What a pruner asks of a schedule."""

    begin_step: int
    end_step: int
    frequency: int

    def sparsity(self, step: int) -> float:
        """Fraction to have pruned at `step`, in [0, 1)."""
        ...

    def should_prune(self, step: int) -> bool:
        """True at the steps at which the masks (or the channels) are updated."""
        ...


class ConstantSparsity:
    """One sparsity at every pruning step.

    Args:
        sparsity: fraction to prune, in [0, 1).
        begin_step: first step at which to prune.
        end_step: last step at which to prune; -1 means without end.
        frequency: prune every N steps.
    """

    def __init__(self, sparsity: float, begin_step: int, end_step: int = -1, frequency: int = 100):
        _check_sparsity("sparsity", sparsity)
        _check_steps(begin_step, end_step, frequency)
        self.target_sparsity = sparsity
        self.begin_step = begin_step
        self.end_step = end_step
        self.frequency = frequency

    def sparsity(self, step: int) -> float:
        """The constant, whatever the step."""
        return self.target_sparsity

    def should_prune(self, step: int) -> bool:
        """True at pruning steps (the rule at the head of this module)."""
        return _is_pruning_step(self, step)


class PolynomialDecay:
    """Sparsity that grows fast at first and then levels off (Zhu & Gupta 2017, arXiv:1710.01878, equation 1).

        s(t) = final + (initial - final) * (1 - (t - begin) / (end - begin)) ** power,   t clipped to [begin, end]

    Args:
        initial_sparsity, final_sparsity: fractions in [0, 1); the final one may be below the initial one.
        begin_step, end_step: first and last step at which to prune; the end must come after the beginning.
        power: exponent; 3 in the paper.
        frequency: prune every N steps.
    """

    def __init__(
        self,
        initial_sparsity: float,
        final_sparsity: float,
        begin_step: int,
        end_step: int,
        power: float = 3,
        frequency: int = 100,
    ):
        _check_sparsity("initial_sparsity", initial_sparsity)
        _check_sparsity("final_sparsity", final_sparsity)
        _check_steps(begin_step, end_step, frequency)
        if end_step <= begin_step:
            raise PruningError(f"end_step must be greater than begin_step ({begin_step}), got {end_step}.")
        self.initial_sparsity = initial_sparsity
        self.final_sparsity = final_sparsity
        self.begin_step = begin_step
        self.end_step = end_step
        self.power = power
        self.frequency = frequency

    def sparsity(self, step: int) -> float:
        """Fraction to have pruned at `step`."""
        progress = (step - self.begin_step) / (self.end_step - self.begin_step)
        remaining = 1 - min(1.0, max(0.0, progress))
        return self.final_sparsity + (self.initial_sparsity - self.final_sparsity) * remaining**self.power

    def should_prune(self, step: int) -> bool:
        """True at pruning steps (the rule at the head of this module)."""
        return _is_pruning_step(self, step)


def due_steps(schedule: Schedule, step: int) -> list[int]:
    """The pruning steps that a pruner's call number `step` (from 1) serves: the first call serves step 0, too."""
    return [due for due in ([0, 1] if step == 1 else [step]) if schedule.should_prune(due)]


def _is_pruning_step(schedule: Schedule, step: int) -> bool:
    begun = step >= schedule.begin_step
    not_over = schedule.end_step == -1 or step <= schedule.end_step
    return begun and not_over and (step - schedule.begin_step) % schedule.frequency == 0


def _check_sparsity(name: str, sparsity: float) -> None:
    if not 0 <= sparsity < 1:
        raise PruningError(f"{name} must be at least 0 and below 1, got {sparsity}.")


def _check_steps(begin_step: int, end_step: int, frequency: int) -> None:
    if begin_step < 0:
        raise PruningError(f"begin_step must be 0 or more, got {begin_step}.")
    if end_step != -1 and end_step < begin_step:
        raise PruningError(f"end_step must be -1 (without end) or at least begin_step ({begin_step}), got {end_step}.")
    if frequency < 1:
        raise PruningError(f"frequency must be 1 or more steps, got {frequency}.")

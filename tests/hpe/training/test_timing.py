from dataclasses import replace

import pytest

from hpe.io.errors import ConfigError
from hpe.training.pruning_config import ChannelConfig, PruneConfig
from hpe.training.timing import sensible_frequency, settled


@pytest.mark.parametrize(
    ("span", "frequency"), [(1, 1), (19, 1), (60, 3), (200, 10), (997, 49), (2400, 100), (99_990, 99)]
)
def test_the_frequency_is_chosen_from_the_schedule(span, frequency):
    assert sensible_frequency(span) == frequency


@pytest.mark.parametrize("span", range(1, 400, 7))
def test_a_chosen_frequency_always_fits_and_leaves_enough_pruning_steps(span):
    frequency = sensible_frequency(span)
    assert 1 <= frequency <= span
    assert span // frequency >= min(span, 20)


def test_what_was_left_out_is_filled_in_once():
    prune = settled(PruneConfig("magnitude"), 6, 10)
    assert (prune.end_epoch, prune.frequency) == (4, 2)
    assert settled(prune, 60, 10) == prune  # more epochs move nothing
    grown = settled(PruneConfig("channel", channels=ChannelConfig(grow=True)), 6, 10)
    assert (grown.end_epoch, grown.frequency) == (4, None)
    blocks = PruneConfig("block")
    assert settled(blocks, 6, 10) == blocks


def test_a_frequency_that_does_not_fit_names_the_largest_that_does():
    prune = PruneConfig("magnitude", end_epoch=2, frequency=100)
    with pytest.raises(ConfigError, match="--frequency 100 is more than the 20 steps of pruning; give 20 or fewer"):
        settled(prune, 4, 10)
    assert settled(replace(prune, frequency=20), 4, 10).frequency == 20
    with pytest.raises(ConfigError, match="does not fit into --epochs 4"):
        settled(PruneConfig("magnitude", begin_epoch=2, end_epoch=9), 4, 10)

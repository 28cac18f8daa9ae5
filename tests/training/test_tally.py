import pytest
import torch

from emulators.training.distributed import World
from emulators.training.tally import Tally

ALONE = World(0, 1, torch.device("cpu"))


def numbers(**values):
    return {name: torch.tensor(float(value)) for name, value in values.items()}


def test_means_are_over_the_updates_that_gave_a_number_and_scores_the_largest():
    tally = Tally()
    assert tally.take_means(ALONE) == {}
    first = numbers(loss_critic=1, score_largest=3)
    tally.add(first)
    tally.add(numbers(loss_critic=2, score_largest=7, r1=5))
    tally.add(numbers(loss_critic=6, score_largest=4))
    assert first["loss_critic"] == 1  # what an update gave is not added into
    assert tally.take_means(ALONE) == {"loss_critic": 3.0, "score_largest": 7.0, "r1": 5.0}
    assert tally.take_means(ALONE) == {}


@pytest.mark.parametrize(
    ("loss", "score", "healthy"),
    [
        (1.0, 1e4, True),
        (1.0, 1.1e4, False),
        (float("nan"), 1.0, False),
        (1.0, float("nan"), False),
        (float("inf"), 1.0, False),
    ],
)
def test_what_is_healthy(loss, score, healthy):
    tally = Tally()
    assert tally.healthy()
    tally.add(numbers(loss_critic=0, score_largest=0))
    tally.add(numbers(loss_critic=loss, score_largest=score))
    tally.add(numbers(loss_critic=0, score_largest=0))
    assert tally.healthy() is healthy
    tally.take_means(ALONE)
    assert tally.healthy()

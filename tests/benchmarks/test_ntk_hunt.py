"""Averages over draws of the hunt for closed forms: each of them knows which end of a score is the good one."""

import numpy as np

from ntk_hunt import spread


def test_every_average_of_noisy_draws_ranks_as_what_they_are_draws_of(rng):
    accuracy = rng.normal(size=60)
    found = spread([accuracy + rng.normal(size=60) for _ in range(9)], accuracy)
    assert len(found["draws"]) == 9
    assert found["worst"] == min(found["draws"])
    assert len(found["eight draws"]) == 4
    for average in found["eight draws"].values():
        assert average["worst"] > np.mean(found["draws"])

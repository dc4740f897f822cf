"""Sample n is a pure function of (seed, n), and every photo and position gets its share."""

from collections import Counter
from dataclasses import astuple

import numpy as np
import pytest

from esrgan_lightning.data.placement import CropSampler

SIZES = [np.array([(14, 15), (16, 13), (12, 12)])]


def draws(numbers, seed=3, sizes=SIZES, patch=12, **settings):
    """One tuple (source, photo, top, left, turn) for each sample."""
    at = CropSampler(seed, sizes, patch, **settings)(numbers)
    return list(zip(*(field.tolist() for field in astuple(at)), strict=True))


def test_a_sample_does_not_depend_on_the_others_of_its_batch():
    """Breaks if what is drawn depends on the batch, on what was drawn before, or on the block of samples."""
    numbers = [*range(4090, 4100), 7, 0, 7, 10**12, 10**6]
    together = draws(numbers, weights=[1])
    assert together == [draws([n], weights=[1])[0] for n in numbers]
    assert together == draws(numbers[::-1], weights=[1])[::-1]


def test_samples_stay_what_they_are():
    """Breaks if a new version draws other samples: a run that it resumes would train on others."""
    photos = np.array([(400, 500), (600, 300)])
    assert draws([0, 1, 4096, 10**9], 0, [photos, photos], weights=[1, 3]) == [
        (1, 1, 511, 176, 7), (1, 0, 337, 371, 4), (0, 1, 174, 245, 4), (1, 0, 11, 397, 3),
    ]  # fmt: skip


def test_seeds_and_numbers_draw_apart():
    """Breaks if two seeds, or two numbers, draw alike."""
    sizes = [np.array([(400, 500), (600, 300)])]
    assert len(set(draws(range(5000), sizes=sizes))) > 4990
    same = sum(a == b for a, b in zip(draws(range(500), 0), draws(range(500), 1), strict=True))
    assert same < 25


def test_each_photo_comes_once_a_round_and_positions_reach_every_corner():
    """Breaks if a photo is preferred, or if the last row or column of positions is never drawn."""
    found = draws(range(900))
    for start in range(0, 900, 3):
        assert sorted(at[1] for at in found[start : start + 3]) == [0, 1, 2]
    orders = Counter(tuple(at[1] for at in found[start : start + 3]) for start in range(0, 900, 3))
    assert len(orders) == 6  # a round's order is drawn anew
    assert {at[2:4] for at in found if at[1] == 0} == {(top, left) for top in range(3) for left in range(4)}
    assert {at[4] for at in found} == set(range(8))


@pytest.mark.parametrize(
    ("flips", "rotations", "turns"),
    [(False, False, {0}), (True, False, {0, 4}), (False, True, {0, 1, 2, 3})],
)
def test_flips_and_rotations_can_be_switched_off(flips, rotations, turns):
    assert {at[4] for at in draws(range(200), flips=flips, rotations=rotations)} == turns


class TestMixture:
    sizes = (np.full((5, 2), 20), np.full((40, 2), 20), np.full((3, 2), 20))

    def test_without_weights_each_photo_counts_alike(self):
        """Breaks if a small source is drawn from as often as a large one."""
        found = Counter(at[:2] for at in draws(range(480), sizes=self.sizes))
        assert set(found.values()) == {10}
        assert len(found) == 48

    def test_shares_are_those_asked_for(self):
        """Breaks if weights are ignored, or are taken for each photo rather than for each source."""
        found = Counter(at[0] for at in draws(range(20_000), sizes=self.sizes, weights=[2, 1, 1]))
        assert [found[source] / 20_000 for source in range(3)] == pytest.approx([0.5, 0.25, 0.25], abs=1e-3)

    def test_each_source_goes_through_its_own_photos_in_rounds(self):
        """Breaks if photos of a source are drawn with repetition."""
        found = [at for at in draws(range(3000), sizes=self.sizes, weights=[2, 1, 1]) if at[0] == 1]
        # Places are shuffled within a round of the mixture (1,000 samples), so rounds of photos interleave.
        assert set(Counter(at[1] for at in found).values()) <= {18, 19}

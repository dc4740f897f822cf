"""The same samples in the same batches, however many processes share them."""

import pytest

from esrgan_lightning.data import UpdateSampler
from esrgan_lightning.errors import InputError


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_global_batches_do_not_depend_on_the_number_of_processes(world_size):
    """Breaks if ranks overlap, leave samples out, or take them from another update's batch."""
    parts = [UpdateSampler(batch_size=8, batches=5, rank=r, world_size=world_size) for r in range(world_size)]
    for update, shares in enumerate(zip(*parts, strict=True)):
        assert sorted(n for share in shares for n in share) == list(range(8 * update, 8 * update + 8))


def test_a_resumed_run_continues_where_it_stopped():
    """Breaks if resuming restarts the data, or if the length no longer is that of the whole run."""
    whole = list(UpdateSampler(batch_size=4, batches=6))
    rest = UpdateSampler(batch_size=4, batches=6, start=2)
    assert list(rest) == whole[2:]
    assert len(rest) == 6


@pytest.mark.parametrize(("batch_size", "world_size"), [(6, 4), (0, 1), (-2, 1)])
def test_a_batch_that_cannot_be_shared_out_is_refused(batch_size, world_size):
    with pytest.raises(InputError, match=f"data.batch_size={batch_size}"):
        UpdateSampler(batch_size=batch_size, batches=1, world_size=world_size)

import itertools
import pickle

import numpy as np
import pytest

from emulators.data.dataset import Dataset, split_rows
from emulators.data.stream import BatchStream
from emulators.errors import InputError

SMALL = 1 << 21  # bytes: two chunks of the sample to a buffer


class Counted(Dataset):
    """A data set that counts the rows it is asked for."""

    taken = 0

    def take(self, rows):
        self.taken += len(rows)
        return super().take(rows)


@pytest.fixture(scope="module")
def dataset(sample):
    return Dataset(sample)


@pytest.fixture(scope="module")
def rows(dataset):
    return split_rows(len(dataset), 0.05, 0.25, 0)["train"]


def energies(*batches) -> np.ndarray:
    """Return what tells showers apart."""
    return np.concatenate([batch.conditions["incident_energy"] for batch in batches])


@pytest.mark.parametrize("memory", [1 << 30, SMALL])
@pytest.mark.parametrize("size", [128, 1000, 2799])
def test_each_row_once_an_epoch(dataset, rows, memory, size):
    stream = BatchStream(dataset, rows, size, seed=1, memory_limit=memory)
    assert stream.in_memory == (memory > SMALL)
    expected = np.sort(energies(dataset.take(rows)))
    n = len(rows)
    seen = energies(*itertools.islice(stream, -(-2 * n // size)))
    first, second = seen[:n], seen[n : 2 * n]
    np.testing.assert_array_equal(np.sort(first), expected)
    np.testing.assert_array_equal(np.sort(second), expected)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("memory", [1 << 30, SMALL])
def test_values_stay_with_their_conditions(dataset, rows, memory):
    batch = BatchStream(dataset, rows, 64, seed=1, memory_limit=memory).batch(5)
    everything = dataset.read(0, len(dataset))
    order = np.argsort(everything.conditions["incident_energy"])
    found = np.searchsorted(everything.conditions["incident_energy"][order], energies(batch))
    np.testing.assert_array_equal(everything.values[order[found]], batch.values)


@pytest.mark.parametrize("memory", [1 << 30, SMALL])
def test_a_batch_depends_on_seed_and_index_alone(dataset, rows, memory):
    def stream(seed: int, **kwargs) -> BatchStream:
        return BatchStream(dataset, rows, 200, seed, memory_limit=memory, **kwargs)

    through = list(itertools.islice(stream(1), 40))
    for index in (39, 0, 14, 13):  # batch 13 and 14 meet the end of the first epoch
        np.testing.assert_array_equal(stream(1).batch(index).values, through[index].values)
    np.testing.assert_array_equal(next(iter(stream(1, start=17))).values, through[17].values)
    copy = pickle.loads(pickle.dumps(stream(1)))
    np.testing.assert_array_equal(copy.batch(3).values, through[3].values)
    shuffled = BatchStream(dataset, rows[::-1], 200, 1, memory_limit=memory)
    np.testing.assert_array_equal(shuffled.batch(3).values, through[3].values)
    assert not np.array_equal(stream(2).batch(0).values, through[0].values)


@pytest.mark.parametrize("memory", [1 << 30, SMALL])
def test_ranks_share_the_same_batches(dataset, rows, memory):
    alone = BatchStream(dataset, rows, 96, seed=1, memory_limit=memory)
    for world in (2, 3):
        ranks = [
            BatchStream(dataset, rows, 96, 1, rank, world, memory_limit=memory)
            for rank in range(world)
        ]
        for index in (0, 29):
            parts = [rank.batch(index) for rank in ranks]
            assert [len(part) for part in parts] == [96 // world] * world
            np.testing.assert_array_equal(energies(*parts), energies(alone.batch(index)))


def test_files_larger_than_memory_are_read_once_an_epoch_and_by_buffers(sample, rows):
    counted = Counted(sample)
    stream = BatchStream(counted, rows, 100, seed=1, memory_limit=SMALL)
    buffer = 2 * counted.chunk_rows
    stream.batch(20)
    assert counted.taken <= 2 * buffer  # not what comes before batch 20
    stream = BatchStream(counted, rows, 100, seed=1, memory_limit=SMALL)
    counted.taken = 0
    for index in range(len(rows) // 100):
        stream.batch(index)
    assert counted.taken == len(rows)
    assert sum(len(s) for s in stream._buffers.values()) <= 2 * buffer


def test_blocks_are_mixed(dataset, rows):
    # A file sorted by energy must not give batches of one energy: two chunks of eight meet.
    stream = BatchStream(dataset, np.arange(4000), 256, seed=0, memory_limit=SMALL)
    places = np.concatenate(stream._order(0))
    chunks = [set((places[i : i + 256] // 512).tolist()) for i in range(0, 1024, 256)]
    assert all(len(chunk) == 2 for chunk in chunks)
    assert set((np.concatenate(stream._order(1))[:256] // 512).tolist()) != chunks[0]


def test_a_batch_may_be_larger_than_the_data(dataset):
    batch = BatchStream(dataset, np.arange(10), 35, seed=0).batch(1)
    values, counts = np.unique(energies(batch), return_counts=True)
    assert len(values) == 10
    assert set(counts.tolist()) == {3, 4}


@pytest.mark.parametrize(
    ("rows", "size", "world", "message"),
    [
        ([], 8, 1, "no rows to train on"),
        ([1, 2], 9, 2, "batch size 9 cannot be shared equally by 2 processes"),
        ([1, 2], 0, 1, "batch size 0"),
    ],
)
def test_impossible_streams(dataset, rows, size, world, message):
    with pytest.raises(InputError, match=message):
        BatchStream(dataset, rows, size, seed=0, world_size=world)

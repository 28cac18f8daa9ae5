import multiprocessing
import pickle

import h5py
import numpy as np
import pytest

from emulators.data import hdf5
from emulators.data.dataset import Dataset
from emulators.data.hdf5 import HDF5Reader, HDF5Writer, content_hash
from emulators.data.spec import Column
from emulators.errors import InputError


def external_link(path, other):
    with h5py.File(path, "w") as file:
        file.create_group("run")["layer_0"] = h5py.ExternalLink(other, "layer_0")


def virtual(path, other):
    layout = h5py.VirtualLayout((4, 1), "f8")
    layout[:] = h5py.VirtualSource(other, "energy", (64, 1))[:4]
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("energy", layout)


def external_storage(path, other):
    with h5py.File(path, "w") as file:
        file.create_dataset("energy", (4, 1), "f8", external=[(str(other), 0, 32)])


def claims_chunks(path, other):
    with h5py.File(path, "w") as file:
        claimed = file.create_dataset("showers", (10**9, 368), "f8", chunks=(100, 368))
        claimed[:100] = 1


def claims_contiguous(path, other):
    with h5py.File(path, "w") as file:
        file.create_dataset("showers", (10**9, 368), "f8")


def one_huge_chunk(path, other):
    with h5py.File(path, "w") as file:
        claimed = file.create_dataset(
            "showers", (1, 504), "f8", chunks=(2**17, 504), maxshape=(None, 504), compression="gzip"
        )
        claimed.id.write_direct_chunk((0, 0), b"x")


def truncated(path, other):
    path.write_bytes(other.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (external_link, "'run/layer_0' is a link to another file"),
        (virtual, "'energy' keeps its data in other files"),
        (external_storage, "'energy' keeps its data in other files"),
        (claims_chunks, "stores 1 of its 10,000,000 chunks"),
        (claims_contiguous, "but stores 0 bytes"),
        (one_huge_chunk, "one chunk of 'showers' takes 0.5 GiB of memory"),
        (truncated, "truncated at"),
        (lambda path, other: path.write_text("energy,layer_0\n1,2\n"), "not an HDF5 file"),
        (lambda path, other: path.write_bytes(b""), "the file is empty"),
        (lambda path, other: path.mkdir(), "not a file"),
        (lambda path, other: None, "no such file"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, shower_file, monkeypatch, make, message):
    monkeypatch.setattr(hdf5, "available_memory", lambda: 2**28)
    path = tmp_path / "bad.h5"
    make(path, shower_file)
    with pytest.raises(InputError, match=message) as error:
        HDF5Reader(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_soft_links_inside_the_file_are_followed(tmp_path, write_showers):
    path = write_showers(tmp_path / "x.h5", 5)
    with h5py.File(path, "a") as file:
        file.move("energy", "store/energy")
        file["energy"] = h5py.SoftLink("/store/energy")
    assert len(Dataset(path).read(0, 5)) == 5


def test_reader_opens_again_after_pickling_and_closing(shower_file):
    reader = HDF5Reader(shower_file)
    handle = reader.file
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.file["energy"].shape == (64, 1)
    assert reader.file is handle
    reader.close()
    assert not handle
    assert reader.file["energy"].shape == (64, 1)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork beside threads
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_read_one_file_side_by_side(sample, method):
    dataset = Dataset(sample)
    expected = dataset.read(0, len(dataset)).values  # the handle is open when the workers start
    spans = [(dataset, start, start + 500) for start in range(0, 4000, 500)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        parts = pool.starmap(Dataset.read, spans, chunksize=1)
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), expected)
    np.testing.assert_array_equal(dataset.read(0, 10).values, expected[:10])


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(hdf5, "SHARD_BYTES", 1)  # one chunk of 512 showers a shard


def fill(writer, dataset, step, stop=None):
    with writer:
        for start in range(writer.written, writer.n, step):
            if stop is not None and start >= stop:
                raise KeyboardInterrupt
            writer.append(dataset.read(start, min(start + step, writer.n)))


@pytest.mark.parametrize(("step", "kept"), [(100, 1024), (512, 1536), (1300, 1024)])
def test_interrupted_writing_goes_on_and_ends_in_the_same_bytes(
    tmp_path, sample, small_shards, step, kept
):
    dataset = Dataset(sample)
    whole, resumed = tmp_path / "whole.h5", tmp_path / "resumed.h5"
    fill(HDF5Writer(whole, dataset.spec, 1700, attributes={"seed": 3}), dataset, 700)
    job = {"attributes": {"seed": 3}, "resume": True}
    with pytest.raises(KeyboardInterrupt):
        fill(HDF5Writer(resumed, dataset.spec, 1700, **job), dataset, step, stop=1100)
    assert not resumed.exists()
    writer = HDF5Writer(resumed, dataset.spec, 1700, **job)
    assert writer.written == kept  # whole chunks
    fill(writer, dataset, step)
    assert content_hash(resumed) == content_hash(whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["resumed.h5", "whole.h5"]
    np.testing.assert_array_equal(Dataset(whole).read(0, 1700).values, dataset.read(0, 1700).values)


def test_a_half_written_shard_does_not_count(tmp_path, sample, small_shards):
    dataset = Dataset(sample)
    path = tmp_path / "x.h5"
    with pytest.raises(KeyboardInterrupt):
        fill(HDF5Writer(path, dataset.spec, 1024, resume=True), dataset, 512, stop=512)
    (tmp_path / "x.h5.part" / "000000000512.tmp").write_bytes(b"half of it")
    writer = HDF5Writer(path, dataset.spec, 1024, resume=True)
    assert writer.written == 512
    fill(writer, dataset, 512)
    np.testing.assert_array_equal(Dataset(path).read(0, 1024).values, dataset.read(0, 1024).values)


def test_another_job_does_not_go_on(tmp_path, sample, small_shards):
    dataset = Dataset(sample)
    path = tmp_path / "x.h5"
    with pytest.raises(KeyboardInterrupt):
        fill(
            HDF5Writer(path, dataset.spec, 1024, attributes={"seed": 1}, resume=True), dataset, 9, 9
        )
    with pytest.raises(InputError, match="begun by a job that differs in n, seed"):
        HDF5Writer(path, dataset.spec, 1025, attributes={"seed": 2}, resume=True)


def test_failed_writing_leaves_nothing(tmp_path, sample):
    dataset = Dataset(sample)
    with pytest.raises(KeyboardInterrupt):
        fill(HDF5Writer(tmp_path / "x.h5", dataset.spec, 900), dataset, 512, stop=512)
    assert not list(tmp_path.iterdir())
    writer = HDF5Writer(tmp_path / "x.h5", dataset.spec, 900)
    with pytest.raises(ValueError, match="10 of 900 samples were written"), writer:
        writer.append(dataset.read(0, 10))
    assert not list(tmp_path.iterdir())


def test_existing_target_is_kept_until_the_new_one_is_whole(tmp_path, sample):
    dataset = Dataset(sample)
    path = tmp_path / "x.h5"
    path.write_text("precious")
    with pytest.raises(InputError, match=r"x\.h5 exists"):
        HDF5Writer(path, dataset.spec, 4)
    with HDF5Writer(path, dataset.spec, 4, overwrite=True) as writer:
        assert path.read_text() == "precious"
        writer.append(dataset.read(0, 4))
    assert len(Dataset(path)) == 4
    with pytest.raises(InputError, match="file of 0 samples"):
        HDF5Writer(tmp_path / "y.h5", dataset.spec, 0)
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        HDF5Writer(path / "z.h5", dataset.spec, 4)


BESIDE = {
    "seconds": Column((), "s", "CPU time"),
    "simulation": Column((), "", "number of the run", dtype="i8"),
    "impact": Column((2,), "mm", "where it enters", ("axis",), "f8"),
}


def entries(start, stop):
    rows = np.arange(start, stop)
    return {"simulation": rows, "seconds": rows / 7, "impact": np.stack([rows, -rows], 1) / 3}


def fill_beside(writer, dataset, step, stop=None):
    samples = dataset.read(0, writer.n)
    with writer:
        for start in range(writer.written, stop or writer.n, step):
            end = min(start + step, writer.n)
            writer.append(samples[start:end], entries(start, end))
        if stop is not None:
            raise KeyboardInterrupt


def test_data_sets_beside_the_samples_say_what_they_are(tmp_path, sample, small_shards):
    dataset, path = Dataset(sample), tmp_path / "x.h5"
    fill_beside(HDF5Writer(path, dataset.spec, 700, beside=BESIDE), dataset, 90)
    written = Dataset(path)
    assert written.beside == BESIDE
    expected = entries(0, 700)
    for key, column in BESIDE.items():
        np.testing.assert_array_equal(written.column(key), expected[key].astype(column.dtype))
    with h5py.File(path) as file:
        assert dict(file["impact"].attrs) == {
            "units": "mm", "description": "where it enters", "axes": "sample, axis"
        }  # fmt: skip
        assert file["impact"].chunks == (512, 2)  # as the samples, so that shards align


@pytest.mark.parametrize(("step", "kept"), [(1, 1024), (300, 1024), (1100, 1024)])
def test_what_is_beside_is_resumed_too(tmp_path, sample, step, kept):
    dataset = Dataset(sample)
    whole, resumed = tmp_path / "whole.h5", tmp_path / "resumed.h5"
    job = {"beside": BESIDE, "shard_rows": 1}  # of one chunk each
    fill_beside(HDF5Writer(whole, dataset.spec, 1700, **job), dataset, 1700)
    with pytest.raises(KeyboardInterrupt):
        fill_beside(
            HDF5Writer(resumed, dataset.spec, 1700, resume=True, **job), dataset, step, 1100
        )
    for other in (
        {"shard_rows": 1},
        {"shard_rows": 513, "beside": BESIDE},
        {"shard_rows": 1, "beside": BESIDE | {"seconds": Column((), "h", "CPU time")}},
    ):
        with pytest.raises(InputError, match=r"by a job that differs in (data set|shard_rows)"):
            HDF5Writer(resumed, dataset.spec, 1700, resume=True, **other)
    writer = HDF5Writer(resumed, dataset.spec, 1700, resume=True, **job)
    assert writer.written == kept
    fill_beside(writer, dataset, step)
    assert content_hash(resumed) == content_hash(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.pop("seconds"), "came simulation, impact, announced were seconds, simulation"),
        (lambda e: e.update(pdg=np.ones(4)), "came simulation, seconds, impact, pdg, announced"),
        (lambda e: e.update(impact=np.ones((4, 3))), r"impact has shape \(4, 3\), not \(4, 2\)"),
        (lambda e: e.update(seconds=np.ones(1)), r"seconds has shape \(1,\), not \(4,\)"),
        (lambda e: e.update(overflow=np.ones((4, 3))), "samples before came simulation, seconds"),
    ],
)
def test_other_entries_than_announced_are_refused(tmp_path, shower_file, change, message):
    dataset = Dataset(shower_file)
    wrong = entries(4, 8)
    change(wrong)
    writer = HDF5Writer(tmp_path / "x.h5", dataset.spec, 8, beside=BESIDE)
    writer.append(dataset.read(0, 4), entries(0, 4))
    with pytest.raises(ValueError, match=message), writer:
        writer.append(dataset.read(4, 8), wrong)
    assert not list(tmp_path.iterdir())


def test_a_writer_refuses_what_it_cannot_hold(tmp_path, shower_file):
    dataset = Dataset(shower_file)
    with pytest.raises(ValueError, match="layout calogan has energy itself"):
        HDF5Writer(tmp_path / "x.h5", dataset.spec, 8, beside={"energy": BESIDE["seconds"]})
    with (
        pytest.raises(ValueError, match="2 samples more than the 8 announced"),
        HDF5Writer(tmp_path / "x.h5", dataset.spec, 8) as writer,
    ):
        writer.append(dataset.read(0, 10))

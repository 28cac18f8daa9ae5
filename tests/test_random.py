import numpy as np

from emulators import random


def test_streams_depend_on_their_coordinates_alone():
    first = random.stream(3, "noise", 7).standard_normal(5)
    random.stream(4, "other").standard_normal(100)
    np.testing.assert_array_equal(random.stream(3, "noise", 7).standard_normal(5), first)
    for other in ((4, "noise", 7), (3, "noise", 8), (3, "nois", 7), (3, "noise", "7")):
        assert not np.array_equal(random.stream(*other).standard_normal(5), first)


def test_streams_are_the_same_on_every_machine():
    found = random.stream(0, "a", 1).integers(0, 1000, 4)
    np.testing.assert_array_equal(found, [513, 261, 980, 225])


def test_sample_i_does_not_depend_on_the_request():
    for draw in (random.normals, random.uniforms):
        whole = draw(1, "latent", 0, 1000, 3)
        assert whole.dtype == np.float32
        for start, stop in ((0, 1), (255, 257), (256, 512), (300, 1000), (999, 1000), (5, 5)):
            np.testing.assert_array_equal(draw(1, "latent", start, stop, 3), whole[start:stop])


def test_numbers_are_what_they_are_called():
    z, u = random.normals(0, "z", 0, 20_000, 2), random.uniforms(0, "u", 0, 20_000, 2)
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1) < 0.02
    assert abs(np.corrcoef(z[1:, 0], z[:-1, 0])[0, 1]) < 0.03
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 0.01

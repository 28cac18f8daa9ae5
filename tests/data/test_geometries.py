import math

import numpy as np
import pytest

from emulators.data import geometries
from emulators.data.spec import SampleSpec
from emulators.errors import InputError

# What the published files hold, in their form; one unused layer, one split in alpha.
XML = """<Bins>
   <Bin pid="22" etaMin="0" etaMax="130" name="photon">
      <Layer id="0" r_edges="0,5,10" n_bin_alpha="1" />
      <Layer id="1" r_edges="0,2,4,6" n_bin_alpha="10"/>
      <Layer id="4" r_edges="0" n_bin_alpha="1" />
   </Bin>
</Bins>"""


@pytest.mark.parametrize(
    ("name", "layers", "cells"),
    [("1-photons", 5, 368), ("1-pions", 7, 533), ("2", 45, 6480), ("3", 45, 40500)],
)
def test_calochallenge_has_the_published_voxels(name, layers, cells):
    geometry = geometries.calochallenge(name)
    assert (len(geometry.layers), geometry.n_cells) == (layers, cells)
    assert all(layer.axes == ("alpha", "r") for layer in geometry.layers)
    assert geometry.layers[0].edges[0][0] == -math.pi


def test_calochallenge_2_and_3_reach_equally_far():
    second, third = (geometries.calochallenge(name).layers[-1] for name in "23")
    assert second.edges[1][:3] == (0, 4.65, 9.3)
    assert third.edges[1][:3] == (0, 2.325, 4.65)
    assert second.edges[1][-1] == third.edges[1][-1] == 41.85
    assert second.depth == (149.6, 153.0)


def test_calogan_covers_the_block():
    geometry = geometries.calogan()
    assert geometry.n_cells == 504
    assert [layer.shape for layer in geometry.layers] == [(3, 96), (12, 12), (12, 6)]
    assert [np.diff(layer.edges[0])[0] for layer in geometry.layers] == [160, 40, 40]
    assert [np.diff(layer.edges[1])[0] for layer in geometry.layers] == [5, 40, 80]
    thickness = [layer.depth[1] - layer.depth[0] for layer in geometry.layers]
    assert thickness == [90, 347, 43]
    x, y = geometry.layers[1].centres
    assert (x[0, 0], x[1, 0], y[0, 1]) == (-220, -180, -180)


def test_unknown_data_set_names_the_nearest():
    with pytest.raises(InputError, match="did you mean '1-photons'"):
        geometries.calochallenge("1-photon")


def test_binning_xml_leaves_out_unused_layers(tmp_path):
    path = tmp_path / "binning.xml"
    path.write_text(XML)
    geometry = geometries.from_binning_xml(path, "photon")
    assert [layer.name for layer in geometry.layers] == ["layer_0", "layer_1"]
    assert [layer.shape for layer in geometry.layers] == [(1, 2), (10, 3)]
    assert geometry.layers[0].edges[1] == (0, 5, 10)
    np.testing.assert_allclose(geometry.layers[1].edges[0], np.linspace(-np.pi, np.pi, 11))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<Bins><Bin", "not a readable XML file"),
        ("<Grid/>", "not a binning file"),
        ("<Bins/>", "not a binning file"),
        (XML.replace("photon", "photons"), "did you mean 'photons'"),
        (XML.replace("n_bin_alpha", "n_alpha"), "layer 0: attribute 'n_bin_alpha' is missing"),
        (XML.replace("0,2,4,6", "0,two"), "layer 1: could not convert string to float: 'two'"),
        (XML.replace("0,2,4,6", "0,4,2"), "layer 1: edges along r of layer layer_1 do not incr"),
        (XML.replace("0,2,4,6", "0,nan,6"), "layer 1: r_edges must be finite"),
        (XML.replace("0,2,4,6", "-1,2"), "layer 1: r_edges must be finite and not negative"),
        (XML.replace('"10"', '"0"'), "layer 1: n_bin_alpha is 0"),
        (XML.replace("0,5,10", "0").replace("0,2,4,6", "0"), "no layer of 'photon'"),
        (XML.replace("</Bins>", '<Bin name="photon"/></Bins>'), "2 ranges in eta"),
    ],
)
def test_bad_binning_xml(tmp_path, text, message):
    path = tmp_path / "binning.xml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        geometries.from_binning_xml(path, "photon")
    assert str(path) in str(error.value)


def test_absent_binning_xml(tmp_path):
    with pytest.raises(InputError, match="no such binning file"):
        geometries.from_binning_xml(tmp_path / "none.xml", "photon")


@pytest.mark.parametrize("name", ["1-pions", "3"])
def test_geometry_survives_the_way_through_plain_values(name):
    geometry = geometries.calochallenge(name)
    spec = SampleSpec("shower", "calochallenge", (geometry.n_cells,), "MeV", (), geometry)
    assert SampleSpec.from_mapping(spec.to_mapping()) == spec

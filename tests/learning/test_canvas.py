"""Images at random places of a canvas. Oracles: the image itself cut out again, the uniform distribution."""

import numpy as np
from scipy.stats import chisquare

from learning.data.canvas import on_canvas


def test_each_image_lies_whole_on_black() -> None:
    pixels = np.random.default_rng(1).integers(1, 256, (30, 3, 4, 6), dtype=np.uint8)
    shown = on_canvas(pixels, np.arange(30), 9, "some")
    assert shown.shape == (30, 3, 9, 9)
    assert shown.dtype == np.uint8
    for image, canvas in zip(pixels, shown, strict=True):
        rows, columns = (np.flatnonzero(canvas.any(axis=(0, axis))) for axis in (2, 1))
        assert (len(rows), len(columns)) == (4, 6)
        assert np.array_equal(canvas[:, rows[0] :, columns[0] :][:, :4, :6], image)
        assert canvas.sum() == image.sum()  # nothing else


def test_all_places_are_equally_likely() -> None:
    """Sides of 2 and 3 on a side of 5: four places by three."""
    shown = on_canvas(np.ones((6000, 1, 2, 3)), np.arange(6000), 5, "some")
    places = shown.reshape(6000, 25).argmax(axis=1)
    found, counts = np.unique(places, return_counts=True)
    assert found.tolist() == [0, 1, 2, 5, 6, 7, 10, 11, 12, 15, 16, 17]
    assert chisquare(counts).pvalue > 1e-3


def test_the_place_of_an_image_is_that_of_its_row_and_data_set() -> None:
    pixels, rows = np.ones((40, 1, 2, 2)), np.arange(40)
    whole, some = on_canvas(pixels, rows, 8, "some"), np.array([31, 4, 17])
    assert np.array_equal(on_canvas(pixels[:3], some, 8, "some"), whole[some])
    assert not np.array_equal(on_canvas(pixels, rows, 8, "other"), whole)


def test_without_a_canvas_and_on_one_of_their_size_images_are_as_they_were() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 1, 4, 4), dtype=np.uint8)
    assert on_canvas(pixels, np.arange(5), None, "some") is pixels
    assert np.array_equal(on_canvas(pixels, np.arange(5), 4, "some"), pixels)

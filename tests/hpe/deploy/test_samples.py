"""Which faces calibrate, and which others an exported file is compared on."""

import numpy as np
import pytest

from hpe.data.faces import load_faces
from hpe.deploy.samples import export_samples, parity_shares
from tests.face_files import csv_rows, write_csv_folder


def distinct(crops):
    return {crop.tobytes() for crop in crops}


def test_parity_faces_are_others_than_those_that_calibrate_and_come_from_all_sources():
    samples = export_samples("synthetic:easy:60:1+synthetic:easy:12:2+synthetic:easy:40:3")
    calibrate, compare = distinct(samples.calibration), distinct(samples.parity)
    assert not calibrate & compare
    assert len(calibrate) == len(samples.calibration) == 84
    assert len(compare) == len(samples.parity) == 28
    for spec, count in (("synthetic:easy:60:1", 15), ("synthetic:easy:12:2", 3), ("synthetic:easy:40:3", 10)):
        alone = export_samples(spec)
        everything = distinct(alone.calibration) | distinct(alone.parity)
        assert len(compare & everything) == count
    poses = [load_faces(f"synthetic:easy:{part}").pose_deg for part in ("60:1", "12:2", "40:3")]
    assert samples.pose_range_deg == (min(p.min() for p in poses), max(p.max() for p in poses))
    again = export_samples("synthetic:easy:60:1+synthetic:easy:12:2+synthetic:easy:40:3")
    np.testing.assert_array_equal(samples.parity, again.parity)
    np.testing.assert_array_equal(samples.calibration, again.calibration)


@pytest.mark.parametrize(
    ("sizes", "shares"),
    [
        ([28_564, 3_000], [32, 32]),
        ([28_564], [64]),
        ([28_564, 40, 3_000], [27, 10, 27]),
        ([48], [12]),
        ([3], [0]),
        ([3, 9], [0, 2]),
    ],
)
def test_sources_share_the_comparison_alike_as_far_as_they_reach(sizes, shares):
    assert parity_shares(sizes, 64) == shares


def test_within_a_source_they_are_spread_over_its_files(tmp_path):
    """A folder's rows are often in the order of where they came from."""
    folder = write_csv_folder(tmp_path / "faces", csv_rows(40))
    samples = export_samples(f"csv:{folder}")
    from hpe.pose.crop import centre_crop

    crops = [crop.tobytes() for crop in centre_crop(load_faces(f"csv:{folder}").images)]
    positions = sorted(crops.index(crop.tobytes()) for crop in samples.parity)
    assert positions == [2, 6, 10, 14, 18, 22, 26, 30, 34, 38]

"""The proportions of an adult head: one table of published means, and the 68 landmarks that follow from it.

Sources: Farkas, Katic and Forrest, "International anthropometric study of facial morphology in various ethnic
groups/races", J. Craniofacial Surgery 16(4), 2005, and Farkas, "Anthropometry of the Head and Face", 2nd ed., 1994
(North American white young adults, men and women); Gordon et al., "2012 Anthropometric Survey of U.S. Army
Personnel" (ANSUR II), NATICK/TR-15/007, 2014. One head serves both sexes, so it is built from the mean of the two.
Both publications were found, but the figures below were not compared with their tables. Chosen by eye, not published:
where nasion, tragion, nose tip, brow and ear lie against the pupils, the depths (z) of the landmarks, the outlines and
the relief in `surface`, the spread of the morphs, and all that is soft: hair, eyes, skin, clothes.
"""

from typing import NamedTuple

import numpy as np


class Measure(NamedTuple):
    """One published distance, in millimetres."""

    men: float
    women: float
    source: str

    @property
    def mean(self) -> float:
        return (self.men + self.women) / 2


# Farkas' landmarks: v vertex, g glabella, n nasion, prn nose tip, sn subnasale, sto stomion, gn gnathion, op back of
# the head, eu widest points of the skull, zy of the cheek bones, go corners of the jaw, en and ex corners of the eye,
# al wings of the nose, ch corners of the mouth, tr hairline, t tragion.
MEASURES = {
    "head_breadth": Measure(154, 148, "ANSUR II head breadth (eu-eu)"),
    "head_length": Measure(199, 189, "ANSUR II head length (g-op)"),
    "tragion_to_top": Measure(131, 127, "ANSUR II tragion-top of head (t-v, vertical)"),
    "face_breadth": Measure(139.1, 130.0, "Farkas zy-zy"),
    "jaw_breadth": Measure(105.6, 94.5, "Farkas go-go"),
    "forehead_height": Measure(67.1, 63.0, "Farkas tr-n"),
    "face_height": Measure(124.7, 111.4, "Farkas n-gn"),
    "nose_height": Measure(54.8, 50.6, "Farkas n-sn"),
    "upper_face_height": Measure(76.6, 69.4, "Farkas n-sto"),
    "inner_eye_distance": Measure(33.3, 31.8, "Farkas en-en"),
    "outer_eye_distance": Measure(91.2, 87.8, "Farkas ex-ex"),
    "eye_opening": Measure(10.8, 10.9, "Farkas ps-pi"),
    "nose_breadth": Measure(34.9, 31.4, "Farkas al-al"),
    "nose_protrusion": Measure(19.5, 19.7, "Farkas sn-prn"),
    "mouth_breadth": Measure(54.5, 50.2, "Farkas ch-ch"),
    "ear_length": Measure(62.7, 58.5, "Farkas sa-sba"),
}

# The origin is midway between the pupils. The bridge of the nose lies a little above, the ear hole a little below.
NASION_Y = 8.0
TRAGION_Y = -19.0

EYE_X = (MEASURES["inner_eye_distance"].mean + MEASURES["outer_eye_distance"].mean) / 4
EYE_HALF_WIDTH = (MEASURES["outer_eye_distance"].mean - MEASURES["inner_eye_distance"].mean) / 4
EYE_HALF_HEIGHT = MEASURES["eye_opening"].mean / 2
TOP_Y = TRAGION_Y + MEASURES["tragion_to_top"].mean
HAIRLINE_Y = NASION_Y + MEASURES["forehead_height"].mean
SUBNASALE_Y = NASION_Y - MEASURES["nose_height"].mean
MOUTH_Y = NASION_Y - MEASURES["upper_face_height"].mean
CHIN_Y = NASION_Y - MEASURES["face_height"].mean
HALF_FACE = MEASURES["face_breadth"].mean / 2
HALF_HEAD = MEASURES["head_breadth"].mean / 2
HALF_JAW = MEASURES["jaw_breadth"].mean / 2
HALF_NOSE = MEASURES["nose_breadth"].mean / 2
HALF_MOUTH = MEASURES["mouth_breadth"].mean / 2
BROW_Z = 19.0  # the glabella; the origin lies this far behind it
BACK_Z = BROW_Z - MEASURES["head_length"].mean
NOSE_TIP_Y = SUBNASALE_Y + 11.0
EAR_Z = -76.0


def landmarks_68() -> np.ndarray:
    """The 68 landmarks of the iBUG scheme (as in 300W-LP) on the mean head, (68, 3) mm; z is approximate.

    Order: jaw line from the image's left to right (17), brows (10), nose (9), eyes (12), outer and inner lips (20).
    """
    half_jaw = [  # from the tragion to the gonion to the chin
        (-HALF_FACE, -4, -66), (-HALF_FACE + 1, -22, -64), (-HALF_FACE + 4, -41, -61), (-HALF_JAW - 8, -59, -55),
        (-HALF_JAW + 1, -76, -45), (-HALF_JAW + 12, -91, -30), (-27, -102, -14), (-14, CHIN_Y + 1, -3),
    ]  # fmt: skip
    half_brow = [(-54, 17, -4), (-46, 24, 5), (-36, 27, 11), (-25, 26, 15), (-14, 22, 17)]
    bridge = [(0, y, z) for y, z in ((5, 13), (-6, 20), (-17, 28), (NOSE_TIP_Y, 37))]
    half_nostril = [(-11, SUBNASALE_Y + 3, 16), (-6, SUBNASALE_Y, 19)]
    inner, outer = EYE_X - EYE_HALF_WIDTH, EYE_X + EYE_HALF_WIDTH
    lid, third = 0.8 * EYE_HALF_HEIGHT, EYE_HALF_WIDTH / 3
    left_eye = [
        (-outer, 0, 2), (-EYE_X - third, lid, 8), (-EYE_X + third, lid, 8), (-inner, -1, 4),
        (-EYE_X + third, -lid, 7), (-EYE_X - third, -lid, 6),
    ]  # fmt: skip
    upper_lip = [(-HALF_MOUTH, MOUTH_Y, 2), (-16, MOUTH_Y + 6, 12), (-5, MOUTH_Y + 9, 17)]
    lower_lip = [(-14, MOUTH_Y - 8, 10), (-5, MOUTH_Y - 10, 14)]
    inner_lips = [(-HALF_MOUTH + 5, MOUTH_Y, 6), (-8, MOUTH_Y + 1, 13)]

    jaw = [*half_jaw, (0, CHIN_Y, 0), *_mirror(half_jaw)]
    brows = [*half_brow, *_mirror(half_brow)]
    nose = [*bridge, *half_nostril, (0, SUBNASALE_Y, 20), *_mirror(half_nostril)]
    right_eye = [_flip(left_eye[i]) for i in (3, 2, 1, 0, 5, 4)]
    outer_lips = [*upper_lip, (0, MOUTH_Y + 8, 18), *_mirror(upper_lip), *_mirror(lower_lip), (0, MOUTH_Y - 10, 15)]
    outer_lips += lower_lip[::-1]
    inside = [*inner_lips, (0, MOUTH_Y + 1, 15), *_mirror(inner_lips), (8, MOUTH_Y - 1, 13), (0, MOUTH_Y - 1, 14)]
    inside += [(-8, MOUTH_Y - 1, 13)]
    return np.array([*jaw, *brows, *nose, *left_eye, *right_eye, *outer_lips, *inside], np.float64)


def _flip(point: tuple) -> tuple:
    return (-point[0], *point[1:])


def _mirror(points: list) -> list:
    return [_flip(point) for point in reversed(points)]

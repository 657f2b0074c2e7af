"""One head from draw to pixels: a Scene holds everything random, `paint` turns it into a picture."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpe.rotation import euler_to_matrix
from hpe.synthetic.accessories import Glasses, Hat
from hpe.synthetic.backdrop import Backdrop, Occluder
from hpe.synthetic.body import NECK_PIVOT, Body, Ears, Eyes
from hpe.synthetic.camera import Camera, splat, standard_box, to_pixels
from hpe.synthetic.degradation import Degradation
from hpe.synthetic.draws import Draws
from hpe.synthetic.geometry import NORMAL, POSITION, grid_normals, surfels
from hpe.synthetic.hair import CURTAIN_COLUMNS, CURTAIN_ROWS, Hair, curtain, grow
from hpe.synthetic.light import Light
from hpe.synthetic.morphs import Person
from hpe.synthetic.skin import Skin
from hpe.synthetic.surface import COLUMNS, ROWS, head_surface

ZERO_PITCH_DEG = 3.0
"""How far the head as modelled is tipped up in the pose that 300W-LP calls zero. Anatomy does not fix that zero, the
stance of a mean 3D face model; it is set so that FSA-Net reads renders with the bias it has on photographs."""

_OVERSAMPLING = 1.25  # pixels are rendered this much finer, then averaged


@dataclass(frozen=True)
class Preset:
    """What a set of heads contains."""

    stream: int
    """Number of its random stream; presets that share it show the same heads in the same poses."""
    wide: bool
    """Poses: |yaw| to 99 degrees, or to 60 and mostly upright."""
    glasses: float
    """Probability."""
    hat: float
    """Probability."""
    occluder: float
    """Probability."""
    degraded: bool


PRESETS = {
    "easy": Preset(stream=1, wide=False, glasses=0.1, hat=0.0, occluder=0.0, degraded=False),
    "full": Preset(stream=2, wide=True, glasses=0.25, hat=0.14, occluder=0.12, degraded=True),
    "clean": Preset(stream=2, wide=True, glasses=0.25, hat=0.14, occluder=0.0, degraded=False),
}
"""`easy`: moderate poses, clean pictures. `full`: everything. `clean`: the heads of `full`, undegraded, unoccluded."""


def draw_pose(draws: Draws, wide: bool) -> np.ndarray:
    """(yaw, pitch, roll) in degrees, (3,) float32."""
    flat, flat_pitch, flat_roll = draws.chance(0.5), draws.chance(0.12), draws.chance(0.1)
    yaw = (draws.uniform(-99, 99), draws.normal(28))[not flat]
    pitch = (draws.uniform(-55, 55), draws.normal(17) - 2)[not flat_pitch]
    roll = (draws.uniform(-55, 55), draws.normal(12))[not flat_roll]
    if not wide:
        yaw, pitch, roll = yaw * 60 / 99, pitch * 0.55, roll * 0.5
    calm = 1 - 0.45 * (yaw / 99) ** 2  # at profile, pitch and roll are smaller, as in photographs
    return np.array([yaw, pitch * calm, roll * calm], np.float32)


@dataclass(frozen=True)
class Scene:
    """Everything about one picture, drawn before anything is painted."""

    pose_deg: np.ndarray
    person: Person
    skin: Skin
    hair: Hair
    ears: Ears
    eyes: Eyes
    glasses: Glasses
    hat: Hat
    body: Body
    light: Light
    camera: Camera
    backdrop: Backdrop
    occluder: Occluder
    degradation: Degradation | None

    @classmethod
    def draw(cls, seed: int, index: int, preset: Preset) -> "Scene":
        draws = Draws(seed, index, preset.stream)
        pose_deg = draw_pose(draws, preset.wide)
        person = Person.draw(draws)
        skin = Skin.draw(draws, person.female)
        scene = cls(
            pose_deg=pose_deg,
            person=person,
            skin=skin,
            hair=Hair.draw(draws, person.female, dark_skin=skin.tone > 0.55),
            ears=Ears.draw(draws),
            eyes=Eyes.draw(draws, dark_skin=skin.tone > 0.55),
            glasses=Glasses.draw(draws, preset.glasses),
            hat=Hat.draw(draws, preset.hat, person.female),
            body=Body.draw(draws, person.female),
            light=Light.draw(draws, skin.colour),
            camera=Camera.draw(draws),
            backdrop=Backdrop.draw(draws),
            occluder=Occluder.draw(draws, preset.occluder, skin.colour),
            degradation=Degradation.draw(draws) if preset.degraded else None,
        )
        return scene

    def build(self) -> tuple[np.ndarray, np.ndarray]:
        """All surfels (11, n) and the 68 landmarks (3, 68) in camera axes, mm from the joint of the neck."""
        rotation, trunk = _rotations(np.stack([self.pose_deg, self.body.pose_deg(self.pose_deg)]))
        head, landmarks, half_width = self._head()
        parts = [head]
        scarf = self.hat.kind == "scarf"
        if not scarf and not self.hair.hides_ears:
            parts.append(self.ears.build(half_width, 1 + self.person.weights["height"], self.skin.colour))
        if (eyes := self.eyes.build(landmarks)) is not None:
            parts.append(eyes)
        if scarf:
            parts.append(curtain(self.hair, half_width, self.hat.colour, 1.0, loose=0.3))
        elif self.hair.style == "long":
            shade = self.hair.shade(CURTAIN_ROWS, CURTAIN_COLUMNS)
            parts.append(curtain(self.hair, half_width, self.hair.colour, shade))
        if self.glasses.worn:
            parts.append(self.glasses.build(landmarks, half_width))
        if (brim := self.hat.build_brim(landmarks, half_width)) is not None:
            parts.append(brim)
        parts.append(self.body.build(rotation.T @ trunk, self.skin.colour))
        scene = np.concatenate(parts, axis=1)
        scene[POSITION] = rotation @ (scene[POSITION] - NECK_PIVOT[:, None])
        scene[NORMAL] = rotation @ scene[NORMAL]
        return scene, rotation @ (landmarks - NECK_PIVOT[:, None])

    def _head(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Surfels of the head with hair and hat on, the bare head's landmarks (3, 68), half its width at the ears."""
        surface = head_surface()
        points = self.person.shape()
        landmarks = points[:, surface.landmarks]
        half_width = float(landmarks[0, 16] - landmarks[0, 0]) / 2
        albedo = self.skin.paint(self.hair.colour, self.person)
        hair_cover, hair_depth = self.hair.cover()
        hat_cover, hat_depth = self.hat.cover()
        albedo += hair_cover * (self.hair.colour[:, None] * self.hair.shade(ROWS, COLUMNS) - albedo)
        if self.hat.kind != "none":
            albedo += hat_cover * (self.hat.colour[:, None] - albedo)
            hair_depth = np.maximum(np.minimum(hair_depth, 6), hat_depth)
        grow(points, hair_depth, surface)
        normals = grid_normals(points, ROWS, COLUMNS, closed=True)
        return surfels(points, normals, albedo, surface.cavity, 0.5 - 0.25 * hair_cover), landmarks, half_width

    def paint(self, size: int, margin: int) -> np.ndarray:
        """The picture, uint8 (size + 2 margin, size + 2 margin, 3); its middle is the standard crop."""
        side = size + 2 * margin
        surfel, landmarks = self.build()
        covered, number, fine_side = self.rasterise(surfel, landmarks, size, margin)
        layer = np.zeros((4, fine_side * fine_side), np.float32)  # linear red, green, blue and coverage
        colour = self.light.shade(np.take(surfel, number, axis=1), surfel)
        for channel, values in zip(layer, (*np.minimum(colour, 1.5), 1), strict=True):
            channel[covered] = values
        head, cover = np.split(_average(layer.reshape(4, fine_side, fine_side), side), [3])
        picture = head + (1 - cover) * self.backdrop.paint(side)
        self.occluder.cover(picture)
        picture = np.sqrt(np.minimum(picture, 1))  # to display values: gamma 2, near enough to sRGB
        if self.degradation is not None:
            picture = self.degradation.apply(picture, size)
        return np.ascontiguousarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))

    def rasterise(
        self, surfel: np.ndarray, landmarks: np.ndarray, size: int, margin: int
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """The covered pixels (m,) of the fine picture, the surfel seen at each (m,), and the fine picture's side."""
        side = size + 2 * margin
        fine_side = round(_OVERSAMPLING * side)
        fine_size = size * fine_side / side
        box = standard_box(*self.camera.project(landmarks))
        column, row = to_pixels(*self.camera.project(surfel[POSITION]), box, fine_size, (fine_side - fine_size) / 2)
        return *splat(surfel[2], column, row, fine_side, reach=max(2, round(size / 32))), fine_side


def _rotations(pose_deg: np.ndarray) -> np.ndarray:
    """(N, 3, 3) float32 that take model to camera coordinates for poses (N, 3): yaw, pitch, roll in degrees."""
    return (euler_to_matrix(pose_deg.astype(np.float64)) @ _zero_pose()).astype(np.float32)


@lru_cache(maxsize=1)
def _zero_pose() -> np.ndarray:
    return euler_to_matrix(np.array([0.0, ZERO_PITCH_DEG, 0.0]))


def _average(picture: np.ndarray, side: int) -> np.ndarray:
    """Channels (c, f, f) averaged down to (c, side, side)."""
    weights = _box_filter(picture.shape[1], side)
    return weights @ picture @ weights.T


@lru_cache(maxsize=8)
def _box_filter(fine: int, side: int) -> np.ndarray:
    """(side, fine): a triangle filter one and a half output pixels wide, rows summing to 1."""
    centre = (np.arange(side) + 0.5) * fine / side - 0.5
    weights = np.clip(1 - np.abs(np.arange(fine)[None] - centre[:, None]) * side / fine, 0, None)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)

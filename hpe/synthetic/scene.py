"""One head from draw to pixels: a Scene holds everything random, `paint` turns it into a picture."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpe.pose.rotation import euler_to_matrix
from hpe.synthetic.accessories import Glasses, Hat
from hpe.synthetic.backdrop import Backdrop, Occluder
from hpe.synthetic.body import NECK_PIVOT, Body, Ears, Eyes
from hpe.synthetic.camera import Camera
from hpe.synthetic.degradation import Degradation, to_bytes
from hpe.synthetic.draws import Draws
from hpe.synthetic.filters import averaging, filtered
from hpe.synthetic.geometry import ALBEDO, AMBIENT, GLOSS, NORMAL, POSITION, Part, assemble
from hpe.synthetic.hair import CURTAIN_COLUMNS, CURTAIN_ROWS, Hair, curtain, grow
from hpe.synthetic.light import Light
from hpe.synthetic.morphs import Person
from hpe.synthetic.presets import Preset, draw_pose
from hpe.synthetic.raster import splat
from hpe.synthetic.shading import draw_over
from hpe.synthetic.skin import Skin
from hpe.synthetic.surface import COLUMNS, ROWS, head_surface
from hpe.synthetic.surfels import grid_normals, lay_over

ZERO_PITCH_DEG = 3.0
"""How far the head as modelled is tipped up in the pose that 300W-LP calls zero. Anatomy does not fix that zero, the
stance of a mean 3D face model; it is set so that FSA-Net reads renders with the bias it has on photographs."""

_OVERSAMPLING = 1.15  # pixels are rendered this much finer, then averaged


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
        return cls(
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

    def build(self) -> tuple[np.ndarray, np.ndarray]:
        """All surfels (11, n) and the 68 landmarks (3, 68) in camera axes, mm from the joint of the neck."""
        rotation, trunk = _rotations(np.array([self.pose_deg, self.body.pose_deg(self.pose_deg)]))
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
            parts += self.glasses.build(landmarks, half_width)
        if (brim := self.hat.build_brim(landmarks, half_width)) is not None:
            parts.append(brim)
        parts.append(self.body.build(rotation.T @ trunk, self.skin.colour))
        return assemble(parts, rotation, NECK_PIVOT), rotation @ (landmarks - NECK_PIVOT[:, None])

    def _head(self) -> tuple[Part, np.ndarray, float]:
        """The head with hair and hat on, the bare head's landmarks (3, 68), half its width at the ears."""
        surface = head_surface()
        points = self.person.shape()
        landmarks = points[:, surface.landmarks]
        half_width = float(landmarks[0, 16] - landmarks[0, 0]) / 2
        albedo = self.skin.paint(self.hair.colour, self.person)
        cover, depth = self.hair.cover()
        gloss = np.float32(0.5) - np.float32(0.25) * cover
        lay_over(albedo, cover, self.hair.colour, self.hair.shade(ROWS, COLUMNS))
        if self.hat.kind != "none":
            cover, hat_depth = self.hat.cover()
            lay_over(albedo, cover, self.hat.colour, np.ones_like(cover))
            depth = np.maximum(np.minimum(depth, 6), hat_depth)
        grow(points, depth, surface)
        normals = grid_normals(points, ROWS, COLUMNS, closed=True)
        return Part(points, normals, albedo, surface.cavity, gloss), landmarks, half_width

    def paint(self, size: int, margin: int) -> np.ndarray:
        """The picture, uint8 (size + 2 margin, size + 2 margin, 3); its middle is the standard crop."""
        side = size + 2 * margin
        surfel, landmarks = self.build()
        covered, number, fine_side = self.rasterise(surfel, landmarks, size, margin)
        picture = self.backdrop.paint(fine_side)  # linear RGB (3, fine_side, fine_side)
        parts = surfel[POSITION], surfel[NORMAL], surfel[ALBEDO], surfel[AMBIENT], surfel[GLOSS]
        draw_over(picture.reshape(3, -1), covered, number, *parts, tuple(self.light))
        picture = filtered(picture, *averaging(fine_side, side))
        self.occluder.cover(picture)
        np.clip(picture, 0, 1, out=picture)
        np.sqrt(picture, out=picture)  # to display values: gamma 2, near enough to sRGB
        if self.degradation is not None:
            picture = self.degradation.apply(picture, size)
        return to_bytes(picture)

    def rasterise(
        self, surfel: np.ndarray, landmarks: np.ndarray, size: int, margin: int
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """The covered pixels (m,) of the fine picture, the surfel seen at each (m,), and the fine picture's side."""
        side = size + 2 * margin
        fine_side = round(_OVERSAMPLING * side)
        fine_size = size * fine_side / side
        view = self.camera.view_of(landmarks, fine_size, (fine_side - fine_size) / 2)
        column, row = self.camera.look(surfel[POSITION], view)
        return *splat(surfel[2], column, row, fine_side, max(2, round(size / 32))), fine_side


def _rotations(pose_deg: np.ndarray) -> np.ndarray:
    """(N, 3, 3) float32 that take model to camera coordinates for poses (N, 3): yaw, pitch, roll in degrees."""
    return (euler_to_matrix(pose_deg.astype(np.float64)) @ _zero_pose()).astype(np.float32)


@lru_cache(maxsize=1)
def _zero_pose() -> np.ndarray:
    return euler_to_matrix(np.array([0.0, ZERO_PITCH_DEG, 0.0]))

"""One take of the sketch: a camera that films a flat photo.

The camera stands where the photographer stood and only turns, zooms and trembles: the moves that one photo can show
without inventing what lies behind things. Sway bends the picture a little, slowly. Knows nothing of prompts, jobs and
files. Lengths are in widths of the picture, its centre is (0, 0), y goes down.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from clips.domain import Plan
from generator.engines.base import TakeSeed
from generator.engines.moves import Moves

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_FOCAL = 1.1  # about 49 degrees across: a normal lens, so that a turn shows a little perspective
_STEP = 4  # the maps are smooth: every fourth pixel is enough
_MOST_TRAVEL = 0.3  # of the picture; more would film too small a part of it
_ZOOM_PER_MOVE = 0.2  # of the logarithm, which is even to the eye
_TURN_PER_MOVE = 0.17
_SWAY_PER_MOVE = 0.0045

# ---- what a seed decides

_CELLS = (6, 10)  # cells of the sway's phase field: about a ninth of the width each
_TASTE = 16


def noise_of(take: TakeSeed) -> Floats:
    """All that is random in a take, as standard normals, with variations mixed in as an image model mixes latents.

    Each mix is divided by its own length, so that takes are equally lively at every strength.
    """
    noise = _normals(take.seed)
    for variation in take.variations:
        share = variation.strength
        noise = ((1 - share) * noise + share * _normals(variation.seed)) / math.hypot(1 - share, share)
    return noise


def _normals(seed: int) -> Floats:
    return np.random.default_rng(seed % 2**64).standard_normal(_TASTE + 2 * _CELLS[0] * _CELLS[1])


@dataclass(frozen=True, slots=True)
class _Taste:
    """A take's own way of making the moves that were asked for."""

    amount: float  # times what was asked
    focus: Floats  # (2,): the part of the photo that it likes, from the centre (1 is a whole side), rather above it
    drift: Floats  # (2,): a little sideways in every move but a turn that way
    roll: float  # radians in all
    skew: float  # below 1 the move comes early, above late
    pace: float  # of sway and tremble
    phases: Floats  # (3, 3): of the tremble, axis by wave

    @classmethod
    def of(cls, noise: Floats) -> "_Taste":
        bent = np.tanh(noise[:7] / 1.5)
        return cls(
            amount=math.exp(0.4 * bent[0]),
            focus=np.array([0.35 * bent[1], 0.2 * bent[2] - 0.15]),
            drift=np.array([0.06 * bent[3], 0.03 * bent[4]]),
            roll=math.radians(1.2) * bent[5],
            skew=math.exp(0.25 * bent[6]),
            pace=math.exp(0.2 * np.tanh(noise[7] / 1.5)),
            phases=np.pi * noise[_TASTE - 9 : _TASTE].reshape(3, 3),
        )


# ---- the camera


class Shot:
    """A take's camera path and sway for every frame of a clip. `zoom` is how much each frame enlarges, at least 1."""

    zoom: Floats

    def __init__(self, moves: Moves, plan: Plan, noise: Floats) -> None:
        self._width, self._height = plan.width, plan.height
        taste = _Taste.of(noise)
        seconds = np.arange(plan.frames) / plan.fps
        reach = taste.amount * min(1.8, max(0.5, (plan.seconds / 5) ** 0.7))
        moving = bool(moves.zoom or moves.pan or moves.tilt)
        way = _eased(np.linspace(0, 1, plan.frames) ** taste.skew)

        # 1. Where the camera looks and how far it zooms, frame by frame.
        travel = min(0.6, abs(moves.zoom) * reach * _ZOOM_PER_MOVE)
        depth = travel * (way if moves.zoom >= 0 else 1 - way)
        unasked = np.array([moves.pan == 0, moves.tilt == 0])  # the ways that are left to the take's taste
        turn = np.array([moves.pan, moves.tilt]) * reach * _TURN_PER_MOVE + taste.drift * unasked * moving
        turn = np.clip(turn, -_MOST_TRAVEL, _MOST_TRAVEL) * (1, self._aspect)
        tremble = (0.25 + 1.5 * moves.handheld) * _tremble(seconds * taste.pace, taste.phases)
        self._look = np.outer(way - 0.5, turn) + 0.004 * tremble[:, :2]
        self._likes = taste.focus * unasked * (1, self._aspect)
        self._roll = taste.roll * (way - 0.5) * moving + 0.002 * tremble[:, 2]
        self._depth = depth + 0.004 * np.sin(2 * np.pi * 0.2 * seconds + taste.phases[0, 0])

        # 2. How the scene sways.
        self._sway = _SWAY_PER_MOVE * min(1.6, moves.sway)
        self._grid = _grid(plan.width, plan.height)
        cells = (1.7 * noise[_TASTE:]).reshape(2, *_CELLS).astype(np.float32)
        size = self._grid.shape[1], self._grid.shape[0]
        self._phases = [cv2.resize(axis, size, interpolation=cv2.INTER_CUBIC) for axis in cells]
        self._clock = 2 * np.pi * 0.4 * taste.pace * seconds

        # 3. Come as close as it takes for no frame to see past the photo's edge.
        closest = self._closest()
        self.zoom, self._look = self._zooms(closest), self._looks(closest)

    @property
    def _aspect(self) -> float:
        return self._height / self._width

    def frame(self, photo: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        """Frame `number` of the clip, (height, width, 3). `photo` has the clip's shape and any size, (h, w, 3)."""
        seen_x, seen_y = self.maps(number, photo.shape[1], photo.shape[0])
        seen = cv2.remap(photo, seen_x, seen_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(seen, np.uint8)

    def maps(self, number: int, width: int, height: int) -> tuple[Singles, Singles]:
        """For each pixel of a frame, which place it shows in a photo of width by height pixels: x and y."""
        camera = _camera(self.zoom[number], self._look[number], self._roll[number])
        x, y = _project(self._grid @ camera.T.astype(np.float32))
        if self._sway:
            x += self._sway * np.sin(np.float32(self._clock[number]) + self._phases[0])
            y += 0.4 * self._sway * np.sin(np.float32(0.8 * self._clock[number]) + self._phases[1])
        return (
            self._enlarged((x + 0.5) * width - 0.5),
            self._enlarged((y / self._aspect + 0.5) * height - 0.5),
        )

    def _enlarged(self, coarse: Singles) -> Singles:
        size = coarse.shape[1] * _STEP, coarse.shape[0] * _STEP
        fine = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(fine[_STEP : _STEP + self._height, _STEP : _STEP + self._width], np.float32)

    def _closest(self) -> float:
        """The smallest common enlargement with which every corner of every frame, sway included, is in the photo."""
        low, high = 1.0, 3.0
        if self._inside(low):
            return low
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (low, middle) if self._inside(middle) else (middle, high)
        return high

    def _zooms(self, enlargement: float) -> Floats:
        return enlargement * np.exp(self._depth)

    def _looks(self, enlargement: float) -> Floats:
        """Where each frame looks: the closer it is, the more of the way to what the take likes there is room for."""
        return self._look + np.outer(1 - 1 / self._zooms(enlargement), self._likes)

    def _inside(self, enlargement: float) -> bool:
        half = np.array([0.5, 0.5 * self._aspect])
        corners = np.array([[x, y, 1] for x in (-half[0], half[0]) for y in (-half[1], half[1])])
        limit = half - (self._sway, 0.4 * self._sway) - 0.5 / self._width
        path = zip(self._zooms(enlargement), self._looks(enlargement), self._roll, strict=True)
        for zoom, look, roll in path:
            x, y = _project(corners @ _camera(zoom, look, roll).T)
            if np.abs(x).max() > limit[0] or np.abs(y).max() > limit[1]:
                return False
        return True


def _camera(zoom: float, look: Floats, roll: float) -> Floats:
    """The 3 by 3 matrix from a place in the frame to its ray in the photo's space, looking at `look` in the photo."""
    yaw = math.atan2(look[0], _FOCAL)
    pitch = math.atan2(look[1], math.hypot(_FOCAL, look[0]))
    about_y = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]])
    about_z = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    return about_y @ about_x @ about_z @ np.diag([1, 1, _FOCAL * zoom])


def _grid(width: int, height: int) -> Singles:
    """(rows, columns, 3): every fourth place (x, y, 1) of a frame, and one more on each side than it has.

    Enlarging a map repeats its outermost values; the extra cells are what is then cut off.
    """
    columns = (np.arange(-(-width // _STEP) + 2) * _STEP - _STEP / 2) / width - 0.5
    rows = ((np.arange(-(-height // _STEP) + 2) * _STEP - _STEP / 2) / height - 0.5) * (height / width)
    x, y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    return np.stack([x, y, np.ones_like(x)], axis=-1)


_Real = TypeVar("_Real", Floats, Singles)


def _project(rays: _Real) -> tuple[_Real, _Real]:
    """Where rays (…, 3) meet the photo."""
    return _FOCAL * rays[..., 0] / rays[..., 2], _FOCAL * rays[..., 1] / rays[..., 2]


def _eased(way: Floats) -> Floats:
    """0 to 1, setting off and arriving softly, never quite standing still."""
    return way - 0.85 * np.sin(2 * np.pi * way) / (2 * np.pi)


def _tremble(seconds: Floats, phases: Floats) -> Floats:
    """(n, 3): a hand's slow unrest in x, y and roll, each about -1 to 1."""
    paces, sizes = np.array([0.17, 0.43, 0.9]), np.array([0.6, 0.3, 0.15])
    return np.sin(2 * np.pi * np.multiply.outer(seconds, paces)[:, None, :] + phases) @ sizes

"""How things move: the path of every thing of a clip, by the role that it plays.

A role says what a thing does (stops, turns back, passes behind); a play gives every thing of a cast its `Motion`. Times run from
0 (first frame) to 1 (last frame), places and radii are pixels of the 128 grid, angles are radians, clockwise on the screen.

What no single frame may show is hidden by two laws, both of which hold at *every* frame and for every role:

* on a ring road (`drift`) a thing that leaves at one side comes back at the other. Its start is uniform on the road, so its
  place is uniform at each moment, whichever way it goes;
* between two walls (`roll`) a thing is thrown back. Its start and its direction are uniform, so its place and its direction are
  uniform at each moment, however its speed changes.

Lanes, looks, sizes and painter's order are dealt out without a look at the roles. So where things are, and what they are, tells
nothing of what they do. Growing, passing, overtaking and leaving do show in single frames, and are not claimed to be hidden.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.toy.scenes import GRID

Axis = NDArray[np.float64]

EDGE = 1.2  # radii from the centre of a thing to where nothing of it is any more
DRIFT = (56.0, 76.0)  # px on the ring road in a whole clip; there and back half as far
ROLL = (70.0, 100.0)  # px between the walls in a whole clip
FAST, SLOW = 105.0, 22.0  # px in a whole clip at the highest and at the lowest pace
TURN = (
    2.6,
    3.4,
)  # radians in a whole clip: at 14 frames less than half the step at which a star looks the same
SWELL = 1.7  # largest ratio of two radii of a thing that grows
FIRST_LANE, LANE_JITTER = 20.0, 3.0
RANKS = ("first", "second", "third", "last")
STEP_OUT = 0.25  # of the time that a thing takes to leave the picture from where it stands


@dataclass(frozen=True, eq=False)
class Motion:
    """What one thing does; float64 [T] each."""

    x: Axis
    """centre, pixels of the 128 grid; it may lie outside the picture"""
    y: Axis
    """centre, pixels of the 128 grid"""
    swell: Axis
    """radius in radii of the thing's first look"""
    angle: Axis
    """radians clockwise, on top of the tilt of the thing's first look"""
    level: float
    """0 .. 1, painter's order: the lower is painted first and may be hidden"""


@dataclass(frozen=True)
class Cast:
    """What a play has to move."""

    roles: tuple[str, ...]
    """of each thing; the last is "anchor" in plays that have one"""
    radii: tuple[float, ...]
    """of each thing, pixels of the 128 grid"""
    frames: int
    """T"""


Play = Callable[[Cast, np.random.Generator], list[Motion]]


def drift(cast: Cast, rng: np.random.Generator, *, axis: int) -> list[Motion]:
    """One way all the time ("left", "right", "up", "down"), or that way and back ("left and back", ...)."""
    time, motions = _time(cast), []
    for role, radius, lane in zip(cast.roles, cast.radii, _lanes(len(cast.roles), rng)):
        sign = -1 if role.startswith(("left", "up")) else 1
        gone = rng.uniform(*DRIFT) * (np.minimum(time, 1 - time) if role.endswith("back") else time)
        low, high = -EDGE * radius, GRID + EDGE * radius
        main = low + (rng.uniform(0, high - low) + sign * gone) % (high - low)
        motions.append(_along(axis, main, lane, rng))
    return motions


def rhythm(cast: Cast, rng: np.random.Generator) -> list[Motion]:
    """Moves and rests: "stops", "starts", "keeps on", "rests"."""
    time = _time(cast)

    def gone(role: str) -> Axis:
        turn = rng.uniform(0.4, 0.6)
        return {"stops": np.minimum(time, turn), "starts": np.maximum(0, time - turn), "keeps on": time}.get(
            role, 0 * time
        )

    return _roll(cast, [rng.uniform(*ROLL) * gone(role) for role in cast.roles], rng)


def pace(cast: Cast, rng: np.random.Generator) -> list[Motion]:
    """Speeds: "fast", "slow", "speeds up", "slows down"."""
    time = _time(cast)
    bend = (FAST - SLOW) * time**2 / 2
    gone = {
        "fast": FAST * time,
        "slow": SLOW * time,
        "speeds up": SLOW * time + bend,
        "slows down": FAST * time - bend,
    }
    return _roll(cast, [rng.uniform(0.92, 1.08) * gone[role] for role in cast.roles], rng)


def stopping(cast: Cast, rng: np.random.Generator) -> list[Motion]:
    """All move from the start and stop one after the other, in the order of their RANKS."""
    time = _time(cast)
    return _roll(cast, [rng.uniform(*ROLL) * np.minimum(time, turn) for turn in _turns(cast, 0.2, 0.8)], rng)


def starting(cast: Cast, rng: np.random.Generator) -> list[Motion]:
    """All rest at first and start one after the other, in the order of their RANKS."""
    time = _time(cast)
    return _roll(
        cast, [rng.uniform(*ROLL) * np.maximum(0, time - turn) for turn in _turns(cast, 0.2, 0.8)], rng
    )


def turning(cast: Cast, rng: np.random.Generator) -> list[Motion]:
    """On the spot: "clockwise", "anticlockwise", "to and fro", "level". Every angle is as likely at every frame."""
    time, motions = _time(cast), []
    for role, motion in zip(cast.roles, _roll(cast, [0 * time] * len(cast.roles), rng)):
        side = float(rng.choice([-1.0, 1.0]))
        course = {
            "clockwise": time,
            "anticlockwise": -time,
            "to and fro": side * np.minimum(time, 1 - time),
            "level": 0 * time,
        }
        angle = rng.uniform(0, 2 * np.pi) + rng.uniform(*TURN) * course[role]
        motions.append(Motion(motion.x, motion.y, motion.swell, angle, motion.level))
    return motions


def growing(cast: Cast, rng: np.random.Generator) -> list[Motion]:
    """On the spot: "grows", "shrinks", "grows and back", "shrinks and back"."""
    time, motions = _time(cast), []
    for role, motion in zip(cast.roles, _roll(cast, [0 * time] * len(cast.roles), rng)):
        course = 1 - np.abs(2 * time - 1) if role.endswith("back") else time
        swell = SWELL ** (course if role.startswith("grows") else -course)
        motions.append(Motion(motion.x, motion.y, swell, motion.angle, motion.level))
    return motions


def passing(cast: Cast, rng: np.random.Generator) -> list[Motion]:
    """Around a large thing at rest: "behind", "in front", "hides", "beside"."""
    time, size = _time(cast), cast.radii[-1]
    middle = rng.uniform(GRID / 2 - 4, GRID / 2 + 4, 2)
    waits = rng.permutation(np.linspace(0, 0.4, len(cast.roles) - 1))
    motions = []
    for number, (role, radius, wait) in enumerate(zip(cast.roles, cast.radii, waits)):
        axis, side = number % 2, float(rng.choice([-1.0, 1.0]))
        begin, end = rng.uniform(12, 22), rng.uniform(GRID - 22, GRID - 12)
        across = middle[1 - axis] + rng.uniform(-0.3, 0.3) * size
        if role == "beside":
            across = middle[1 - axis] + side * (size + EDGE * radius + rng.uniform(3, 5))
        if role == "hides":
            end, across = middle[axis] + rng.uniform(-3, 3), middle[1 - axis] + rng.uniform(-3, 3)
        begin, end = (
            (begin, end) if rng.random() < 0.5 else (GRID - begin, GRID - end if role != "hides" else end)
        )
        main = begin + (end - begin) * np.clip((time - wait) / 0.6, 0, 1)
        level = rng.uniform(0, 0.4) + (0.6 if role == "in front" else 0)
        motions.append(_along(axis, main, across, rng, level=level))
    still = np.full(cast.frames, middle[0])
    return [*motions, _along(0, still, middle[1], rng, level=0.5)]


def overtaking(cast: Cast, rng: np.random.Generator) -> list[Motion]:
    """All go one way, beside a thing that goes with them: "overtakes", "falls behind", "leads", "follows"."""
    time, axis, sign = _time(cast), int(rng.integers(2)), float(rng.choice([-1.0, 1.0]))
    centre = GRID / 2 + rng.uniform(-4, 4)
    ends = {
        "overtakes": (-1, 1),
        "falls behind": (1, -1),
        "leads": (1, 1),
        "follows": (-1, -1),
        "anchor": (0, 0),
    }
    motions = []
    for role, lane in zip(cast.roles, _lanes(len(cast.roles), rng)):
        before, after = (gap * rng.uniform(14, 20) for gap in ends[role])
        ahead = 56 * (time - 0.5) + before + (after - before) * time
        motions.append(_along(axis, centre + sign * ahead, lane, rng))
    return motions


def leaving(cast: Cast, rng: np.random.Generator) -> list[Motion]:
    """Over the edge: "leaves", "comes in", "leaves and back", "stays"."""
    time, axis = _time(cast), int(rng.integers(2))
    rolled = _roll(cast, [rng.uniform(50, 70) * time for _ in cast.roles], rng, axis=axis)
    motions = []
    for role, radius, motion in zip(cast.roles, cast.radii, rolled):
        out = {
            "leaves": np.minimum(time / rng.uniform(0.45, 0.75), 1),
            "comes in": np.minimum((1 - time) / rng.uniform(0.45, 0.75), 1),
            "leaves and back": np.clip(np.minimum(time / 0.35, (1 - time) / 0.35), 0, 1),
        }
        lane = float((motion.y, motion.x)[axis][0])
        motions.append(motion if role == "stays" else _out(axis, out[role], lane, radius, rng))
    return motions


def going(cast: Cast, rng: np.random.Generator) -> list[Motion]:
    """All rest in the picture and leave it one after the other, in the order of their RANKS."""
    return _one_by_one(cast, rng, backwards=False)


def coming(cast: Cast, rng: np.random.Generator) -> list[Motion]:
    """All are outside the picture and come in one after the other, in the order of their RANKS."""
    return _one_by_one(cast, rng, backwards=True)


def _one_by_one(cast: Cast, rng: np.random.Generator, *, backwards: bool) -> list[Motion]:
    axis, motions = int(rng.integers(2)), []
    turns, lanes = _turns(cast, 0.02, 0.7), _lanes(len(cast.roles), rng)
    for radius, turn, lane in zip(cast.radii, turns, lanes):
        out = np.clip((_time(cast) - turn) / STEP_OUT, 0, 1)
        motions.append(_out(axis, 1 - out if backwards else out, lane, radius, rng))
    return motions


def _out(axis: int, out: Axis, lane: float, radius: float, rng: np.random.Generator) -> Motion:
    """From a spot in the picture (`out` 0) to one outside (`out` 1)."""
    spot = rng.uniform(30, GRID - 30)
    end = GRID + EDGE * radius + 2 if rng.random() < 0.5 else -EDGE * radius - 2
    return _along(axis, spot + (end - spot) * out, lane, rng)


def _turns(cast: Cast, first: float, last: float) -> list[float]:
    """The moment of each thing's rank."""
    order = sorted(set(cast.roles), key=RANKS.index)
    moments = dict(zip(order, np.linspace(first, last, len(order))))
    return [float(moments[role]) for role in cast.roles]


def _roll(
    cast: Cast, gone: Sequence[Axis], rng: np.random.Generator, *, axis: int | None = None
) -> list[Motion]:
    """Between two walls, each thing in a lane of its own; `gone`: how far it has rolled at each frame."""
    axis = int(rng.integers(2)) if axis is None else axis
    motions = []
    for radius, way, lane in zip(cast.radii, gone, _lanes(len(cast.radii), rng)):
        margin = EDGE * radius
        span = GRID - 2 * margin
        phase = (rng.uniform(0, 2 * span) + way) % (2 * span)
        motions.append(_along(axis, margin + np.minimum(phase, 2 * span - phase), lane, rng))
    return motions


def _lanes(count: int, rng: np.random.Generator) -> list[float]:
    """Where across the direction of motion each thing lies; dealt out at random."""
    evenly = np.linspace(FIRST_LANE, GRID - FIRST_LANE, count)
    return [float(lane) for lane in rng.permutation(evenly) + rng.uniform(-LANE_JITTER, LANE_JITTER, count)]


def _time(cast: Cast) -> Axis:
    return np.linspace(0, 1, cast.frames)


def _along(
    axis: int, main: Axis, lane: float, rng: np.random.Generator, *, level: float | None = None
) -> Motion:
    across, still = np.full(len(main), lane), np.zeros(len(main))
    x, y = (main, across) if axis == 0 else (across, main)
    return Motion(x, y, still + 1, still, float(rng.random()) if level is None else level)

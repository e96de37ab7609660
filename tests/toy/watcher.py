"""A second opinion on who does what in a clip: from the tracks of the things alone, never from the roles that made them.

`role_seen` names what a thing does by where it is, how large and how tilted at each frame, and by what hides what.
`role_meant` names what a phrase asks for by its words, by a list made by hand.
"""

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.toy.clips import Clip
from seglm.dataset.toy.scenes import GRID, Scene, visible_masks
from seglm.dataset.toy.shapes import inside_shape

STILL = 0.02
"""px between two frames that are rest"""
WORDS: dict[str, list[tuple[str, str]]] = {  # of each family: pattern -> role; the first that is found counts
    "across": [
        (r"left.*(back|right|return)", "left and back"),
        (r"right.*(back|left|return)", "right and back"),
        (r"left", "left"),
        (r"right", "right"),
    ],
    "upright": [
        (r"\bup(wards)?\b.*(back|down|return)", "up and back"),
        (r"\bdown(wards)?\b.*(back|up|return)", "down and back"),
        (r"\bup(wards)?\b", "up"),
        (r"\bdown(wards)?\b", "down"),
    ],
    "rhythm": [
        (r"never stop|from beginning|without a break", "keeps on"),
        (r"never move|put|rests? all", "rests"),
        (r"later|rests? at first|set in motion", "starts"),
        (r"stop|halt|moves? at first", "stops"),
    ],
    "pace": [
        (r"speeds? up|faster|more and more", "speeds up"),
        (r"slows? down|slower|less and less", "slows down"),
        (r"fast|quick|high speed", "fast"),
        (r"slow|low speed", "slow"),
    ],
    "turning": [
        (r"back", "to and fro"),
        (r"not turn|same angle|never rotate", "level"),
        (r"anticlockwise|to the left", "anticlockwise"),
        (r"clockwise|to the right", "clockwise"),
    ],
    "growing": [
        (r"(grow|bigger).*(shrink|smaller|old size)", "grows and back"),
        (r"(shrink|smaller).*(grow|bigger|old size)", "shrinks and back"),
        (r"grow|bigger", "grows"),
        (r"shrink|smaller", "shrinks"),
    ],
    "passing": [
        (r"hide|stay|for good", "hides"),
        (r"behind", "behind"),
        (r"front|cover", "in front"),
        (r"beside|without touching|past", "beside"),
    ],
    "overtaking": [
        (r"is overtaken|are overtaken|let|end up behind|ends up behind", "falls behind"),
        (r"overtake|end up ahead|ends up ahead|past", "overtakes"),
        (r"ahead|before|lead", "leads"),
        (r"follow|in back|never catch", "follows"),
    ],
    "leaving": [
        (r"come into|comes into|appear(s)?$|enter", "comes in"),
        (r"come back|comes back|return|again", "leaves and back"),
        (r"all the time|never leave|in view", "stays"),
        (r"for good|stay away|stays away|for ever", "leaves"),
    ],
}
RANKS = ("first", "second", "third", "last")


def role_meant(family: str, text: str) -> str:
    """The role that the words ask for."""
    for pattern, role in WORDS[family]:
        if re.search(pattern, text):
            return role
    raise AssertionError(f"no role of {family} is in {text!r}")


def rank_meant(text: str) -> str:
    """The rank that the words ask for."""
    return next(rank for rank in RANKS if re.search(rf"\b{rank}\b", text))


@lru_cache(256)
def role_seen(clip: Clip, thing: int) -> str:
    """What the thing does, by its track."""
    x, y, radius, angle = (_track(clip, thing, name) for name in ("x", "y", "radius", "angle"))
    match clip.family:
        case "across":
            return _way(_steps(x, radius[0]), "left", "right")
        case "upright":
            return _way(_steps(y, radius[0]), "up", "down")
        case "rhythm":
            moves = _speed(x, y) > STILL
            return {
                (True, True): "keeps on",
                (False, False): "rests",
                (True, False): "stops",
                (False, True): "starts",
            }[(bool(moves[:3].any()), bool(moves[-3:].any()))]
        case "pace":
            speed = _speed(x, y)
            third = len(speed) // 3
            early, late = np.median(speed[:third]), np.median(speed[-third:])
            if max(early, late) > 1.6 * min(early, late):
                return "speeds up" if late > early else "slows down"
            return "fast" if early > 3.5 else "slow"
        case "turning":
            return _way(
                np.diff(np.unwrap(angle)), "anticlockwise", "clockwise", back="to and fro", rest="level"
            )
        case "growing":
            return _way(np.diff(radius), "shrinks", "grows")
        case "passing":
            return _passes(clip, thing)
        case "overtaking":
            return _runs(clip, thing)
        case "leaving":
            there = _in_view(clip, thing)
            return {(True, False): "leaves", (False, True): "comes in"}.get(
                (bool(there[0]), bool(there[-1])), "stays" if there.all() else "leaves and back"
            )
    raise AssertionError(f"unknown family {clip.family}")


@lru_cache(256)
def rank_seen(clip: Clip, thing: int) -> str:
    """When the thing acts, among all of them."""
    moments = [_moment(clip, i) for i in range(len(clip.things))]
    assert len(set(moments)) == len(moments), moments
    place = sorted(moments).index(moments[thing])
    return "last" if place == len(moments) - 1 else RANKS[place]


@lru_cache(256)
def _moment(clip: Clip, thing: int) -> int:
    """The frame at which the thing acts."""
    if clip.family in ("going", "coming"):
        there = _in_view(clip, thing)
        return int(np.flatnonzero(there)[-1 if clip.family == "going" else 0])
    moves = np.flatnonzero(_speed(_track(clip, thing, "x"), _track(clip, thing, "y")) > STILL)
    return int(moves[-1 if clip.family == "stopping" else 0])


def _track(clip: Clip, thing: int, name: str) -> NDArray[np.float64]:
    """One number of the thing at each frame, in pixels of the 128 grid (or radians)."""
    unit = 1.0 if name == "angle" else clip.scenes[0].width / GRID
    return np.array([getattr(scene.things[thing], name) for scene in clip.scenes]) / unit


def _steps(track: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Steps from frame to frame; who left at one side and came back at the other has gone on."""
    steps, around = np.diff(track), GRID + 2.4 * radius
    return steps - around * np.round(steps / around)


def _speed(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hypot(np.diff(x), np.diff(y))


def _way(steps: NDArray[np.float64], minus: str, plus: str, *, back: str = "", rest: str = "") -> str:
    """One way all the time, or there and back."""
    early, late = np.sign(np.round(steps[:4], 6)), np.sign(np.round(steps[-4:], 6))
    assert abs(early.sum()) in (0, 4) and abs(late.sum()) in (0, 4), steps
    if not early.any():
        assert not np.round(steps, 6).any()
        return rest
    name = plus if early[0] > 0 else minus
    if early[0] == late[0]:
        return name
    return back or f"{name} and back"


def _in_view(clip: Clip, thing: int) -> NDArray[np.bool_]:
    """At which frames some pixel of the thing lies in the picture, hidden or not: the rule is of its own making."""
    found = []
    for scene in clip.scenes:
        one = scene.things[thing]
        rows, columns = np.mgrid[0 : scene.height, 0 : scene.width].astype(np.float32) + 0.5
        turn = np.exp(-1j * one.angle) * ((columns - one.x) + 1j * (rows - one.y)) / one.radius
        found.append(
            inside_shape(one.shape, turn.real.astype(np.float32), turn.imag.astype(np.float32)).any()
        )
    return np.array(found)


def _passes(clip: Clip, thing: int) -> str:
    """By the pixels of a picture that holds only the thing and the anchor."""
    anchor = clip.roles.index("anchor")
    areas = {"thing": [], "anchor": []}
    for scene in clip.scenes:
        pair = sorted((thing, anchor))
        masks = visible_masks(Scene(0, scene.height, scene.width, tuple(scene.things[i] for i in pair)))
        areas["thing"].append(int(masks[pair.index(thing)].sum()))
        areas["anchor"].append(int(masks[pair.index(anchor)].sum()))
    hidden = np.array(areas["thing"]) < 0.5 * max(areas["thing"])
    if hidden.any():
        return "hides" if hidden[-1] else "behind"
    return "in front" if min(areas["anchor"]) < max(areas["anchor"]) else "beside"


def _runs(clip: Clip, thing: int) -> str:
    """By who is ahead of whom at the first and at the last frame."""
    anchor = clip.roles.index("anchor")
    places = [np.array([[s.things[i].x, s.things[i].y] for s in clip.scenes]) for i in (thing, anchor)]
    ahead = (places[0] - places[1]) @ (places[1][-1] - places[1][0])
    return {
        (True, True): "leads",
        (False, False): "follows",
        (False, True): "overtakes",
        (True, False): "falls behind",
    }[(bool(ahead[0] > 0), bool(ahead[-1] > 0))]

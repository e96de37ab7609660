"""What the first layers of the tiny LLaVA are taught of motion: which thing is which in the next frame, and what each does.

Heads learn to go from a patch of a whole frame to the same thing in the frames before it; the layers say how the thing has
changed since then, and in the last frame all its changes and what it does in the clip. The words for a deed are drawn to the
same place, so that what is asked for is found like a look. Turning is not taught: between two whole frames a square may turn by
more than half of the step at which it looks the same, so these hardly show which way.
Letters: N clips (rows), V visual tokens of a clip, G watched states.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from seglm.bases.attention_lessons import TAUGHT_HEADS, WORD_LAYERS, Aim, missed, stacked
from seglm.bases.clip_showing import Showing, glimpsed, seen_patches
from seglm.bases.packing import Packed, Packer
from seglm.bases.patch_lessons import spread_of
from seglm.bases.tiny_llava import CHANGES, MOVES, TinyLlava, hidden_states
from seglm.dataset.toy.families import ANCHOR
from seglm.dataset.toy.watching import DEEDS, Watched, deed_of
from seglm.model.systems.videolisa import WHOLE

MOVE_LAYERS = (0, 1)  # of the language model, behind which a patch knows how its thing has moved
DEED_LAYERS = (1, 2)  # behind which a patch of the last frame, and the words for a deed, know the deed
DEPTH = 3  # layers of the language model that these lessons need
MOVE_WEIGHT, COURSE_WEIGHT, DEED_WEIGHT, TRACK_WEIGHT = 5.0, 3.0, 0.5, 0.5
SWELL_SCALE = 5.0  # of a change of spread: then what grows does so by about 1 between two whole frames
CLEAR = 0.4  # of MOVES: a change that is worth telling
MOST = 2.0  # of a change of place; what leaves on one side and comes in on the other has gone farther
HIDDEN = -1e4  # logit of what a state does not see
BACK = (1, 2)  # how many whole frames the heads behind the TAUGHT_HEADS look back, one head each


def motion_loss(
    base: TinyLlava, rows: Sequence[Showing], packer: Packer, packed: Packed, *, attention_weight: float
) -> tuple[Tensor, dict[str, float]]:
    """The lessons about motion alone, which the first layers learn from many clips; the tower learns nothing."""
    attention: list[Tensor] = []
    states: list[Tensor] = []
    tracks = tracks_of(rows, packed)
    watched = dict.fromkeys(WORD_LAYERS, torch.cat([places for places, _ in tracks]))
    with torch.no_grad():
        features = glimpsed(base.llava, rows)
    hidden_states(
        base.llava, packed, features, watched=watched, attention=attention, layer_states=states, depth=DEPTH
    )
    return motion_lessons(base, rows, packer, packed, tracks, attention, states, attention_weight)


def motion_lessons(
    base: TinyLlava,
    rows: Sequence[Showing],
    packer: Packer,
    packed: Packed,
    tracks: Sequence[tuple[Tensor, Tensor]],
    attention: Sequence[Tensor],
    states: Sequence[Tensor],
    attention_weight: float,
) -> tuple[Tensor, dict[str, float]]:
    """Where a thing was, how it has moved and what it does; attention: of WORD_LAYERS, logits of the places of all tracks."""
    tracked = track_loss(tracks, attention, packed)
    moved, moves_right = _move_loss(base, rows, packed, [states[layer] for layer in MOVE_LAYERS])
    later = [states[layer] for layer in DEED_LAYERS]
    course = _course_loss(base, rows, packed, later)
    deed, deeds_right = _deed_loss(base, rows, packer, packed, later)
    loss = attention_weight * TRACK_WEIGHT * tracked + MOVE_WEIGHT * moved + COURSE_WEIGHT * course
    parts = {"track": tracked, "moved": moved, "course": course}
    return loss + DEED_WEIGHT * deed, {
        **moves_right,
        **deeds_right,
        **{name: float(part.detach()) for name, part in parts.items()},
    }


def track_loss(
    tracks: Sequence[tuple[Tensor, Tensor]], attention: Sequence[Tensor], packed: Packed
) -> Tensor:
    """How far some heads are from looking at the same thing in frames before; arguments as of `motion_lessons`."""
    tracked = torch.zeros(())
    for seen in attention:
        first = 0
        for number, (places, shares) in enumerate(tracks):
            # All that a state sees counts here, the text before the clip, too.
            hidden = torch.arange(seen.shape[-1]) > places[:, 1:]
            visible = seen[first : first + len(shares), TAUGHT_HEADS + number].masked_fill(hidden, HIDDEN)
            wanted = F.pad(shares, (packed.image_start, 0))
            tracked = tracked + missed(visible[:, None], wanted) / (len(attention) * len(tracks))
            first += len(shares)
    return tracked


def tracks_of(rows: Sequence[Showing], packed: Packed) -> list[tuple[Tensor, Tensor]]:
    """Per head of BACK the places [G, 2] of patches that show a thing, and where each should look, [G, V]."""
    return [stacked({0: _track_aims(rows, packed, back)})[0] for back in BACK]


def _track_aims(rows: Sequence[Showing], packed: Packed, back: int) -> list[Aim]:
    """From the patches of each whole frame to the same thing some frames before."""
    aims: list[Aim] = []
    for row, shown in enumerate(rows):
        for number in range(back, WHOLE):
            before = shown.by_frame[number - back]
            for place, thing in seen_patches(shown, number):
                aims.append(((row, packed.image_start + place), before[:, thing]))
    return aims


def _level(state: Tensor) -> Tensor:
    return state * torch.rsqrt(state.square().mean(-1, keepdim=True) + 1e-5)


def _move_loss(
    base: TinyLlava, rows: Sequence[Showing], packed: Packed, states: Sequence[Tensor]
) -> tuple[Tensor, dict[str, float]]:
    """What the patches of a thing say of its change since the whole frame before, in numbers: a change is a difference."""
    places, truths = [], []
    for row, shown in enumerate(rows):
        for number in range(1, WHOLE):
            moves = [_moves(shown, number, thing) for thing in range(len(shown.things))]
            for place, thing in seen_patches(shown, number):
                places.append((row, packed.image_start + place))
                truths.append(moves[thing])
    line, column = torch.tensor(places).unbind(1)
    wanted = torch.tensor(truths)
    total, right = torch.zeros(()), dict[str, float]()
    for state in states:
        said = base.moves(_level(state[line, column]))
        total = total + F.smooth_l1_loss(said, wanted, beta=1.0) / len(states)
        right = _moves_right(said.detach(), wanted)
    return total, right


def _moves_right(said: Tensor, wanted: Tensor) -> dict[str, float]:
    """Per change: how often it is told from one the other way and from none, of those that are clear."""
    right = {}
    for index, name in enumerate(MOVES[-CHANGES:], start=len(MOVES) - CHANGES):
        clear = wanted[:, index].abs() > CLEAR
        if clear.any():
            is_right = said[:, index] * wanted[:, index].sign() > CLEAR / 2
            right[f"told {name}"] = float(is_right[clear].float().mean())
    return right


def _moves(shown: Showing, number: int, index: int) -> list[float]:
    """MOVES of a thing between two whole frames, each about 1 where it is large."""
    before, after = (shown.drawn.clip.scenes[shown.whole[n]].things[index] for n in (number - 1, number))
    half = shown.drawn.clip.scenes[0].width / 2
    places = [one / half - 1 for one in (after.x, after.y, before.x, before.y)]
    changes = [
        float(np.clip(4 * way / half, -MOST, MOST)) for way in (after.x - before.x, after.y - before.y)
    ]
    return [*places, *changes, SWELL_SCALE * (spread_of(after) - spread_of(before))]


def _course_loss(
    base: TinyLlava, rows: Sequence[Showing], packed: Packed, states: Sequence[Tensor]
) -> Tensor:
    """What the patches of the last whole frame say of all changes of their thing; a deed is read off these."""
    places, truths = [], []
    for row, shown in enumerate(rows):
        courses = [
            [change for number in range(1, WHOLE) for change in _moves(shown, number, thing)[-CHANGES:]]
            for thing in range(len(shown.things))
        ]
        for place, thing in seen_patches(shown, WHOLE - 1):
            places.append((row, packed.image_start + place))
            truths.append(courses[thing])
    line, column = torch.tensor(places).unbind(1)
    said = [base.course(_level(state[line, column])) for state in states]
    wanted = torch.tensor(truths)
    return sum((F.smooth_l1_loss(one, wanted, beta=1.0) for one in said), torch.zeros(())) / len(states)


def _deed_loss(
    base: TinyLlava, rows: Sequence[Showing], packer: Packer, packed: Packed, states: Sequence[Tensor]
) -> tuple[Tensor, dict[str, float]]:
    """What the patches of the last whole frame say of what their thing does, and what the words for a deed mean, by one head.

    The patches tell a deed only from the others of their clip's family, among which it is looked for.
    """
    names = list(DEEDS)
    families = np.array([family for family, _ in DEEDS.values()])
    seen = [
        ((row, packed.image_start + place), names.index(deed_of(shown.drawn.clip, thing)))
        for row, shown in enumerate(rows)
        for place, thing in seen_patches(shown, WHOLE - 1)
        if shown.drawn.clip.roles[thing] != ANCHOR
    ]
    told = [((row, place), names.index(question.deed)) for question, row, place in deeds_told(packer, packed)]
    total, values = torch.zeros(()), {}
    for what, found in (("deed_seen", seen), ("deed_told", told)):
        if not found:
            continue
        line, column = torch.tensor([place for place, _ in found]).unbind(1)
        truth = torch.tensor([deed for _, deed in found])
        other = torch.from_numpy(families != families[truth.numpy()][:, None])
        for state in states:
            logits = base.deeds(_level(state[line, column]))
            if what == "deed_seen":
                logits = logits.masked_fill(other, HIDDEN)
            total = total + F.cross_entropy(logits, truth) / len(states)
        values[what] = float((logits.argmax(1) == truth).float().mean())
    return total, values


def deeds_told(packer: Packer, packed: Packed) -> list[tuple[Watched, int, int]]:
    """The questions that tell a deed, each with the row and position of the last token of the words for it."""
    found = []
    for question, start, _ in packed.spans:
        if isinstance(question, Watched) and question.deed:
            row, first_answer = (int(number) for number in packed.predicts[start])
            begin = first_answer + 1 - len(packer.prompt_ids(question.text))
            found.append((question, row, begin + packer.length(question.text[: question.told_until]) - 1))
    return found

"""The families of clips: what may be asked of things that move.

A clip is of one family. Its things get roles of the family; which role is played by one thing, which by two and which by none
is dealt out by a shuffle of the roles, so that no word is told by how often it is right.

| family | kind | what its things do | does a single frame tell? |
|---|---|---|---|
| across | motion | go left or right all the time, or there and back, on a ring road | no |
| upright | motion | go up or down all the time, or there and back, on a ring road | no |
| rhythm | motion | stop, start, keep on, rest | no |
| pace | motion | are fast, slow, speed up, slow down | no |
| turning | motion | turn clockwise, anticlockwise, to and fro, not at all | no |
| stopping | order | all move and stop one after the other | no |
| starting | order | all rest and start one after the other | no |
| growing | growth | grow, shrink, there and back | yes: at the end what grew is large |
| passing | interaction | pass behind, in front of or beside a large thing, or hide behind it | in part: while they meet |
| overtaking | interaction | overtake, are overtaken, lead, follow | in part: who is ahead when |
| leaving | interaction | leave, come in, leave and come back, stay | yes: who is there when |
| going, coming | interaction | all leave (or come in) one after the other | yes: who is there when |

Beside the family's own questions every clip but those of `turning`, `passing` and `overtaking` has some that are answered by
looks alone: kind `attribute`, `multi` and `reasoning`. (In those three not every look is as likely, and the words of a phrase
would tell whether anything fits it.) `reasoning` also holds what a role reminds of: "thing that behaves like a car at a closed
barrier". `multi` are several things, by a role or by looks; `none` is any of these wordings where nothing fits it. That `motion`
and `order` cannot be answered from any one frame is proved by tests/toy/test_oracle.py and follows from the laws in `motion`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from seglm.dataset.toy import motion
from seglm.dataset.toy.moving_words import (
    ACROSS,
    GROWING,
    LEAVING,
    OVERTAKING,
    PACE,
    PASSING,
    RHYTHM,
    TURNING,
    UPRIGHT,
    Role,
)
from seglm.dataset.toy.shapes import SHAPES

HIDDEN_KINDS = ("motion", "order")
"""kinds of which no single frame tells the answer"""
ANCHOR = "anchor"
"""role of the thing that a play turns around; nobody asks for it"""
NOT_ROUND = ("square", "triangle", "cross", "star")


@dataclass(frozen=True)
class Family:
    """What the things of a clip do, and how it is said."""

    name: str
    kind: str
    """motion, order, growth or interaction"""
    play: motion.Play
    roles: Mapping[str, Role]
    """name -> words; empty where roles are ranks"""
    sibling: str = ""
    """the family whose events never happen here, where roles are ranks"""
    has_anchor: bool = False
    """True if the last role is that of a large thing which the words name"""
    shapes: tuple[str, ...] = SHAPES
    """that its things may have"""
    share: int = 2
    """how often it is chosen"""

    @property
    def is_ranked(self) -> bool:
        """True if things act one after the other and their roles are ranks."""
        return not self.roles

    @property
    def may_ask_looks(self) -> bool:
        """True if all looks are as likely in it."""
        return not self.has_anchor and self.shapes == SHAPES


FAMILIES = (
    Family("across", "motion", partial(motion.drift, axis=0), ACROSS, share=3),
    Family("upright", "motion", partial(motion.drift, axis=1), UPRIGHT, share=3),
    Family("rhythm", "motion", motion.rhythm, RHYTHM, share=4),
    Family("pace", "motion", motion.pace, PACE),
    Family("turning", "motion", motion.turning, TURNING, shapes=NOT_ROUND),
    Family("stopping", "order", motion.stopping, {}, sibling="starting"),
    Family("starting", "order", motion.starting, {}, sibling="stopping"),
    Family("growing", "growth", motion.growing, GROWING),
    Family("passing", "interaction", motion.passing, PASSING, has_anchor=True),
    Family("overtaking", "interaction", motion.overtaking, OVERTAKING, has_anchor=True),
    Family("leaving", "interaction", motion.leaving, LEAVING),
    Family("going", "interaction", motion.going, {}, sibling="coming", share=1),
    Family("coming", "interaction", motion.coming, {}, sibling="going", share=1),
)
BY_NAME = {family.name: family for family in FAMILIES}

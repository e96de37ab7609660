"""What the roles of moving things are called: in plain words, and by what they remind of.

In a verb phrase {s} and {es} stand for the ending of the third person, {is} and {has} for the whole word, and {a} for
the thing that a play turns around. The last of every tuple is held out of training, see `words.pick`.
"""

from dataclasses import dataclass

SINGULAR = {"{s}": "s", "{es}": "es", "{is}": "is", "{has}": "has"}
PLURAL = {"{s}": "", "{es}": "", "{is}": "are", "{has}": "have"}


@dataclass(frozen=True)
class Role:
    """What a thing may do in a clip."""

    verbs: tuple[str, ...]
    """verb phrases that continue "the thing that ..." """
    likenesses: tuple[str, ...]
    """verb phrases that make one think of it and name neither look nor motion"""


def inflect(verb: str, *, plural: bool = False) -> str:
    """The verb phrase in the third person: "stop{s}" -> "stops", or "stop" of several."""
    for mark, ending in (PLURAL if plural else SINGULAR).items():
        verb = verb.replace(mark, ending)
    return verb


def _roles(table: str) -> dict[str, Role]:
    """Name -> role, of a table with three lines a role: its name, its verb phrases, and what it reminds of."""
    lines = [line.strip() for line in table.strip().splitlines()]
    return {
        name: Role(tuple(verbs.split(" / ")), tuple(likenesses.split(" / ")))
        for name, verbs, likenesses in zip(lines[::3], lines[1::3], lines[2::3], strict=True)
    }


ACROSS = _roles(
    """
    left
        move{s} to the left all the time / keep{s} going left / only ever move{s} to the left
        would get to the west of a map / follow{s} a line of Hebrew / would travel on a map from Rome to Madrid
    left and back
        move{s} to the left and then back / go{es} left first and then right / move{s} to the left and then return{s}
        pay{s} a short visit to the west of a map / fetch{es} a gift from Madrid for Rome / would see the west coast and come home
    right
        move{s} to the right all the time / keep{s} going right / only ever move{s} to the right
        would get to the east of a map / follow{s} a line of English / would travel on a map from Madrid to Rome
    right and back
        move{s} to the right and then back / go{es} right first and then left / move{s} to the right and then return{s}
        pay{s} a short visit to the east of a map / fetch{es} a gift from Rome for Madrid / would see the east coast and come home
    """
)
UPRIGHT = _roles(
    """
    up
        move{s} upwards all the time / keep{s} going up / only ever move{s} upwards
        behave{s} like a balloon that slipped from a hand / behave{s} like smoke / could be a bubble in water
    up and back
        move{s} upwards and then back / go{es} up first and then down / move{s} upwards and then return{s}
        behave{s} like a ball thrown into the air / behave{s} like a fountain / could be somebody on a trampoline
    down
        move{s} downwards all the time / keep{s} going down / only ever move{s} downwards
        behave{s} like an apple from a tree / behave{s} like a stone in a pond / could be a flake of snow
    down and back
        move{s} downwards and then back / go{es} down first and then up / move{s} downwards and then return{s}
        behave{s} like a bucket in a well / behave{s} like a diver with pearls / could be a yo-yo
    """
)
RHYTHM = _roles(
    """
    stops
        stop{s} / come{s} to a halt / move{s} at first and then rest{s}
        behave{s} like a car at a closed barrier / do{es} what a train does at a station / {has} run out of fuel
    starts
        start{s} to move later on / rest{s} at first and then move{s} / {is} set in motion halfway
        behave{s} like a car when the barrier opens / wake{s} up / hear{s} the starting gun
    keeps on
        never stop{s} / keep{s} moving from beginning to end / move{s} without a break
        never need{s} a rest / behave{s} like a river / {has} no brakes
    rests
        never move{s} / stay{s} put / rest{s} all the time
        behave{s} like a rock / {is} fast asleep / {has} put down roots
    """
)
PACE = _roles(
    """
    fast
        move{s} fast all the time / {is} quick from beginning to end / keep{s} up a high speed
        behave{s} like a hare / {is} in a hurry / would win any race
    slow
        move{s} slowly all the time / {is} slow from beginning to end / keep{s} to a low speed
        behave{s} like a tortoise / {has} all the time in the world / would lose any race
    speeds up
        speed{s} up / get{s} faster and faster / move{s} more and more quickly
        behave{s} like a sledge on a hill / behave{s} like a rocket after take-off / step{s} on the gas
    slows down
        slow{s} down / get{s} slower and slower / move{s} less and less quickly
        grow{s} tired / behave{s} like a ball in the grass / step{s} on the brakes
    """
)
TURNING = _roles(
    """
    clockwise
        turn{s} clockwise / turn{s} to the right all the time / rotate{s} clockwise
        behave{s} like the hands of a clock / could drive in a screw / could turn a tap off
    anticlockwise
        turn{s} anticlockwise / turn{s} to the left all the time / rotate{s} anticlockwise
        behave{s} like a clock that runs backwards / could take out a screw / could turn a tap on
    to and fro
        turn{s} one way and then back / swing{s} there and back / rotate{s} to one side and back again
        behave{s} like a door that is opened and closed / behave{s} like a key that is tried / could be a head that is shaken
    level
        do{es} not turn / keep{s} the same angle / never rotate{s}
        would not spill a drop / behave{s} like a picture on a wall / could carry a full glass
    """
)
GROWING = _roles(
    """
    grows
        grow{s} all the time / get{s} bigger and bigger / keep{s} growing
        behave{s} like a balloon that is blown up / behave{s} like dough in the oven / could be a snowball on a slope
    shrinks
        shrink{s} all the time / get{s} smaller and smaller / keep{s} shrinking
        behave{s} like ice in the sun / behave{s} like a bar of soap / could be a candle
    grows and back
        grow{s} and then shrink{s} again / get{s} bigger first and then smaller / grow{s} and return{s} to the old size
        behave{s} like lungs that take a breath / behave{s} like a wave / could be the chewing gum of a child
    shrinks and back
        shrink{s} and then grow{s} again / get{s} smaller first and then bigger / shrink{s} and return{s} to the old size
        behave{s} like a sponge in a fist / behave{s} like an eye in a flash of light / could be a spring under a foot
    """
)
PASSING = _roles(
    """
    behind
        pass{es} behind the {a} / go{es} behind the {a} and come{s} out again / travel{s} past behind the {a}
        {is} out of sight for a while because of the {a} / use{s} the {a} as a tunnel / treat{s} the {a} as a curtain
    in front
        pass{es} in front of the {a} / cover{s} a part of the {a} on the way / travel{s} past in front of the {a}
        spoil{s} the view of the {a} for a while / treat{s} the {a} as a carpet / would be bitten first by the {a}
    hides
        hide{s} behind the {a} / go{es} behind the {a} and stay{s} there / vanish{es} behind the {a} for good
        play{s} hide and seek with the {a} / seek{s} shelter with the {a} / make{s} a home in the {a}
    beside
        pass{es} beside the {a} / pass{es} the {a} without touching it / go{es} past the {a} at a distance
        {is} afraid of the {a} / give{s} the {a} a wide berth / could not be caught by the {a}
    """
)
OVERTAKING = _roles(
    """
    overtakes
        overtake{s} the {a} / start{s} behind the {a} and end{s} up ahead of it / get{s} past the {a}
        beat{s} the {a} after a bad start / would get the medal that the {a} hoped for / make{s} the {a} look tired
    falls behind
        {is} overtaken by the {a} / start{s} ahead of the {a} and end{s} up behind it / let{s} the {a} get past
        lose{s} to the {a} after a good start / would get the silver medal behind the {a} / make{s} the {a} look strong
    leads
        stay{s} ahead of the {a} / move{s} before the {a} all the way / keep{s} the lead over the {a}
        would guide the {a} through a forest / {has} the {a} at the heels / could be the prey of the {a}
    follows
        follow{s} the {a} / stay{s} in back of the {a} all the way / never catch{es} up with the {a}
        behave{s} like a pupil of the {a} / could be on a leash of the {a} / could be the hunter of the {a}
    """
)
LEAVING = _roles(
    """
    leaves
        leave{s} the picture for good / go{es} out of view and stay{s} away / vanish{es} over the edge for ever
        {has} had enough / go{es} home early / miss{es} the end of the show
    comes in
        come{s} into the picture / {is} out of view at first and then appear{s} / enter{s} over the edge
        {is} late / miss{es} the beginning of the show / join{s} the others after a while
    leaves and back
        leave{s} the picture and come{s} back / go{es} out of view and return{s} / vanish{es} over the edge and appear{s} again
        go{es} shopping / miss{es} the middle of the show / take{s} a short holiday
    stays
        stay{s} in the picture all the time / never leave{s} the picture / {is} in view from beginning to end
        see{s} the whole show / {is} always there for the others / {has} no wish to travel
    """
)
EVENTS = {  # of the plays in which things act one after the other: verb phrases that continue "the first to ..."
    "stopping": ("stop", "come to a halt", "stand still"),
    "starting": ("start moving", "set out", "get going"),
    "going": ("leave the picture", "go out of view", "vanish over the edge"),
    "coming": ("come into the picture", "come into view", "appear over the edge"),
}
RANK_SAYINGS = (
    "{rank} {n} to {e}",
    "{n} that {is} the {rank} to {e}",
    "{rank} {n} that {is} seen to {e}",
)

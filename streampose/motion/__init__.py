"""What can be done to poses when the whole clip is there: pure functions over moments, without models or pictures."""

from streampose.motion.calm import calm
from streampose.motion.choice import Choice, Span, largest, only, parse_choice, pick
from streampose.motion.faces import face_squares, held
from streampose.motion.fit import Retargeting
from streampose.motion.gaps import fill
from streampose.motion.groups import Groups, groups
from streampose.motion.prompts import key_frames, prompts, words
from streampose.motion.retarget import retargeted
from streampose.motion.shots import shots
from streampose.motion.sightings import Sighting, link, renamed, survey

__all__ = [
    "Choice",
    "Groups",
    "Retargeting",
    "Sighting",
    "Span",
    "calm",
    "face_squares",
    "fill",
    "groups",
    "held",
    "key_frames",
    "largest",
    "link",
    "only",
    "parse_choice",
    "pick",
    "prompts",
    "renamed",
    "retargeted",
    "shots",
    "survey",
    "words",
]

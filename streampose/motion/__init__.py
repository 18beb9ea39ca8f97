"""What can be done to poses when the whole clip is there: pure functions over moments, without models or pictures."""

from streampose.motion.calm import calm
from streampose.motion.choice import Choice, Span, only, parse_choice, pick
from streampose.motion.gaps import fill
from streampose.motion.sightings import Sighting, link, renamed, survey

__all__ = [
    "Choice",
    "Sighting",
    "Span",
    "calm",
    "fill",
    "link",
    "only",
    "parse_choice",
    "pick",
    "renamed",
    "survey",
]

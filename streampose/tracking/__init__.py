"""Who is who over time, and calmer points."""

from streampose.tracking.smoothing import OneEuro, OneEuroOptions
from streampose.tracking.tracker import Tracker, TrackerOptions

__all__ = ["OneEuro", "OneEuroOptions", "Tracker", "TrackerOptions"]

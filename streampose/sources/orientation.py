"""How a stored picture is turned and mirrored to be seen."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from av.sidedata.sidedata import SideData, SideDataContainer
from av.video.frame import VideoFrame

from streampose.frame import Image

__all__ = ["Orientation", "orientation_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """One of the eight; what a display matrix says of other angles is rounded to one."""

    transposed: bool = False
    """Rows become columns, before the flips."""
    flipped_x: bool = False
    flipped_y: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged, however it is turned."""
        return self.transposed ^ self.flipped_x ^ self.flipped_y

    def __call__(self, image: Image) -> Image:
        """The picture as it is to be seen; a view of what is given."""
        if self.transposed:
            image = image.swapaxes(0, 1)
        return image[:: -1 if self.flipped_y else 1, :: -1 if self.flipped_x else 1]


_AS_STORED = Orientation()
# By quarter turns to the left.
_TURNED = (
    _AS_STORED,
    Orientation(transposed=True, flipped_y=True),
    Orientation(flipped_x=True, flipped_y=True),
    Orientation(transposed=True, flipped_x=True),
)


def orientation_of(picture: VideoFrame) -> Orientation | None:
    """Of a decoded picture, by its display matrix; `None` = it has none."""
    try:
        # Not `picture.side_data`: a picture that knows its container, which knows it, is only let go of by the garbage
        # collection, and of 4K ninety are there by then.
        said = SideDataContainer(picture).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    except ValueError:  # PyAV has no name for something else that it carries (say, EXIF)
        return _TURNED[picture.rotation // 90 % 4]
    if not isinstance(said, SideData):
        return None
    # x' = a x + c y, y' = b x + d y; x to the right and y down, as stored and as seen.
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(said))
    if abs(b) > abs(a):
        return Orientation(transposed=True, flipped_x=c < 0, flipped_y=b < 0)
    return Orientation(flipped_x=a < 0, flipped_y=d < 0)

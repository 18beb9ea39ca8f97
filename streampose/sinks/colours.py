"""From BGR to the colours that players take a video for."""

from __future__ import annotations

import av
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

__all__ = ["Colours"]

# Numbers of ITU-T H.273, the same for primaries, transfer and matrix.
_BT709, _BT601 = 1, 6
# FFmpeg rounds down otherwise: blue and red come back 1.6 darker. It costs 1.7 ms of a 1080p picture, by hand.
_ROUNDED = Interpolation.BILINEAR | Interpolation.ACCURATE_RND


class Colours:
    """The colours of one video: of BT.709 where players take them for that unless told otherwise, as mpv does, else of
    BT.601; always of limited range. The video says so, too.

    Args:
        width_px: of the video.
        height_px: of the video.
    """

    def __init__(self, width_px: int, height_px: int) -> None:
        self._number = _BT709 if width_px >= 1280 or height_px > 576 else _BT601
        # One for all pictures: making one ready takes as long as a picture.
        self._reformatter = VideoReformatter()

    def tell(self, context: VideoCodecContext) -> None:
        """Have an encoder, which is not open yet, write them into the video."""
        context.color_primaries = context.color_trc = context.colorspace = self._number
        context.color_range = ColorRange.MPEG

    def convert(self, picture: av.VideoFrame, pixels: str) -> av.VideoFrame:
        """An RGB picture as one of them.

        Args:
            picture: of any RGB format.
            pixels: FFmpeg's name of a YUV format.
        """
        # More threads would be started and ended for each picture.
        made = self._reformatter.reformat(
            picture,
            format=pixels,
            dst_colorspace=Colorspace.ITU709 if self._number == _BT709 else Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            interpolation=_ROUNDED,
            threads=1,
        )
        made.color_primaries = made.color_trc = self._number  # ProRes asks each picture, not the encoder
        return made

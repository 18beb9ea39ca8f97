"""Files and folders that appear when they are whole."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from streampose.errors import SinkFailed
from streampose.whole import appear_folder


@pytest.mark.skipif(sys.platform == "win32", reason="has another limit")
def test_a_folder_that_cannot_take_the_place_of_another_is_told_with_its_name(tmp_path: Path):
    path, part = tmp_path / ("x" * 253), tmp_path / "part"  # with ".old" behind, its name would be too long
    path.mkdir()
    part.mkdir()
    with pytest.raises(SinkFailed, match=r"x{253} cannot be written: .*too long"):
        appear_folder(part, path, re.compile(""))
    assert path.exists()

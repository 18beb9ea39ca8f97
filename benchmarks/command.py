"""What the commands here have in common: how they are described, where the shared assets are, where figures go."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from pathlib import Path

ASSETS = Path(__file__).parents[2] / "shared" / "assets"


def parser_of(description: str | None, assets: str = "") -> argparse.ArgumentParser:
    """With ``--json`` for the figures, and ``--assets`` for what is needed of them, if anything is."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if assets:
        made.add_argument("--assets", type=Path, default=ASSETS, help=f"folder with {assets}")
    made.add_argument("--json", type=Path, help="also write the figures to this file")
    return made


def write_to(path: Path | None, figures: object) -> None:
    """Where a file was named."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def python_with(packages: list[str], folder: Path) -> Path:
    """The interpreter of a virtual environment, which is made where it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing {packages[0]} into {folder} …", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return python

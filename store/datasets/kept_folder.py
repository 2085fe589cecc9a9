"""Where a data directory keeps what versions were made of and could not be found again."""

from typing import Final

KEPT_FOLDER: Final = "kept"
"""Packed copies, each named after the SHA-256 of what it holds; see `processing.datasets.kept_source`."""

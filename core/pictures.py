"""A few items of a split as pictures: what was given, what was wanted, and what was answered."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

KIND = "nastk pictures"
_MOST = 24  # pictures, each of at most so many bytes and so many pixels wide
_LARGEST = 200_000
_WIDE = 288
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures for the report.

    Attributes:
        files: each a PNG file.
    """

    files: tuple[bytes, ...]

    @classmethod
    def of(cls, images: Sequence[Image.Image]) -> Pictures:
        """Return images, made smaller where they are wide."""
        return cls(files=tuple(_png(image) for image in images))

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of them."""
        return {"kind": KIND, "files": [base64.b64encode(file).decode() for file in self.files]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Pictures:
        """Return them from what `to_json` gave, whoever may have written that.

        Raises:
            ValueError: if they are none.
        """
        try:
            files = tuple(base64.b64decode(text, validate=True) for text in content["files"])
            is_sound = content["kind"] == KIND and len(files) <= _MOST
        except (KeyError, TypeError, ValueError) as error:
            detail = f"{type(error).__name__} {str(error)[:60]}"
            raise ValueError(f"these are no {KIND}: {detail}") from None
        if not is_sound or not all(f.startswith(_PNG) and len(f) < _LARGEST for f in files):
            raise ValueError(f"these are no {KIND}: a picture is none, or too large")
        return cls(files=files)


def _png(image: Image.Image) -> bytes:
    file, shown = io.BytesIO(), image.copy()
    shown.thumbnail((_WIDE, _WIDE))
    shown.save(file, "png", optimize=True)
    return file.getvalue()

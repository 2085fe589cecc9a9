"""Images that stand in messages as data URLs: their bytes, for targets that want those."""

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from processing.exports.chat import image_address
from processing.exports.reason import CannotHoldError, LeftOut
from store.recorded.message import Json

# RFC 2397; only the base64 form is used for images.
_DATA_URL: Final = re.compile(r"data:image/([a-z0-9.+-]{1,40})(?:;[^,;]*)*?;base64,", re.IGNORECASE)
_SUFFIXES: Final = {"jpeg": "jpg", "svg+xml": "svg"}


@dataclass(frozen=True, slots=True)
class Image:
    """An image that a message holds.

    Attributes:
        content: Its bytes.
        name: A file name made of the hash of the bytes.
    """

    content: bytes
    name: str


def inline_image(part: Json) -> Image:
    """Decode the image of a content part.

    Raises:
        CannotHoldError: `image_not_inline`, when there is but an address, or what there is cannot be decoded.
    """
    address = image_address(part)
    match = _DATA_URL.match(address) if address is not None else None
    if address is None or match is None:
        raise CannotHoldError(LeftOut.IMAGE_NOT_INLINE, "the image is no data URL in base64")
    try:
        content = base64.b64decode("".join(address[match.end() :].split()), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise CannotHoldError(LeftOut.IMAGE_NOT_INLINE, "the image's base64 cannot be decoded") from exc
    kind = match[1].lower()
    return Image(content, f"{sha256(content).hexdigest()}.{_SUFFIXES.get(kind, kind.split('+')[0])}")

"""One picture from a file, as a person would see it."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
"""What files may contain, whatever their names: of Pillow's formats those of pictures in pixels."""

ENDINGS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp",
    ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".avif",
)  # fmt: skip
"""How the names of such files end, in small letters."""

Mode = Literal["RGB", "L"]

_SIXTEEN_BITS = ("PNG", "PPM")  # formats whose mode "I" is 16 bits, in one version of Pillow or another
_LONGEST = 16  # sides: beyond, only the middle of a picture is looked at
_ORIENTATION, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 274, 258, 262, 339  # tags of EXIF and TIFF
_WHITE_IS_ZERO = 0
_SIGNED = 2  # of the sample format
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_picture(file: Path, mode: Mode) -> Image.Image:
    """The picture in `file`, 8 bits, RGB or grey ("L", ITU-R 601), in its full size.

    It is turned as EXIF says. Of several frames or pages it is the first. What is transparent lies on white. Grey of 16
    bits is divided by 257: white is the highest number that the format has. Floating point is grey from 0, black, to 1,
    white. CMYK is converted without a profile, and profiles of colour are not looked at.
    Raises an exception of any kind, most often OSError, for what cannot be read: other content, a damaged file, more
    pixels than `PIL.Image.MAX_IMAGE_PIXELS` twice, 32-bit integers, floating point beyond 0 and 1.
    """
    with open(file, "rb") as stream, Image.open(stream, formats=_formats()) as opened:
        named = _named_transparent(opened, stream)
        opened.load()
        turn = _TURNS.get(_orientation(opened))
        picture = _on_white(_eight_bits(opened) if named is None else named)
        return (picture if turn is None else picture.transpose(turn)).convert(mode)


Fit = Literal["crop", "pad"]
"""How a picture that is no square becomes one: its middle alone, or the whole of it between black borders."""


def square(picture: Image.Image, size: int, fit: Fit = "crop") -> UInt8[Tensor, "C H W"]:
    """A square of `size` pixels on a side: the picture resized (by Pillow, bilinear with antialiasing), cut or padded.

    fit: "crop" resizes its shorter side to `size`, the longer side being rounded down, and takes the middle. "pad"
    resizes its longer side to `size`, the shorter side being rounded to the nearest, and puts it in the middle of
    black. Of a picture more than 16 times as long as wide, only the middle is looked at.
    """
    width, height = picture.size
    longest = _LONGEST * min(width, height)
    if max(width, height) > longest:
        left, top = (max(side - longest, 0) // 2 for side in (width, height))
        picture = picture.crop((left, top, left + min(width, longest), top + min(height, longest)))
    return v2.functional.pil_to_tensor(_padded(picture, size)) if fit == "pad" else _square(size)(picture)


def _padded(picture: Image.Image, size: int) -> Image.Image:
    longest = max(picture.size)
    width, height = (max(1, (2 * side * size + longest) // (2 * longest)) for side in picture.size)
    whole = Image.new(picture.mode, (size, size))
    whole.paste(picture.resize((width, height), Image.Resampling.BILINEAR), ((size - width) // 2, (size - height) // 2))
    return whole


def fingerprint(file: Path, mode: Mode) -> bytes:
    """The sha256 of the picture's size and of all its pixels, as `read_picture` gives them."""
    picture = read_picture(file, mode)
    return hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).digest()


def why_unreadable(file: Path, error: Exception) -> str:
    """In a few words, why `read_picture` raised `error`."""
    if isinstance(error, UnidentifiedImageError):
        return "no picture" if file.stat().st_size else "empty"
    words = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(words.split())[:120]


@cache
def _square(size: int) -> v2.Compose:
    resize = v2.Resize(size, InterpolationMode.BILINEAR, antialias=True)
    return v2.Compose([resize, v2.CenterCrop(size), v2.PILToTensor()])


@cache
def _formats() -> list[str]:
    """Those that the installed Pillow knows."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _orientation(picture: Image.Image) -> int:
    """How the camera was held; damaged notes of it do not spoil a picture."""
    try:
        return picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow raises all kinds
        return 1


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey of more bits scaled to 8, by what the format calls white; everything else as it is."""
    mode, tags = picture.mode, getattr(picture, "tag_v2", {})
    if mode == "F":
        levels = np.asarray(picture)
        low, high = levels.min(), levels.max()
        if not (low >= 0 and high <= 1):  # not a number, too
            raise ValueError(f"floating point from {low:g} to {high:g}, expected 0 to 1")
        grey = np.rint(levels * 255).astype(np.uint8)
        return Image.fromarray(255 - grey if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else grey)
    signed = _SIGNED in tuple(tags.get(_SAMPLE_FORMAT, ()))  # of 8 bits, too, which Pillow reads as if it were not
    if signed or (mode == "I" and picture.format not in _SIXTEEN_BITS):
        raise ValueError("32-bit or signed integers, whose white is not known; convert it to 8 or 16 bits")
    if mode != "I" and not mode.startswith("I;16"):
        return picture
    white = 2 ** int(tags.get(_BITS, (16,))[0]) - 1
    levels = np.asarray(picture).astype(np.uint32)
    grey = ((levels * 255 + white // 2) // white).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    if (transparent := picture.info.get("transparency")) is not None:
        grey = np.where(levels == transparent, np.uint8(255), grey)
    return Image.fromarray(grey)


def _named_transparent(picture: Image.Image, stream: BinaryIO) -> Image.Image | None:
    """A PNG in whose grey of 2 or 4 bits, or colour of 16, one value is transparent; None for every other picture.

    Pillow compares that value, in the file's bits, with the picture's 8 bits. picture: as opened from `stream`.
    """
    value = picture.info.get("transparency")
    if value is None or picture.format != "PNG" or picture.mode not in ("L", "RGB"):
        return None
    present = stream.tell()
    stream.seek(24)  # of the header, behind its width and height
    bits = stream.read(1)[0]
    stream.seek(present)
    picture.load()
    levels = np.asarray(picture)
    if picture.mode == "L" and bits < 8:
        transparent = levels == value * (255 // (2**bits - 1))
    elif picture.mode == "RGB" and bits == 16:
        stream.seek(0)
        with Image.open(stream, formats=["PNG"]) as again:
            # The lower bytes in place of the upper ones.
            cast(Any, again).tile = [(*tile[:3], "RGB;16L") for tile in again.tile]
            again.load()
            lower = np.asarray(again)
        transparent = (levels.astype(np.uint16) * 256 + lower == value).all(-1)
    else:
        return None
    return Image.fromarray(np.where(transparent if levels.ndim == 2 else transparent[..., None], np.uint8(255), levels))


def _on_white(picture: Image.Image) -> Image.Image:
    if "transparency" not in picture.info and picture.mode not in ("LA", "La", "PA", "RGBA", "RGBa"):
        return picture
    picture = picture.convert("RGBA")
    if picture.getchannel("A").getextrema() == (255, 255):
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)

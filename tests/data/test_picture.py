"""Every kind of picture file is read as a person would see it, or named as one that cannot be read."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from augrad.data.decode import decode
from augrad.data.picture import read_picture

SIDE = 24
RAMP = np.add.outer(np.arange(SIDE), np.arange(SIDE)) / (2 * SIDE - 2)
EIGHT = np.rint(RAMP * 255).astype(np.uint8)
SIXTEEN = np.rint(RAMP * 65535).astype(np.uint16)


def read(file: Path, channels: int = 3, size: int = SIDE) -> Tensor:
    images, _, unreadable = decode([file], size, channels)
    assert not unreadable
    return images[0]


def why_not(file: Path) -> str:
    images, _, unreadable = decode([file], SIDE, 3)
    assert not images.any()
    return unreadable[0]


def colours() -> Image.Image:
    """Smooth, no two corners alike."""
    return Image.fromarray(np.stack([EIGHT, EIGHT[::-1], np.full_like(EIGHT, 90)], 2))


def pgm(levels: np.ndarray, white: int) -> bytes:
    return f"P5 {SIDE} {SIDE} {white}\n".encode() + levels.astype(">u2").tobytes()


DARK = (1 - RAMP).astype(np.float32)
GREYS = {
    "8-bit PNG": lambda f: Image.fromarray(EIGHT).save(f, "PNG"),
    "16-bit PNG": lambda f: Image.fromarray(SIXTEEN).save(f, "PNG"),
    "16-bit TIFF": lambda f: Image.fromarray(SIXTEEN).save(f, "TIFF"),
    "16-bit TIFF, big-endian": lambda f: Image.fromarray(SIXTEEN.astype(">u2")).save(f, "TIFF"),
    "16-bit TIFF, compressed": lambda f: Image.fromarray(SIXTEEN).save(f, "TIFF", compression="tiff_lzw"),
    "16-bit TIFF, white is zero": lambda f: Image.fromarray(65535 - SIXTEEN).save(f, "TIFF", tiffinfo={262: 0}),
    "float TIFF, white is zero": lambda f: Image.fromarray(DARK).save(f, "TIFF", tiffinfo={262: 0}),
    "16-bit JPEG 2000": lambda f: Image.fromarray(SIXTEEN).save(f, "JPEG2000"),
    "16-bit PGM": lambda f: f.write_bytes(pgm(SIXTEEN, 65535)),
    "10-bit PGM": lambda f: f.write_bytes(pgm(RAMP * 1023, 1023)),
    "float TIFF": lambda f: Image.fromarray(RAMP.astype(np.float32)).save(f, "TIFF"),
    "PFM": lambda f: f.write_bytes(f"Pf\n{SIDE} {SIDE}\n-1.0\n".encode() + RAMP[::-1].astype("<f4").tobytes()),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", GREYS)
def test_grey_of_every_depth(tmp_path: Path, kind: str, channels: int) -> None:
    GREYS[kind](tmp_path / "x")
    found = read(tmp_path / "x", channels).int()
    assert (found - torch.from_numpy(EIGHT).int()).abs().max() <= 1
    assert (found == found[:1]).all()
    assert (found.min(), found.max()) == (0, 255)


@pytest.mark.parametrize(
    ("levels", "word"),
    [
        ((RAMP * 65535).astype(np.int32), "32-bit"),
        ((RAMP * 255).astype(np.float32), "floating point from 0 to 255"),
        ((RAMP - 0.5).astype(np.float32), "floating point from -0.5 to 0.5"),
        (np.where(RAMP > 0.5, np.nan, RAMP).astype(np.float32), "floating point from nan"),
    ],
)
def test_greys_whose_white_is_not_known_are_named(tmp_path: Path, levels: np.ndarray, word: str) -> None:
    Image.fromarray(levels).save(tmp_path / "x.tif")
    assert word in why_not(tmp_path / "x.tif")


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_signed_greys_are_named(tmp_path: Path, kind: type) -> None:
    levels = np.linspace(np.iinfo(kind).min, np.iinfo(kind).max, SIDE * SIDE).astype(kind).reshape(SIDE, SIDE)
    unsigned = np.uint8 if kind == np.int8 else np.uint16
    Image.fromarray(levels.view(unsigned)).save(tmp_path / "x.tif", tiffinfo={339: 2})
    assert "signed" in why_not(tmp_path / "x.tif")


TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
"""What a camera that was held so keeps of an upright picture."""


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    upright = np.asarray(colours())
    exif = Image.Exif()
    exif[274] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    stored = Image.fromarray(np.ascontiguousarray(TURNED[orientation](upright)))
    stored.save(tmp_path / "x", kind, exif=exif, **options)
    found = read(tmp_path / "x").permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - upright).max() <= (6 if kind == "JPEG" else 0)


def test_damaged_notes_do_not_spoil_a_picture(tmp_path: Path) -> None:
    for number, notes in enumerate(
        (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff")
    ):
        file = tmp_path / f"{number}.jpg"
        colours().save(file, exif=notes, quality=100)
        assert read(file).float().std() > 40


def _transparent(mode: str, file: Path) -> None:
    """The left half a colour, the right half another one that is transparent; as a PNG (or GIF) of the mode."""
    left = np.arange(SIDE) < SIDE // 2
    if mode in ("RGBA", "LA"):
        alpha = Image.fromarray(np.tile(np.where(left, 255, 0).astype(np.uint8), (SIDE, 1)))
        picture = Image.new(mode[:-1], (SIDE, SIDE), 40 if mode == "LA" else (40, 40, 40))
        picture.putalpha(alpha)
        picture.save(file)
    elif mode == "I;16":
        Image.fromarray(np.tile(np.where(left, 40 * 257, 777).astype(np.uint16), (SIDE, 1))).save(
            file, transparency=777
        )
    else:
        grey = Image.fromarray(np.tile(np.where(left, 40, 7).astype(np.uint8), (SIDE, 1)))
        if mode in ("P", "GIF"):
            grey.putpalette([value for level in range(256) for value in (level, level, level)])
        picture = grey.convert("RGB") if mode == "RGB" else grey
        picture.save(file, "GIF" if mode == "GIF" else "PNG", transparency=(7, 7, 7) if mode == "RGB" else 7)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "GIF", "RGB", "L", "I;16"])
def test_what_is_transparent_lies_on_white(tmp_path: Path, mode: str, channels: int) -> None:
    _transparent(mode, tmp_path / "x.png")
    found = read(tmp_path / "x.png", channels)
    assert found[..., : SIDE // 2].unique().tolist() == [40]
    assert found[..., SIDE // 2 :].unique().tolist() == [255]


def _png(bits: int, kind: int, row: bytes, transparent: tuple[int, ...]) -> bytes:
    """A PNG of one row of four pixels; kind 0 is grey, 2 is colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 4, 1, bits, kind, 0, 0, 0)
    named = struct.pack(f">{len(transparent)}H", *transparent)
    pixels = zlib.compress(b"\0" + row)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(name, data) for name, data in ((b"IHDR", head), (b"tRNS", named), (b"IDAT", pixels), (b"IEND", b""))
    )


COLOUR = (0x1234, 0x5678, 0x9ABC)
NAMED = {  # the first pixel is the transparent one; the second is like it but for the lowest bit
    "grey, 1 bit": (_png(1, 0, bytes([0b10_00_0000]), (1,)), [255, 0, 0, 0]),
    "grey, 1 bit, black": (_png(1, 0, bytes([0b01_11_0000]), (0,)), [255, 255, 255, 255]),
    "grey, 2 bits": (_png(2, 0, bytes([0b01_00_10_11]), (1,)), [255, 0, 170, 255]),
    "grey, 2 bits, black": (_png(2, 0, bytes([0b00_01_10_11]), (0,)), [255, 85, 170, 255]),
    "grey, 4 bits": (_png(4, 0, bytes([0x89, 0x01]), (8,)), [255, 153, 0, 17]),
    "grey, 8 bits": (_png(8, 0, bytes([136, 137, 0, 8]), (136,)), [255, 137, 0, 8]),
    "grey, 16 bits": (_png(16, 0, struct.pack(">4H", 257, 514, 0, 771), (257,)), [255, 2, 0, 3]),
    "colour, 8 bits": (_png(8, 2, bytes([1, 2, 3, 1, 2, 4, 0, 0, 0, 9, 9, 9]), (1, 2, 3)), [255, 1, 0, 9]),
    "colour, 16 bits": (
        _png(16, 2, struct.pack(">12H", *COLOUR, COLOUR[0] + 1, *COLOUR[1:], 0, 0, 0, 2304, 2304, 2304), COLOUR),
        [255, 0x12, 0, 9],
    ),
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_colour_that_is_named_transparent_is_compared_in_its_own_bits(tmp_path: Path, kind: str) -> None:
    content, reds = NAMED[kind]
    (tmp_path / "x").write_bytes(content)
    assert np.asarray(read_picture(tmp_path / "x", "RGB"))[0, :, 0].tolist() == reds


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    Image.new("RGBA", (SIDE, SIDE), (100, 0, 200, 128)).save(tmp_path / "x.png")
    assert read(tmp_path / "x.png")[:, 0, 0].tolist() == [pytest.approx(v, abs=1) for v in (177, 127, 227)]


@pytest.mark.parametrize(
    "kind", ["CMYK JPEG", "CMYK TIFF", "YCbCr TIFF", "progressive JPEG", "1-bit", "AVIF", "JPEG 2000"]
)
def test_colours_of_other_kinds(tmp_path: Path, kind: str) -> None:
    file, picture = tmp_path / "x", colours()
    if kind.startswith("CMYK"):
        picture.convert("CMYK").save(file, kind[5:], quality=100)  # Pillow inverts a JPEG's as Adobe does
    elif kind == "YCbCr TIFF":
        picture.convert("YCbCr").save(file, "TIFF")
    elif kind == "progressive JPEG":
        picture.save(file, "JPEG", progressive=True, quality=100)
    elif kind == "1-bit":
        picture = Image.fromarray(RAMP > 0.5)
        picture.save(file, "PNG")
    elif kind == "AVIF":
        if "AVIF" not in Image.SAVE:
            pytest.skip("needs a Pillow with AVIF")
        picture.save(file, "AVIF", quality=100, subsampling="4:4:4")
    else:
        picture.save(file, "JPEG2000")
    expected = torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)
    assert (read(file).int() - expected.int()).abs().max() <= 12
    grey = torch.from_numpy(np.asarray(picture.convert("RGB").convert("L")).copy())
    assert (read(file, 1)[0].int() - grey.int()).abs().max() <= 12


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_the_first_of_several_frames(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (SIDE, SIDE), (0, 40 * index, 255)) for index in range(4)]
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(tmp_path / "x", kind, save_all=True, append_images=frames[1:], **options)
    assert (read(tmp_path / "x")[:, 3, 3].int() - torch.tensor([0, 0, 255])).abs().max() <= (2 if kind == "MPO" else 0)


def test_the_content_counts_and_not_the_ending(tmp_path: Path) -> None:
    colours().save(tmp_path / "x.jpg", "PNG")
    assert torch.equal(read(tmp_path / "x.jpg").permute(1, 2, 0), torch.from_numpy(np.asarray(colours()).copy()))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 2_000_000), (2_000_000, 1), (3, 2000)])
def test_pictures_of_odd_shapes_take_no_more_memory_than_others(tmp_path: Path, width: int, height: int) -> None:
    Image.new("L", (width, height), 77).save(tmp_path / "x.png", compress_level=1)
    assert read(tmp_path / "x.png", 1, 400).unique().tolist() == [77]


def test_the_middle_of_a_long_picture(tmp_path: Path) -> None:
    levels = np.repeat(np.array([10, 200], np.uint8), 500)[None].repeat(8, 0)
    Image.fromarray(levels).save(tmp_path / "x.png")
    found = read(tmp_path / "x.png", 1, 8)[0]
    assert found[0].tolist() == [10] * 4 + [200] * 4


def png(width: int, height: int, bits: int, kind: int, pixels: bytes, transparent: bytes = b"") -> bytes:
    """kind: 0 grey, 2 RGB, 4 grey with alpha, 6 RGB with alpha. pixels: rows, each after a zero."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    beside = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + head + beside + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_for_each_of_several_channels(tmp_path: Path, kind: int, channels: int) -> None:
    levels = np.repeat((np.asarray(RAMP) * 65535).astype(">u2")[..., None], channels, 2)
    if channels in (2, 4):
        levels[..., -1] = 65535
    (tmp_path / "x.png").write_bytes(png(SIDE, SIDE, 16, kind, b"".join(b"\0" + row.tobytes() for row in levels)))
    assert (read(tmp_path / "x.png").int() - torch.from_numpy(EIGHT).int()).abs().max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_few_bits(tmp_path: Path, bits: int) -> None:
    """Eight pixels of white, then black ones that are transparent or not."""
    row = b"\0" + b"\xff" * bits + b"\0" * bits
    for transparent, right in ((b"", 0), (b"\0\0", 255)):
        (tmp_path / "x.png").write_bytes(png(16, 16, bits, 0, row * 16, transparent))
        found = read(tmp_path / "x.png", size=16)
        assert (found[..., :8].unique().tolist(), found[..., 8:].unique().tolist()) == ([255], [right])


def content(kind: str) -> bytes:
    buffer = io.BytesIO()
    colours().save(buffer, kind)
    return buffer.getvalue()


DAMAGED = {
    "empty": (lambda: b"", "empty"),
    "text": (lambda: b"no picture at all", "no picture"),
    "zeros": (lambda: bytes(4000), "no picture"),
    "a head alone": (lambda: content("PNG")[:20], ""),
    "half a PNG": (lambda: content("PNG")[: len(content("PNG")) // 2], "truncated"),
    "the tables of a JPEG": (lambda: content("JPEG")[: len(content("JPEG")) // 2], ""),
    "most of a JPEG": (lambda: content("JPEG")[:-60], "truncated"),
    "most of a GIF": (lambda: content("GIF")[:-60], ""),
    "half a BMP": (lambda: content("BMP")[: len(content("BMP")) // 2], "truncated"),
    "half a TIFF": (lambda: content("TIFF")[: len(content("TIFF")) // 2], ""),
    "half a WebP": (lambda: content("WEBP")[: len(content("WEBP")) // 2], ""),
    "more pixels than anybody has": (lambda: png(100_000, 100_000, 8, 2, bytes(100)), "limit"),
    "fewer pixels than it says": (lambda: png(1000, 1000, 8, 2, bytes(100)), ""),
    "PostScript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 24\n%%EOF\n", "no picture"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files_are_named_with_the_reason(tmp_path: Path, kind: str) -> None:
    make, words = DAMAGED[kind]
    (tmp_path / "x.png").write_bytes(make())
    assert words in why_not(tmp_path / "x.png")
    assert "\n" not in why_not(tmp_path / "x.png")


def test_files_that_went_away_or_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert why_not(tmp_path / "x.png") == "No such file or directory"
    assert why_not(tmp_path) == "Is a directory"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_no_damage_ends_the_reading(tmp_path: Path, kind: str) -> None:
    """Bytes changed, cut off and put in at random; the sound picture between them stays what it is."""
    generator = np.random.default_rng(0)
    whole, files = content(kind), []
    for index in range(60):
        damaged = bytearray(whole)
        for place in generator.integers(len(whole), size=1 + index % 8):
            damaged[place] = generator.integers(256)
        if index % 3 == 0:
            del damaged[generator.integers(len(whole)) :]
        files.append(tmp_path / f"{index}.png")
        files[-1].write_bytes(bytes(damaged))
    files[30].write_bytes(whole)
    images, digests, unreadable = decode(files, SIDE, 3)
    assert torch.equal(images[30], read(files[30]))
    assert 30 not in unreadable
    assert unreadable
    assert list(unreadable) == sorted(unreadable)
    assert len(digests) == len(images) == 60

"""Hostile requests from a seed: broken pictures, bombs, foreign arrays, crooked forms. Same seed, same request."""

import io
import random
import struct
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.live_server import npy

TYPES = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/bmp",
    "application/x-npy",
    "text/html",
    "",
    "multipart/form-data",
)

HEADER_SHAPES = (
    "(9, 9, 3)",
    "(10**9, 10**9, 3)",
    "(-1, 9, 3)",
    "(4294967296, 4294967296, 3)",
    "()",
    "3",
    "(True, 9, 3)",
    "None",
    "(" * 300 + ")" * 300,
    "(1.5, 2, 3)",
    "(2**99999,)",
    "__import__('os').abort()",
    "(9, -9, -3)",
)


class Attempt(NamedTuple):
    """A request that a server has to answer 200 or 4xx."""

    path: str
    content_type: str
    body: bytes


def attempt(seed: int) -> Attempt:
    """The request of a seed."""
    rng = random.Random(seed)
    make = rng.choice([_mutated, _mutated, _mutated, _odd_picture, _bomb, _array, _npy_header, _form, _noise])
    content_type, body = make(rng)
    if rng.random() < 0.1:
        content_type = rng.choice(TYPES)
    return Attempt(rng.choice(["/predict", "/predict", "/predict/batch"]), content_type, body)


def _picture(rng: random.Random, mode: str = "RGB") -> Image.Image:
    width, height = rng.choice([(1, 1), (17, 9), (40, 40), (224, 224), (60, 2), (3, 200)])
    channels = {"L": 1, "P": 1, "1": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    pixels = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (height, width, channels), np.uint8)
    return Image.frombytes("L" if mode in ("P", "1") else mode, (width, height), pixels.tobytes()).convert(mode)


def _file(rng: random.Random) -> tuple[str, bytes]:
    kind, modes = rng.choice(
        [("png", "RGB L P 1 LA RGBA"), ("jpeg", "RGB L CMYK"), ("webp", "RGB RGBA"), ("bmp", "RGB L P 1")]
    )
    stream = io.BytesIO()
    options = {"progressive": rng.random() < 0.5, "quality": rng.randrange(1, 96)} if kind == "jpeg" else {}
    _picture(rng, rng.choice(modes.split())).save(stream, kind, **options)
    return f"image/{kind}", stream.getvalue()


def _mutated(rng: random.Random) -> tuple[str, bytes]:
    content_type, file = _file(rng)
    body = bytearray(file)
    for _ in range(rng.randrange(12)):
        start = rng.randrange(len(body))
        edit = rng.randrange(5)
        if edit == 0:
            body[start] = rng.randrange(256)
        elif edit == 1:
            del body[start:]
        elif edit == 2:
            body[start:start] = rng.randbytes(rng.randrange(1, 40))
        elif edit == 3:
            del body[start : start + rng.randrange(1, 40)]
        else:
            body[start : start + 4] = struct.pack(rng.choice("<>") + "I", rng.choice([0, 1, 2**31, 2**32 - 1, 65536]))
        if not body:
            break
    return content_type, bytes(body)


def _odd_picture(rng: random.Random) -> tuple[str, bytes]:
    stream = io.BytesIO()
    which = rng.randrange(6)
    if which == 0:  # 16 bit
        Image.fromarray(np.full((20, 30), rng.randrange(65536), np.uint16)).save(stream, "png")
    elif which == 1:  # animated
        frames = [_picture(rng).resize((20, 20)) for _ in range(3)]
        frames[0].save(stream, rng.choice(["webp", "png"]), save_all=True, append_images=frames[1:])
    elif which == 2:  # rotated by EXIF
        exif = Image.Exif()
        exif[0x0112] = rng.randrange(0, 12)
        _picture(rng).save(stream, "jpeg", exif=exif)
    elif which == 3:  # a line
        Image.new("RGB", rng.choice([(20_000, 1), (1, 20_000)])).save(stream, rng.choice(["png", "bmp"]))
    elif which == 4:  # another format under a known name
        _picture(rng).save(stream, rng.choice(["gif", "tiff", "ico", "ppm", "tga", "pdf"]))
    else:  # transparent palette
        _picture(rng, "P").save(stream, "png", transparency=rng.randrange(256))
    return "image/png", stream.getvalue()


def _bomb(rng: random.Random) -> tuple[str, bytes]:
    side = rng.choice([5_000, 30_000, 65_535, 2**31 - 1])
    header = struct.pack(
        ">IIBBBBB", side, side, rng.choice([1, 8, 16]), rng.choice([0, 2, 3, 6]), 0, 0, rng.randrange(2)
    )
    data = zlib.compress(bytes(rng.choice([100, 1_000_000])))
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    if rng.random() < 0.3:
        chunks.insert(1, (b"zTXt", b"x\0\0" + zlib.compress(bytes(5_000_000))))
    body = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk)) + name + chunk + struct.pack(">I", zlib.crc32(name + chunk))
        for name, chunk in chunks
    )
    if rng.random() < 0.2:
        return "image/jpeg", b"\xff\xd8" + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * rng.randrange(1, 3000)
    return "image/png", body


def _array(rng: random.Random) -> tuple[str, bytes]:
    shape = tuple(rng.choice([0, 1, 2, 3, 3, 4, 33, 70]) for _ in range(rng.randrange(0, 5)))
    dtype = rng.choice([np.uint8, np.uint8, np.int8, np.float32, np.bool_, "S3", "V1"])
    array = np.zeros(shape, dtype)
    if rng.random() < 0.3:
        array = array[::-1] if array.ndim else array
    body = npy(np.asarray(array, order=rng.choice("CF")))
    return "application/x-npy", body[: rng.randrange(len(body) + 1)] if rng.random() < 0.3 else body


def _npy_header(rng: random.Random) -> tuple[str, bytes]:
    shape = rng.choice(HEADER_SHAPES)
    descr = rng.choice(
        ["'|u1'", "'|O'", "'<f8'", "[('a', '|u1')]", "'|u1,|u1'", "'>u1'", "1", "'junk'", "'|V99999999999'"]
    )
    header = (
        f"{{'descr': {descr}, 'fortran_order': {rng.choice(['False', 'True', '2'])}, 'shape': {shape}, }}\n".encode()
    )
    version = rng.choice([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"])
    length = struct.pack("<H" if version[0] == 1 else "<I", rng.choice([len(header), len(header), 65535, 0]))
    return "application/x-npy", b"\x93NUMPY" + version + length + header + rng.randbytes(rng.choice([0, 243, 5000]))


def _form(rng: random.Random) -> tuple[str, bytes]:
    boundary = rng.choice([b"b", b"x" * 70, b"-", b""])
    parts = []
    for _ in range(rng.choice([0, 1, 1, 2, 10, 90])):
        field = rng.choice([b"image", b"images", b"images", b"other", b"\xff", b"a" * 5000])
        head = b'content-disposition: form-data; name="' + field + b'"' + rng.choice([b"", b'; filename="../x"'])
        parts.append(b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + _mutated(rng)[1] + b"\r\n")
    body = b"".join(parts) + rng.choice([b"--" + boundary + b"--\r\n", b"", b"--" + boundary])
    if rng.random() < 0.2:
        body = body.replace(b"\r\n", rng.choice([b"\n", b"\r", b""]), rng.randrange(1, 9))
    return rng.choice(["multipart/form-data; boundary=", "multipart/form-data;boundary="]) + boundary.decode(), body


def _noise(rng: random.Random) -> tuple[str, bytes]:
    return rng.choice(TYPES), rng.randbytes(rng.choice([0, 1, 10, 1000, 100_000]))

"""Image files of every odd kind, written as the kind's own software writes them, and what is read from them."""

import io
import struct
import zlib

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from trainability.data import images
from trainability.data.images import BrokenImage, decode, encode_jpeg, rescale

# Left half dark red, right half bright blue-green, top row brighter: every flip and turn of it is another image.
PIXELS = np.zeros((24, 40, 3), dtype=np.uint8)
PIXELS[:, :20] = (120, 20, 30)
PIXELS[:, 20:] = (20, 200, 180)
PIXELS[:8] += 40


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


RGB = Image.fromarray(PIXELS)


def test_a_plain_jpeg_is_decoded_as_pillow_does_bit_for_bit() -> None:
    for subsampling in (0, 1, 2):
        data = file_of(RGB, "JPEG", quality=90, subsampling=subsampling)
        assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_kinds_give_back_the_pixels(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decode(file_of(RGB, kind, **options)), PIXELS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_grey_is_repeated(kind: str) -> None:
    pixels = decode(file_of(RGB.convert("L"), kind))
    assert pixels.shape == PIXELS.shape
    assert np.array_equal(pixels[..., 0], pixels[..., 1])
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    assert np.abs(pixels[..., 0].astype(int) - np.asarray(RGB.convert("L"))).max() <= 4


def test_black_and_white_is_0_and_255() -> None:
    assert set(np.unique(decode(file_of(RGB.convert("L").point(lambda v: 255 * (v > 100)).convert("1"), "PNG")))) == {0, 255}


def test_a_cmyk_jpeg_shows_its_colours() -> None:
    data = file_of(RGB.convert("CMYK"), "JPEG", quality=95)
    assert simplejpeg.decode_jpeg_header(data)[2] == "CMYK"
    assert np.abs(decode(data).astype(int) - PIXELS).mean() < 8


def test_a_palette_becomes_its_colours_and_its_transparency_white() -> None:
    palette = RGB.quantize(8)
    assert np.abs(decode(file_of(palette, "PNG")).astype(int) - PIXELS).max() <= 8
    index = palette.getpixel((39, 23))
    pixels = decode(file_of(palette, "PNG", transparency=index))
    assert (pixels[-1, -1] == 255).all()
    assert np.abs(pixels[-1, 0].astype(int) - PIXELS[-1, 0]).max() <= 8


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_show_white_and_half_transparent_ones_half_of_it(mode: str) -> None:
    image = RGB.convert(mode)
    alpha = np.full(PIXELS.shape[:2], 255, dtype=np.uint8)
    alpha[:12], alpha[12:16] = 0, 128
    image.putalpha(Image.fromarray(alpha))
    pixels = decode(file_of(image, "PNG")).astype(int)
    opaque = np.asarray(RGB.convert(mode[:-1]).convert("RGB")).astype(int)
    assert (pixels[:12] == 255).all()
    assert np.array_equal(pixels[16:], opaque[16:])
    assert np.abs(pixels[12:16] - (opaque[12:16] + 255) / 2).max() <= 2


def test_16_bit_grey_keeps_its_upper_eight() -> None:
    ramp = np.linspace(0, 65535, 24 * 40).reshape(24, 40).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        pixels = decode(file_of(Image.fromarray(ramp), kind))
        assert np.array_equal(pixels[..., 1], ramp >> 8)


def test_16_bit_colour_keeps_its_upper_eight() -> None:
    wide = PIXELS.astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in wide)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 40, 24, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.array_equal(decode(png), PIXELS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_turned_camera_is_turned_back(kind: str, orientation: int) -> None:
    # How a camera that is held so stores the scene, written out: the inverse of the EXIF standard's table.
    stored = {
        1: PIXELS,
        2: PIXELS[:, ::-1],
        3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1],
        5: PIXELS.swapaxes(0, 1),
        6: PIXELS.swapaxes(0, 1)[::-1],
        7: PIXELS[::-1, ::-1].swapaxes(0, 1),
        8: PIXELS.swapaxes(0, 1)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    pixels = decode(file_of(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options))
    assert pixels.shape == PIXELS.shape
    assert np.abs(pixels.astype(int) - PIXELS).mean() < 3


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (40, 24), colour) for colour in ("red", "lime", "blue")]
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    data = file_of(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, **options)
    assert (decode(data) == (255, 0, 0)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP"])
def test_a_file_that_is_cut_off_is_broken(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = file_of(noise, kind)
    with pytest.raises(BrokenImage):
        decode(data[: len(data) * 2 // 3])


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"<html>not found</html>", b"\0" * 1000])
def test_what_is_no_image_is_broken(data: bytes) -> None:
    with pytest.raises(BrokenImage):
        decode(data)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    # 0.9 gigapixels of nothing in 100 kB; decoded they would take 0.9 GB, and three times that as RGB.
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(30_001 * 100))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    with pytest.raises(BrokenImage, match=r"30000x30000|exceeds limit"):
        decode(bomb)


def test_a_bomb_between_pillows_warning_and_its_error_is_refused_too() -> None:
    side = int(images.MAX_PIXELS**0.5) + 1
    jpeg = bytearray(file_of(Image.new("RGB", (64, 64)), "JPEG"))
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = struct.pack(">HH", side, side)
    with pytest.raises(BrokenImage, match=f"{side * side:,}"):
        decode(bytes(jpeg))


def test_32_bit_pixels_are_refused_since_nothing_says_their_range() -> None:
    with pytest.raises(BrokenImage, match="32-bit"):
        decode(file_of(Image.fromarray(np.ones((8, 8), dtype=np.float32)), "TIFF"))


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((375, 500), 256, (256, 341)),
        ((500, 375), 256, (341, 256)),
        ((32, 32), 36, (36, 36)),
        ((256, 300), 256, (256, 300)),
        ((1, 40), 32, (32, 1280)),
    ],
)
def test_the_smaller_side_becomes_s_and_the_other_follows(shape: tuple[int, int], size: int, expected: tuple[int, int]) -> None:
    assert rescale(np.zeros((*shape, 3), dtype=np.uint8), size).shape == (*expected, 3)


def test_an_image_that_would_become_too_long_is_broken() -> None:
    with pytest.raises(BrokenImage, match="smaller side"):
        rescale(np.zeros((1, 10_000, 3), dtype=np.uint8), 256)


def test_rescaling_shrinks_without_aliases() -> None:
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = rescale(stripes, 32)[4:-4, 4:-4]
    assert np.abs(small.astype(int) - 127.5).max() < 3  # an average, not whichever stripe a pixel falls on


def test_a_packed_jpeg_is_close_to_its_pixels() -> None:
    smooth = rescale(PIXELS, 64)
    assert np.abs(images.decode_plain_jpeg(encode_jpeg(smooth), shape=smooth.shape[:2]).astype(int) - smooth).mean() < 2

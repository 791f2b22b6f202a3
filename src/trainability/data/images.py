"""Decode image files to RGB pixels, and rescale them to the paper's size: smaller side S.

`simplejpeg` decodes plain JPEGs; its pixels are bitwise identical to Pillow's, in half the time. Pillow decodes everything
else, and the JPEGs that `simplejpeg` rejects.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from trainability.data.catalog import repeated

JPEG_QUALITY = 95
MAX_PIXELS = 2**27
"""134 megapixels, 400 MB as RGB: more than the largest cameras have. A larger image is a mistake or an attack."""

_ORIENTATION = 0x0112
_IS_RGB_OR_GREY = ("RGB", "YCbCr", "Gray")


class BrokenImage(ValueError):
    """An image file that cannot be read, and why."""


def decode(data: bytes) -> np.ndarray:
    """Decode an image file of any format that Pillow reads.

    Grey is repeated to three channels, CMYK and palettes are converted to RGB, transparent pixels become white, 16-bit grey
    keeps its upper eight bits, the EXIF orientation is applied, and an animation gives its first frame.

    Args:
        data: the whole file.

    Returns:
        (height, width, 3) uint8.

    Raises:
        BrokenImage: it is not an image, is truncated, has more than `MAX_PIXELS`, or has 32-bit pixels.
    """
    if simplejpeg.is_jpeg(data):
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            check_holds(data, int(height) * int(width))
            # The bytes "Exif" may also occur by chance: then Pillow decodes a plain JPEG, slower and with the same pixels.
            if colours in _IS_RGB_OR_GREY and int(height) * int(width) <= MAX_PIXELS and b"Exif\0\0" not in data[: 2**16]:
                return simplejpeg.decode_jpeg(data)
        except BrokenImage:
            raise
        except ValueError:
            pass  # Pillow tolerates some defects, and reports the others
    try:
        with warnings.catch_warnings():
            # Pillow warns about odd metadata, which does not matter here, and about huge images, which are checked below.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise BrokenImage(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS / 1e6:.0f} million")
                if image.format == "JPEG":
                    check_holds(data, image.width * image.height)
                return _to_rgb(image)
    except BrokenImage:
        raise
    except UnidentifiedImageError:
        raise BrokenImage("not an image file that Pillow knows") from None
    except Exception as error:  # for damaged files, Pillow's decoders raise many types
        raise BrokenImage(str(error).partition("\n")[0] or type(error).__name__) from None


def check_holds(data: bytes, num_pixels: int) -> None:
    """Refuse a JPEG of too few bytes for its pixels before memory is taken for them.

    Every block of 64 pixels takes at least one bit, the shortest code of its mean, so a byte holds at most 512 pixels.

    Raises:
        BrokenImage: the file has too few bytes; it is truncated, or its header claims a larger image.
    """
    if num_pixels > 512 * len(data):
        raise BrokenImage(f"cut off: {len(data):,} bytes cannot hold {num_pixels:,} pixels")


def _to_rgb(image: Image.Image) -> np.ndarray:
    """Convert an opened image of any mode to (height, width, 3) uint8."""
    image.load()
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # Pillow's own conversion would clip at 255 instead of dividing.
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise BrokenImage(f"32-bit pixels (mode {image.mode}), whose range is unknown")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def is_grey(pixels: np.ndarray) -> bool:
    """Whether pixels are one channel that is repeated without a copy, as `ArrayImages` reads grey ones."""
    return pixels.strides[2] == 0


def rescale(pixels: np.ndarray, size: int, *, padded: bool = False) -> np.ndarray:
    """Rescale isotropically so that the smaller side is `size`, with Pillow's antialiased bicubic filter.

    Args:
        pixels: (height, width, 3) uint8.
        size: the paper's S, in pixels.
        padded: whether pixels may be returned as Pillow stores them, each in four bytes, the last of which is unused. This
            takes half as long as packing them.

    Returns:
        (height, width, 3) uint8, the smaller of height and width equal to `size`; (height, width, 4) if padded and rescaled.
        If `is_grey(pixels)`, the result is grey, too.

    Source: Simonyan & Zisserman 2014, section 3.1: "Let S be the smallest side of an isotropically-rescaled training image".
    """
    height, width = pixels.shape[:2]
    smaller = min(height, width)
    if smaller == size:
        return pixels
    # Rounded half up in integer arithmetic.
    height, width = ((2 * side * size + smaller) // (2 * smaller) for side in (height, width))
    if height * width > MAX_PIXELS:
        raise BrokenImage(f"{width}x{height} pixels once its smaller side is {size}, more than {MAX_PIXELS / 1e6:.0f} million")
    if is_grey(pixels):  # one channel is rescaled, not three
        own = np.ascontiguousarray(pixels[..., 0])
        grey = Image.frombuffer("L", own.shape[::-1], own, "raw", "L", 0, 1).resize((width, height), Image.Resampling.BICUBIC)
        return repeated(grey.tobytes(), height, width)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    kept = "RGBX" if padded else "RGB"
    return np.frombuffer(image.tobytes("raw", kept), np.uint8).reshape(height, width, len(kept))


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """Encode (height, width, 3 or padded to 4) uint8 as a JPEG of quality 95, with colour at half resolution as cameras do."""
    colours = "RGB" if pixels.shape[2] == 3 else "RGBX"
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=JPEG_QUALITY, colorspace=colours, colorsubsampling="420"
    )


def decode_plain_jpeg(data: bytes, *, shape: tuple[int, int]) -> np.ndarray:
    """Decode a JPEG of `encode_jpeg`.

    Args:
        data: the whole file.
        shape: height and width that it must have: a file that claims more is not decoded.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ValueError: it is not a JPEG, or has another shape.
    """
    found = simplejpeg.decode_jpeg_header(data)[:2]
    if found != shape:
        raise ValueError(f"{found[1]}x{found[0]} pixels, not {shape[1]}x{shape[0]}")
    return simplejpeg.decode_jpeg(data)

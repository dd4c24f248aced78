"""Small real videos for tests: `write_video` encodes images with PyAV; `numbered` draws images that say their number.

`write_video(tmp_path / "clip.mp4", portraits(50))` is 2 s of a moving portrait at 25 frames/s, and
`write_video(tmp_path / "uneven.mkv", numbered(4), times_s=[0, 0.1, 1, 1.04])` has frames at these times, of which
`read_number(frame.image)` is 0, 1, 2, 3.
"""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from conftest import read_rgb

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DIGITS = 12  # bits of an image's number, so up to 4095
AUDIO_RATE = 48_000
PIXELS = {"gif": "rgb8", "png": "rgb24", "apng": "rgb24", "ffv1": "bgr0", "mjpeg": "yuvj420p"}
OPTIONS = {"h264": {"preset": "ultrafast"}, "libx264": {"preset": "ultrafast"}}


def write_video(
    path, images, *, fps=25, codec="h264", times_s=None, start_s=0.0, rotation=0, audio=False, b_frames=0, gop=12,
    container=None, options=None, aspect=None, matrix=None,
):  # fmt: skip
    """Write images as a video and return its path; the container follows the extension.

    Args:
        path: Where to; `.mp4`, `.mkv`, `.mov`, `.webm`, `.avi`, `.ts`, `.gif`…
        images: (H, W, 3) uint8 RGB images, all of one size; a generator will do.
        fps: Constant rate, used where `times_s` is None.
        codec: An FFmpeg encoder: h264, mpeg4, mjpeg, libvpx-vp9, libx265, ffv1 (lossless, .mkv), gif…
        times_s: Time of each image (variable rate), at least 1 ms apart.
        start_s: Added to all times, so that the video starts late.
        rotation: Degrees clockwise that a player turns the images (0, 90, 180, 270), stored as metadata.
        audio: True adds a tone as long as the video.
        b_frames: B-frames in a row (h264, libx265, mpeg4).
        gop: Frames from one key frame to the next.
        container: FFmpeg's name of the format where the extension does not say it.
        options: Options of the encoder.
        aspect: Width over height of a pixel, a Fraction; None says nothing of it.
        matrix: (a, b, c, d) of the display matrix: the pixel at (x, y) is shown at (a x + c y, b x + d y).
    """
    rate = Fraction(fps).limit_denominator(1001)
    base = 1 / rate if times_s is None else Fraction(1, 1000)
    first = round(start_s / base)
    rest = iter(images)
    image = next(rest)
    path = Path(path)
    with av.open(str(path), "w", format=container) as video:
        stream = video.add_stream(codec, rate=rate, options={**OPTIONS.get(codec, {}), **(options or {})})
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = PIXELS.get(codec, "yuv420p" if not (stream.width % 2 or stream.height % 2) else "yuv444p")
        stream.codec_context.time_base = base
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        if rotation:
            stream.set_display_rotation(-rotation)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix:
            a, b, c, d = (round(65536 * value) for value in matrix)
            stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        tone = video.add_stream("aac", rate=AUDIO_RATE, layout="mono") if audio else None
        number = 0
        while image is not None:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = first + (number if times_s is None else round(times_s[number] * 1000))
            frame.time_base = base
            video.mux(stream.encode(frame))
            number += 1
            image = next(rest, None)
        video.mux(stream.encode(None))
        if tone:
            end_s = float(number / rate) if times_s is None else times_s[number - 1]
            _add_tone(video, tone, start_s, end_s)
    return path


def _add_tone(video, stream, start_s, seconds):
    samples = 1024
    for number in range(max(1, int(seconds * AUDIO_RATE / samples))):
        at = np.arange(samples) + number * samples
        wave = (0.2 * np.sin(2 * np.pi * 440 * at / AUDIO_RATE)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate = AUDIO_RATE
        frame.pts = round(start_s * AUDIO_RATE) + number * samples
        frame.time_base = Fraction(1, AUDIO_RATE)
        video.mux(stream.encode(frame))
    video.mux(stream.encode(None))


def write_webp(path, images, *, duration_ms=100):
    """Write images as an animated WebP, without loss, and return its path."""
    animation = cv2.Animation()
    animation.frames = [cv2.cvtColor(image, cv2.COLOR_RGB2BGR) for image in images]
    animation.durations = np.full(len(animation.frames), duration_ms, np.int32)
    assert cv2.imwriteanimation(str(path), animation, [cv2.IMWRITE_WEBP_QUALITY, 101])
    return Path(path)


def write_two_streams(path):
    """Write a file with two video streams and return its path: one counts from 0, a larger one from 100."""
    with av.open(str(path), "w") as video:
        for size in ((96, 64), (192, 128)):
            stream = video.add_stream("h264", rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for small, large in zip(numbered(5), numbered(5, size=(192, 128), start=100), strict=True):
            for stream, image in zip(video.streams.video, (small, large), strict=True):
                video.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for stream in video.streams.video:
            video.mux(stream.encode())
    return Path(path)


def write_audio(path, seconds=0.5):
    """Write a file with a tone and no image."""
    with av.open(str(path), "w") as video:
        _add_tone(video, video.add_stream("aac", rate=AUDIO_RATE, layout="mono"), 0.0, seconds)
    return Path(path)


def numbered(count, *, size=(96, 64), start=0):
    """Yield images of `size` (width, height) that hold their number as black or white blocks, top left red."""
    width, height = size
    for number in range(start, start + count):
        image = np.full((height, width, 3), 90, np.uint8)
        image[: height // 4, : width // 4] = (230, 20, 20)
        for bit in range(DIGITS):
            x1, x2 = bit * width // DIGITS, (bit + 1) * width // DIGITS
            image[height // 2 :, x1:x2] = 255 if number >> bit & 1 else 0
        yield image


def read_number(image):
    """Return the number of an image of `numbered`, also after lossy coding."""
    height, width = image.shape[:2]
    y = height * 3 // 4
    bits = [image[y, (2 * bit + 1) * width // (2 * DIGITS)].mean() > 127 for bit in range(DIGITS)]
    return sum(1 << bit for bit, on in enumerate(bits) if on)


def is_upright(image):
    """Whether the red corner of a `numbered` image is at the top left."""
    height, width = image.shape[:2]
    red, _, blue = (int(v) for v in image[height // 8, width // 8])
    return red - blue > 100


def portraits(count, *, size=(320, 240), name="astronaut", scale=0.3, amount_px=30):
    """Yield `count` images of an example portrait that moves to the right and back over gray.

    Args:
        count: Number of images.
        size: (width, height).
        name: `astronaut` (smiling) or `grace_hopper` (neutral).
        scale: Size of the portrait against the example's; 1 is about 512 x 512 with a face of 200 pixels.
        amount_px: How far it moves.
    """
    photo = cv2.cvtColor(cv2.imread(str(EXAMPLES / f"{name}.jpg")), cv2.COLOR_BGR2RGB)
    for number in range(count):
        shift = amount_px * (1 - abs(1 - 2 * number / max(1, count - 1)))
        place = np.float32([[scale, 0, (size[0] - scale * photo.shape[1]) / 2 + shift], [0, scale, 0]])
        yield cv2.warpAffine(photo, place, size, flags=cv2.INTER_AREA, borderValue=(128, 128, 128))


def make_video(path, frames=12, fps=10, size=(160, 160)):
    """Write a video of the astronaut's face."""
    image = cv2.resize(read_rgb(EXAMPLES / "astronaut.jpg")[20:230, 110:330], size, interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(frames):
            image[-20:] = np.random.default_rng(i).integers(0, 255, (20, size[0], 3), np.uint8)  # so that files grow
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path

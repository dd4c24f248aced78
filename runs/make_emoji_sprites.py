"""Render the images that `mien.output.draw` puts on faces: one emoji per expression, and the letters of the tags.

Both fonts are free to ship (SIL Open Font License 1.1) and come as Debian packages; nothing needs installing:

    apt-get download fonts-noto-color-emoji fonts-inter
    for package in fonts-*.deb; do dpkg -x "$package" fonts; done
    python runs/make_emoji_sprites.py --fonts fonts

Needs Pillow with libraqm (its wheels bring it) beside mien. The shipped files were made with Pillow 13.0 from
fonts-noto-color-emoji 2.042-0+deb12u1 and fonts-inter 4.0~beta7+ds-1; the same versions give the same pixels.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.labels import EMOJI

ASSETS = Path(__file__).resolve().parent.parent / "src" / "mien" / "output" / "draw"
EMOJI_FONT = "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
TEXT_FONT = "usr/share/fonts/opentype/inter/Inter-SemiBold.otf"
EMOJI_STRIKE_PX = 109  # the one size the bitmaps of Noto Color Emoji are stored in
SPRITE_PX = 128
EM_PX = 64
COLUMNS = 16
CHARACTERS = "".join(map(chr, [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)])) + "–—‘’“”…ŒœŠšŽžŁłŸ€"


def main() -> None:
    """Write the emoji and the letters."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fonts", type=Path, required=True, help="folder the Debian packages were unpacked into")
    fonts = parser.parse_args().fonts
    write_emoji(fonts / EMOJI_FONT, ASSETS / "emoji")
    write_letters(fonts / TEXT_FONT, ASSETS / "font")


def write_emoji(font_path: Path, folder: Path) -> None:
    """Write one square RGBA sprite per expression, the face filling it."""
    font = ImageFont.truetype(str(font_path), EMOJI_STRIKE_PX)
    for name, character in EMOJI.items():
        canvas = Image.new("RGBA", (200, 200))
        ImageDraw.Draw(canvas).text((20, 20), character, font=font, embedded_color=True)
        glyph = canvas.crop(canvas.getbbox())
        side = max(glyph.size)
        square = Image.new("RGBA", (side, side))
        square.paste(glyph, ((side - glyph.width) // 2, (side - glyph.height) // 2))
        save_png(folder / f"{name}.png", np.asarray(square.resize((SPRITE_PX, SPRITE_PX), Image.Resampling.LANCZOS)))


def write_letters(font_path: Path, folder: Path) -> None:
    """Write every letter into one gray sheet of equal cells, and where each pen advance ends."""
    font = ImageFont.truetype(str(font_path), EM_PX, layout_engine=ImageFont.Layout.RAQM)
    ascent, descent = font.getmetrics()
    boxes = [font.getbbox(c, features=["tnum"]) for c in CHARACTERS]
    bearing = max(0, -min(left for left, *_ in boxes))
    cell = (max(right for _, _, right, _ in boxes) + bearing + 1, ascent + descent)
    sheet = Image.new("L", (cell[0] * COLUMNS, cell[1] * -(-len(CHARACTERS) // COLUMNS)))
    pen = ImageDraw.Draw(sheet)
    for number, character in enumerate(CHARACTERS):
        x, y = number % COLUMNS * cell[0] + bearing, number // COLUMNS * cell[1]
        pen.text((x, y), character, font=font, fill=255, features=["tnum"])
    save_png(folder / "letters.png", np.asarray(sheet))
    metrics = {
        "em_px": EM_PX,
        "cell": cell,
        "columns": COLUMNS,
        "bearing": bearing,
        "ascent": ascent,
        "cap_height": -font.getbbox("H", anchor="ls")[1],
        "space": round(font.getlength(" "), 3),
        "characters": CHARACTERS,
        "advances": [round(font.getlength(c, features=["tnum"]), 3) for c in CHARACTERS],
    }
    (folder / "letters.json").write_text(json.dumps(metrics, ensure_ascii=False) + "\n", encoding="utf-8")


def save_png(path: Path, image: np.ndarray) -> None:
    """Write a gray or RGBA image as small as PNG gets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA)
    done, data = cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not done:
        raise OSError(f"could not encode {path}")
    path.write_bytes(data.tobytes())


if __name__ == "__main__":
    main()

"""What a data set holds: figures, sample sheets and a self-contained HTML page."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.datasets.dataset import CropDataset, ReadResult
from mien.datasets.duplicates import Duplicates, copies_across, copies_within, find_duplicates
from mien.datasets.votes import ferplus_majority, is_face
from mien.errors import InputError
from mien.faces import CROP_PX
from mien.files import write_whole
from mien.labels import COLOURS, EMOJI
from mien.output.encode import data_url, encode_image

GAP_PX = 2
PAPER = 255
SHOWN_BAD = 20
NO_LABEL = "unlabelled"


@dataclass(frozen=True)
class PixelFigures:
    """Pixel statistics of one split.

    Attributes:
        mean: Mean of all pixels, 0-255.
        std: Standard deviation of all pixels.
        darkest: Mean of the darkest crop.
        brightest: Mean of the brightest crop.
        black: Share of pixels that are 0.
        white: Share of pixels that are 255.
        blank: Number of crops without any contrast (standard deviation below 1).
    """

    mean: float
    std: float
    darkest: float
    brightest: float
    black: float
    white: float
    blank: int


@dataclass(frozen=True)
class CopyFigures:
    """How often crops are repeated.

    Attributes:
        within: Per split, crops that repeat an earlier crop of the same split.
        across: Per ordered pair of splits «a → b», crops of b that have a copy in a.
        conflicting: Labelled crops with a copy that carries another label.
    """

    within: dict[str, int]
    across: dict[str, int]
    conflicting: int


@dataclass(frozen=True)
class VoteSummary:
    """What the FER+ votes say.

    Attributes:
        voted: Crops with votes.
        not_a_face: Of them, those voted «unknown» or «not a face».
        majority: Crops that the authors' majority rule keeps, per split.
    """

    voted: int
    not_a_face: int
    majority: dict[str, int]


@dataclass(frozen=True)
class DatasetSummary:
    """The figures of one data set.

    Attributes:
        format: What the file was taken for.
        crops: Number of crops.
        labels: Key of the label set.
        counts: Crops per split and class.
        imbalance: Crops of the largest class per crop of the smallest that is there; None without labels.
        largest_share: Share of the largest class: the accuracy of always answering it; None without labels.
        pixels: Pixel statistics per split.
        exact: Copies pixel for pixel.
        near: Copies that look alike, exact ones included; None where nobody looked.
        votes: What FER+ says; None without votes.
        bad: Number of rows left out.
        bad_rows: The first of them, spelled out.
        notes: What the reader remarked.
        digest: SHA-256 of the data.
    """

    format: str
    crops: int
    labels: str
    counts: dict[str, dict[str, int]]
    imbalance: float | None
    largest_share: float | None
    pixels: dict[str, PixelFigures]
    exact: CopyFigures
    near: CopyFigures | None
    votes: VoteSummary | None
    bad: int
    bad_rows: tuple[str, ...]
    notes: tuple[str, ...]
    digest: str

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values."""
        return asdict(self)


def summarise_dataset(result: ReadResult, *, duplicates: Duplicates | None = None) -> DatasetSummary:
    """Count classes, splits, pixels, copies and broken rows.

    Args:
        result: What `read_dataset` returned.
        duplicates: What `find_duplicates` returned; None looks for exact copies only.

    Raises:
        InputError: There is no crop.
    """
    data = result.data
    if not len(data):
        raise InputError("the data set has no crop to describe; read one that has")
    counts = {split: _class_counts(data.split(split)) for split in data.splits()}
    total = np.bincount(data.label[data.is_labelled], minlength=len(data.labels))
    found = total[total > 0]
    copies = duplicates or find_duplicates(data.crops, near=False)
    return DatasetSummary(
        format=result.format,
        crops=len(data),
        labels=data.labels.key,
        counts=counts,
        imbalance=float(found.max() / found.min()) if len(found) else None,
        largest_share=float(found.max() / found.sum()) if len(found) else None,
        pixels={split: _pixel_figures(data.crops[data.usage == split]) for split in counts},
        exact=_copy_figures(data, copies.exact),
        near=_copy_figures(data, copies.near) if duplicates is not None else None,
        votes=_vote_figures(data),
        bad=len(result.bad),
        bad_rows=tuple(str(row) for row in result.bad[:SHOWN_BAD]),
        notes=result.notes,
        digest=data.digest(),
    )


def _class_counts(data: CropDataset) -> dict[str, int]:
    found = np.bincount(data.label[data.is_labelled], minlength=len(data.labels))
    counts = dict(zip(data.labels.names, found.tolist(), strict=True))
    unlabelled = int((~data.is_labelled).sum())
    return counts | ({NO_LABEL: unlabelled} if unlabelled else {})


def _pixel_figures(crops: NDArray[np.uint8]) -> PixelFigures:
    share = np.bincount(crops.ravel(), minlength=256) / crops.size
    values = np.arange(256)
    mean = float(share @ values)
    of_crop = crops.reshape(len(crops), -1).mean(axis=1)
    return PixelFigures(
        mean=mean,
        std=float(share @ (values - mean) ** 2) ** 0.5,
        darkest=float(of_crop.min()),
        brightest=float(of_crop.max()),
        black=float(share[0]),
        white=float(share[255]),
        blank=int((crops.reshape(len(crops), -1).std(axis=1, dtype=np.float32) < 1).sum()),
    )


def _copy_figures(data: CropDataset, groups: NDArray[np.int64]) -> CopyFigures:
    across = copies_across(groups, data.usage)
    return CopyFigures(
        within=copies_within(groups, data.usage),
        across={f"{a} → {b}": count for (a, b), count in across.items()},
        conflicting=int(conflicting_labels(data, groups).sum()),
    )


def conflicting_labels(data: CropDataset, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which labelled crops have a copy that carries another label.

    Args:
        data: The data set.
        groups: (N,) int64, `exact` or `near` of `Duplicates`.

    Returns:
        (N,) bool.
    """
    _, unit = np.unique(groups, return_inverse=True)
    kinds = np.zeros((int(unit.max(initial=-1)) + 1, len(data.labels)), np.bool_)
    kinds[unit[data.is_labelled], data.label[data.is_labelled]] = True
    return np.asarray((kinds.sum(axis=1) > 1)[unit] & data.is_labelled)


def _vote_figures(data: CropDataset) -> VoteSummary | None:
    if data.votes is None:
        return None
    voted = data.votes.sum(axis=1) > 0
    kept = ferplus_majority(data.votes) >= 0
    majority = {split: int(kept[data.usage == split].sum()) for split in data.splits()}
    return VoteSummary(int(voted.sum()), int((voted & ~is_face(data.votes)).sum()), majority)


def crop_grid(crops: NDArray[np.uint8], *, columns: int, scale: int = 1) -> NDArray[np.uint8]:
    """Lay crops out row by row on white paper.

    Args:
        crops: (N, 48, 48) uint8, N at least 1.
        columns: Crops per row.
        scale: How much larger to draw them.

    Returns:
        (H, W) uint8 gray.
    """
    cell = CROP_PX * scale + GAP_PX
    rows = -(-len(crops) // columns)
    sheet = np.full((rows * cell + GAP_PX, columns * cell + GAP_PX), PAPER, np.uint8)
    for i, crop in enumerate(crops):
        y, x = (GAP_PX + cell * place for place in divmod(i, columns))
        large = np.kron(crop, np.ones((scale, scale), np.uint8))
        sheet[y : y + CROP_PX * scale, x : x + CROP_PX * scale] = large
    return sheet


def class_sheet(data: CropDataset, name: str, *, columns: int = 12, rows: int = 6, seed: int = 0) -> NDArray[np.uint8]:
    """Return a sheet of crops of one class, drawn at random.

    Args:
        data: The data set.
        name: The class, in any wording, or `"unlabelled"`.
        columns: Crops per row.
        rows: Rows at most.
        seed: Seed of the choice.

    Returns:
        (H, W) uint8 gray.

    Raises:
        InputError: The data set has no such crop.
    """
    number = -1 if name == NO_LABEL else data.labels.index(name)
    found = np.flatnonzero(data.label == number)
    if not len(found):
        raise InputError(f"the data set has no crop of {name!r}; see its classes with: mien data info")
    chosen = np.random.default_rng(seed).permutation(found)[: columns * rows]
    return crop_grid(data.crops[np.sort(chosen)], columns=columns, scale=2)


def mean_crop(data: CropDataset, name: str) -> NDArray[np.uint8]:
    """Return the mean of the crops of one class.

    Args:
        data: The data set.
        name: The class; it must have a crop.

    Returns:
        (48, 48) uint8.
    """
    number = -1 if name == NO_LABEL else data.labels.index(name)
    return np.asarray(data.crops[data.label == number].mean(axis=0).round(), np.uint8)


def copies_sheet(
    data: CropDataset, groups: NDArray[np.int64], *, rows: int = 10, columns: int = 12
) -> NDArray[np.uint8] | None:
    """Return a sheet of the largest groups of copies, one group per row; None where there is no copy.

    Args:
        data: The data set.
        groups: (N,) int64, `exact` or `near` of `Duplicates`.
        rows: Groups at most.
        columns: Copies shown per group at most.

    Returns:
        (H, W) uint8 gray.
    """
    names, sizes = np.unique(groups, return_counts=True)
    largest = [i for i in np.argsort(-sizes, kind="stable")[:rows] if sizes[i] > 1]
    if not largest:
        return None
    cells = np.full((len(largest), columns, CROP_PX, CROP_PX), PAPER, np.uint8)
    for row, i in enumerate(largest):
        members = np.flatnonzero(groups == names[i])[:columns]
        cells[row, : len(members)] = data.crops[members]
    return crop_grid(cells.reshape(-1, CROP_PX, CROP_PX), columns=columns)


def present_classes(summary: DatasetSummary) -> list[str]:
    """Return the classes that have a crop, in the order of the label set."""
    every = dict.fromkeys(name for counts in summary.counts.values() for name in counts)
    return [name for name in every if any(counts.get(name) for counts in summary.counts.values())]


def write_sheets(data: CropDataset, summary: DatasetSummary, folder: str | Path, *, seed: int = 0) -> list[Path]:
    """Write one PNG of sample crops per class.

    Args:
        data: The data set.
        summary: Its figures.
        folder: Where to; made if it is not there.
        seed: Seed of the choice.

    Returns:
        The files, one per class that has crops.

    Raises:
        OutputError: The folder cannot be written to.
    """
    written = []
    for name in present_classes(summary):
        path = Path(folder) / f"{name}.png"
        write_whole(path, encode_image(class_sheet(data, name, seed=seed)))
        written.append(path)
    return written


STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:1260px;margin:2rem auto;padding:0 1.5rem}
h1{font-size:1.7rem;margin:0 0 .2rem;overflow-wrap:anywhere} h2{font-size:1.2rem;margin:2.2rem 0 .6rem}
.sub{color:#666;margin:0 0 1.2rem} table{border-collapse:collapse} th,td{padding:.3rem .8rem;text-align:right}
th{font-weight:600;border-bottom:1px solid #bbb} td:first-child,th:first-child{text-align:left}
tr:last-child.sum td{border-top:1px solid #bbb;font-weight:600}
td.bar{width:260px} .fill{height:.9rem;border-radius:2px;min-width:1px}
.tiles{display:flex;flex-wrap:wrap;gap:1rem} .tile{background:#f4f4f2;border-radius:8px;padding:.7rem 1.1rem}
.tile b{display:block;font-size:1.4rem} .tile span{color:#555;font-size:.9rem}
.note{background:#fff6dd;border-left:4px solid #e5b93c;padding:.5rem .9rem;margin:.5rem 0}
.bad{background:#fdecea;border-left:4px solid #d5523c;padding:.5rem .9rem;margin:.5rem 0}
img{max-width:100%;image-rendering:pixelated;display:block} figure{margin:0}
.means{display:flex;flex-wrap:wrap;gap:1rem} figcaption{text-align:center;font-size:.9rem;color:#444}
.scroll{overflow-x:auto} details{margin:.5rem 0} summary{cursor:pointer;font-weight:600;padding:.2rem 0}
code{font-size:.85rem;overflow-wrap:anywhere}
"""


def write_html(
    summary: DatasetSummary, data: CropDataset, path: str | Path, *, title: str, duplicates: Duplicates | None = None
) -> Path:
    """Write the figures and sheets as one HTML page that needs no other file.

    Args:
        summary: The figures.
        data: The data set they are of.
        path: The page.
        title: Its heading, the file's name say.
        duplicates: Groups of copies to show; None shows none.

    Returns:
        The page's path.

    Raises:
        OutputError: The place cannot be written to.
    """
    copies = None if duplicates is None else copies_sheet(data, duplicates.near)
    body = "\n".join(
        [
            f"<h1>{html.escape(title)}</h1>",
            f'<p class="sub">{html.escape(summary.format)}, label set {summary.labels}</p>',
            _tiles(summary),
            *(f'<p class="note">{html.escape(note)}</p>' for note in summary.notes),
            _bad_rows(summary),
            "<h2>Classes and splits</h2>",
            _class_table(summary),
            "<h2>Copies</h2>",
            _copies_table(summary),
            "" if copies is None else f"<p>The largest groups of crops that look alike, one per row.</p>{_img(copies)}",
            "<h2>Pixels</h2>",
            _pixel_table(summary),
            "<h2>Mean of each class</h2>",
            _means(summary, data),
            "<h2>Samples</h2>",
            *(_samples(name, data) for name in present_classes(summary)),
            f'<p class="sub">data <code>{summary.digest}</code></p>',
        ]
    )
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    page = f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n'
    write_whole(path, page)
    return Path(path)


def _tiles(summary: DatasetSummary) -> str:
    tiles = [(f"{summary.crops:,}", "crops"), (str(len(present_classes(summary))), "classes present")]
    if summary.imbalance is not None and summary.largest_share is not None:
        tiles += [
            (f"{summary.imbalance:.1f} : 1", "largest to smallest class"),
            (f"{summary.largest_share:.1%}", "right by always answering the largest"),
        ]
    if summary.votes is not None:
        tiles += [
            (f"{summary.votes.voted:,}", "crops with FER+ votes"),
            (f"{summary.votes.not_a_face:,}", "voted unknown or not a face"),
            (f"{sum(summary.votes.majority.values()):,}", "with a FER+ majority label"),
        ]
    return f'<div class="tiles">{"".join(f"<div class=tile><b>{v}</b><span>{w}</span></div>" for v, w in tiles)}</div>'


def _bad_rows(summary: DatasetSummary) -> str:
    if not summary.bad:
        return ""
    listed = "<br>".join(map(html.escape, summary.bad_rows))
    more = f"<br>… and {summary.bad - len(summary.bad_rows):,} more" if summary.bad > len(summary.bad_rows) else ""
    return f'<p class="bad"><b>{summary.bad:,} bad row{"s" * (summary.bad != 1)} left out</b><br>{listed}{more}</p>'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, total: bool = False) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join(
        f"<tr{' class=sum' if total and row is rows[-1] else ''}>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _class_table(summary: DatasetSummary) -> str:
    totals = class_totals(summary)
    largest = max(totals.values())
    rows = []
    for name, total in totals.items():
        red, green, blue = COLOURS.get(name, (138, 143, 150))
        colour = f"background:rgb({red},{green},{blue});width:{100 * total / largest:.1f}%"
        cells = [f"{counts.get(name, 0):,}" for counts in summary.counts.values()]
        bar = f'<div style="width:260px"><div class="fill" style="{colour}"></div></div>'
        rows.append([f"{EMOJI.get(name, '')} {name}", *cells, f"{total:,}", f"{total / summary.crops:.1%}", bar])
    sums = [f"{sum(counts.values()):,}" for counts in summary.counts.values()]
    rows.append(["all", *sums, f"{summary.crops:,}", "100%", ""])
    return _table(["class", *map(html.escape, summary.counts), "all", "share", ""], rows, total=True)


def class_totals(summary: DatasetSummary) -> dict[str, int]:
    """Return the crops per class over all splits, classes without a crop included."""
    every = dict.fromkeys(name for counts in summary.counts.values() for name in counts)
    return {name: sum(counts.get(name, 0) for counts in summary.counts.values()) for name in every}


def copy_rows(summary: DatasetSummary) -> list[tuple[str, int, int | None]]:
    """Return what to say about copies: a sentence, the exact count, the count that includes near ones (or None)."""
    near: Mapping[str, int] = {} if summary.near is None else summary.near.within
    rows = [
        (f"{split}: repeats an earlier crop of it", n, near.get(split)) for split, n in summary.exact.within.items()
    ]
    near = {} if summary.near is None else summary.near.across
    for pair, count in summary.exact.across.items():
        a, b = pair.split(" → ")
        rows.append((f"{b}: has a copy in {a}", count, near.get(pair)))
    conflicting = None if summary.near is None else summary.near.conflicting
    return [*rows, ("has a copy with another label", summary.exact.conflicting, conflicting)]


def _copies_table(summary: DatasetSummary) -> str:
    rows = [
        [html.escape(what), f"{exact:,}", "not looked for" if near is None else f"{near:,}"]
        for what, exact, near in copy_rows(summary)
    ]
    return _table(["crops of which this holds", "same pixels", "same pixels or looks alike"], rows)


def _pixel_table(summary: DatasetSummary) -> str:
    rows = [
        [html.escape(split), f"{p.mean:.1f}", f"{p.std:.1f}", f"{p.darkest:.1f}", f"{p.brightest:.1f}",
         f"{p.black:.2%}", f"{p.white:.2%}", f"{p.blank:,}"]
        for split, p in summary.pixels.items()
    ]  # fmt: skip
    header = ["split", "mean", "std", "darkest crop", "brightest crop", "pixels 0", "pixels 255", "blank crops"]
    return _table(header, rows)


def _means(summary: DatasetSummary, data: CropDataset) -> str:
    figures = [
        f"<figure>{_img(mean_crop(data, name), width=96)}<figcaption>{name}</figcaption></figure>"
        for name in present_classes(summary)
    ]
    return f'<div class="means">{"".join(figures)}</div>'


def _samples(name: str, data: CropDataset) -> str:
    return f"<details open><summary>{EMOJI.get(name, '')} {name}</summary>{_img(class_sheet(data, name))}</details>"


def _img(image: NDArray[np.uint8], *, width: int | None = None) -> str:
    return f'<img alt="" src="{data_url(image)}"{f" width={width}" if width else ""}>'

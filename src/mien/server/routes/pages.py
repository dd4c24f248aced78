"""The page and the description of the API, with all their files from this server."""

from importlib import resources
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

API = ("/v1/", "/health", "/ready", "/metrics", "/video_feed", "/docs", "/openapi.json")
API_DOCS = {  # address: file, media type
    "swagger-ui-bundle.js": ("swagger-ui-bundle.js.gz", "text/javascript"),
    "swagger-ui.css": ("swagger-ui.css.gz", "text/css"),
    "start.js": ("start.js", "text/javascript"),
}

router = APIRouter(include_in_schema=False)


def folder(name: str) -> Path:
    """Return a folder of the package's own files."""
    return Path(str(resources.files("mien.server"))) / name


@router.get("/docs")
def docs() -> Response:
    """Return the page that shows the description of the API."""
    return FileResponse(folder("apidocs") / "index.html")


@router.get("/docs/{name}")
def docs_file(name: str) -> Response:
    """Return a file of that page; the large ones are kept and sent compressed."""
    if name not in API_DOCS:
        raise HTTPException(404)
    file, media = API_DOCS[name]
    headers = {"Content-Encoding": "gzip"} if file.endswith(".gz") else {}
    return FileResponse(folder("apidocs") / file, media_type=media, headers={**headers, "Cache-Control": "no-cache"})


def install(app: FastAPI) -> None:
    """Serve the page at `/`.

    Args:
        app: The application, with all its other routes.
    """
    app.include_router(router)
    app.router.routes.append(PageMount("/", StaticFiles(directory=folder("static"), html=True, check_dir=False)))


class PageMount(Mount):
    """The page's files, out of the way of the API: its addresses answer for themselves which methods they take."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Leave addresses of the API alone."""
        return (Match.NONE, {}) if scope["path"].startswith(API) else super().matches(scope)

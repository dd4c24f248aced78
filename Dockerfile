# syntax=docker/dockerfile:1
# mien serve in a container: docker build -t mien . && docker run --rm -p 127.0.0.1:8000:8000 -e MIEN_TOKEN=… mien
# What pip installs is pinned by constraints.txt. The base image is named by its tag alone: no registry could be reached where this was written, so
# its digest is not known here. For an image that is the same each time, put `@sha256:…` behind both tags; `docker buildx imagetools inspect
# python:3.11-slim-bookworm` prints it.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN pip install --no-cache-dir --constraint constraints.txt build hatchling
COPY src ./src
RUN python -m build --wheel --no-isolation --outdir /wheels

FROM python:3.11-slim-bookworm
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --create-home --uid 10001 mien && mkdir /data && chown mien /data
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    pip install --no-cache-dir --constraint /tmp/constraints.txt "$(ls /wheels/*.whl)[server,postgresql]"
USER mien
WORKDIR /data
VOLUME /data
EXPOSE 8000
# A container listens on all its addresses, so that MIEN_TOKEN must be given; see docs/server.md.
ENV MIEN_HOST=0.0.0.0 MIEN_PORT=8000 MIEN_DATA_DIR=/data
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["mien"]
CMD ["serve"]

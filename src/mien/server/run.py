"""Running the application with uvicorn: patience with slow clients has an end, and stopping is polite."""

import logging
import os
import signal
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from mien.memory import keep_little
from mien.server.app import create_app
from mien.server.settings import MEBI, ServerSettings
from mien.server.web.connections import PatientHttp, PoliteWebSocket, Seldom

KEEP_ALIVE_S = 15
MOST_CONNECTIONS = 4000  # sockets of one process
STREAM_MESSAGE_BYTES = 16 * MEBI
QUEUED_MESSAGES = 2
APP = "mien.server.run:create_process_app"
SWITCH_S = 0.001  # a fifth of Python's own: the event loop must not wait long for threads that compute


def log_config(level: int) -> dict[str, Any]:
    """Return what is logged, to standard error: no address, no query, no name of a file.

    uvicorn's own notes tell who connects and with which query, so only its warnings pass.

    Args:
        level: Least level of mien's own messages.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(message)s"}},
        "filters": {"seldom": {"()": Seldom}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain", "filters": ["seldom"]}},
        "root": {"handlers": ["stderr"], "level": logging.WARNING},
        "loggers": {
            "mien": {"level": level},
            "uvicorn": {"level": logging.WARNING},
            "python_multipart": {"level": logging.ERROR},
        },
    }


def create_process_app() -> FastAPI:
    """Build the application of a process that does nothing else, from the MIEN_… variables."""
    sys.setswitchinterval(SWITCH_S)
    keep_little()
    return create_app()


def serve(settings: ServerSettings, *, processes: int = 1, log_level: int = logging.WARNING) -> bool:
    """Run the server until it is stopped.

    Args:
        settings: How.
        processes: Worker processes that share the port and the job list.
        log_level: Least level of mien's own messages.

    Returns:
        Whether it ran at all.
    """
    os.environ.update(settings.to_environment())  # worker processes read them
    config = configured(settings, processes=processes, log_level=log_level)
    if processes == 1:
        server = uvicorn.Server(config)
        _run(server)
        return server.started
    socket = config.bind_socket()
    Multiprocess(config, sockets=[socket]).run()
    return True


def _run(server: uvicorn.Server) -> None:
    """Run until a signal comes; uvicorn raises it again at the end, and stopping is no error."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        server.run()
    except (KeyboardInterrupt, SystemExit):  # uvicorn exits where it cannot start; it has said why
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def configured(
    settings: ServerSettings,
    *,
    app: FastAPI | None = None,
    processes: int = 1,
    log_level: int | None = logging.WARNING,
) -> uvicorn.Config:
    """Return uvicorn's configuration.

    No access log: addresses, queries with tokens and names of files are nobody's business. `/metrics` counts requests.

    Args:
        settings: The server's settings.
        app: The application; None builds it in each process, from the MIEN_… variables.
        processes: Worker processes.
        log_level: Least level of mien's own messages; None leaves logging as it is.
    """
    return uvicorn.Config(
        app or APP,
        factory=app is None,
        host=settings.host,
        port=settings.port,
        workers=processes,
        http=PatientHttp,
        ws=PoliteWebSocket,
        ws_max_size=STREAM_MESSAGE_BYTES,
        ws_max_queue=QUEUED_MESSAGES,
        ws_per_message_deflate=False,  # images are compressed already, and bombs need not be
        access_log=False,
        log_config=None if log_level is None else log_config(log_level),
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.grace_s)),
    )

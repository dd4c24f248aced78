"""A web server on loopback for tests: files with and without range requests, redirects, answers that are cut off.

with WebFiles() as web:
    web.files["/clip.mp4"] = data
    web.redirects["/away"] = "http://127.0.0.2:1/x"
    Video(web.url + "/clip.mp4", VideoSettings(allow_private=True))
"""

import base64
import hashlib
import re
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebFiles:
    """Serves `files`; `requests` holds the path and headers of each request."""

    def __init__(self, *, ranges=True, login=None):
        """Start to serve.

        Args:
            ranges: Whether parts of files are given.
            login: ("basic" or "digest", user, password) that is asked for.
        """
        self.files, self.redirects, self.types, self.requests = {}, {}, {}, []
        self.ranges, self.login, self.cut_after = ranges, login, None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.requests.append((self.path, dict(self.headers)))
                with suppress(OSError):
                    outer.answer(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler):
        """Answer one request."""
        handler.close_connection = True
        path = handler.path.partition("?")[0]
        if self.login and not self._may_enter(handler):
            kind = 'Basic realm="x"' if self.login[0] == "basic" else 'Digest realm="x", qop="auth", nonce="n1"'
            return self._head(handler, 401, WWW_Authenticate=kind, Content_Length=0)
        if path in self.redirects:
            return self._head(handler, 302, Location=self.redirects[path], Content_Length=0)
        if path not in self.files:
            return self._head(handler, 404, Content_Length=0)
        data, wanted = self.files[path], re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(wanted[1]) if wanted and self.ranges else 0
        more = {"Content_Type": self.types[path]} if path in self.types else {}
        if wanted and self.ranges:
            more["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._head(handler, 206 if wanted and self.ranges else 200, Content_Length=len(data) - start, **more)
        handler.wfile.write(data[start : self.cut_after and max(start, self.cut_after)])

    def _may_enter(self, handler):
        kind, user, password = self.login
        came = handler.headers.get("Authorization", "")
        if kind == "basic":
            return came == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        fields = dict(re.findall(r'(\w+)="?([^",]+)', came))
        if not fields:
            return False

        def md5(text):
            return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

        key, what = md5(f"{user}:x:{password}"), md5(f"GET:{handler.path}")
        return fields["response"] == md5(f"{key}:n1:{fields['nc']}:{fields['cnonce']}:auth:{what}")

    @staticmethod
    def _head(handler, status, **headers):
        handler.send_response(status)
        for key, value in headers.items():
            handler.send_header(key.replace("_", "-"), str(value))
        handler.end_headers()

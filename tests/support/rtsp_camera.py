"""A small RTSP camera for tests: MPEG-TS in RTP over the RTSP connection itself, or a redirect.

with RtspCamera(transport_stream) as camera:
    LiveSource(camera.url)
"""

import re
import socket
import struct
import threading
import time
from contextlib import suppress
from itertools import cycle

TS_BYTES, PER_PACKET = 188, 7
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"


class RtspCamera:
    """Answers on loopback; `requests` holds the first line of each request, `connections` counts."""

    def __init__(self, data=b"", *, redirect=None):
        """Start to listen.

        Args:
            data: An MPEG transport stream that is sent again and again.
            redirect: Where DESCRIBE is sent to.
        """
        self._data, self._redirect, self.requests, self.connections = data, redirect, [], 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/live"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._socket.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            while line := lines.readline():
                method = line.split()[0].decode()
                self.requests.append(line.decode().strip())
                head = b"".join(iter(lines.readline, b"\r\n")).decode()
                connection.sendall(self._answer(method, re.search(r"CSeq: \d+", head)[0]).encode())
                if method == "PLAY":
                    self._send(connection)
                    return

    def _answer(self, method, number):
        if method == "DESCRIBE" and self._redirect:
            return f"RTSP/1.0 302 Found\r\n{number}\r\nLocation: {self._redirect}\r\n\r\n"
        more = {
            "OPTIONS": "Public: DESCRIBE, SETUP, PLAY\r\n\r\n",
            "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}",
            "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n\r\n",
        }
        return f"RTSP/1.0 200 OK\r\n{number}\r\n{more.get(method, chr(13) + chr(10))}"

    def _send(self, connection):
        places = range(0, len(self._data), TS_BYTES * PER_PACKET)
        for number, at in enumerate(cycle(places)):
            head = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 900, 1)
            packet = head + self._data[at : at + TS_BYTES * PER_PACKET]
            connection.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
            time.sleep(0.002)

"""The web application: a REST API, a web socket for live streams, jobs for videos, and the page that uses them.

`mien.server.app.create_app` builds it; `mien serve` runs it. Needs the extra `server`.
"""

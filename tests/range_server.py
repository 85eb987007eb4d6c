"""A file server on loopback that drops connections, forgets ranges or changes files when told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class RangeServer:
    """What the server has and how it behaves.

    Attributes:
        url: of the server.
        files: contents by name.
        ranges: whether it answers a range with 206.
        sends_size: whether it says how long its answer is.
        drop_after: closes the connection after so many bytes of each answer; None: never.
        status: answers everything with it; None: as things are.
        asked: the Range header of each request, None where there was none.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    sends_size: bool = True
    drop_after: int | None = None
    status: int | None = None
    asked: list[str | None] = field(default_factory=list)


@contextmanager
def range_server() -> Iterator[RangeServer]:
    """Serves until the block ends."""
    served = RangeServer()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            answer(self, served)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(handler: BaseHTTPRequestHandler, served: RangeServer) -> None:
    wanted = handler.headers.get("Range")
    served.asked.append(wanted)
    content = served.files.get(handler.path.strip("/"))
    if served.status is not None or content is None:
        handler.send_error(served.status or 404)
        return
    tag = f'"{hash(content)}"'
    start = 0
    is_same = handler.headers.get("If-Range", tag) == tag
    if wanted is not None and served.ranges and is_same:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            handler.send_error(416)
            return
        handler.send_response(206)
        place = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.send_header("Content-Range", place)
    else:
        handler.send_response(200)
    handler.send_header("ETag", tag)
    if served.sends_size:
        handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    body = content[start:]
    handler.wfile.write(body if served.drop_after is None else body[: served.drop_after])

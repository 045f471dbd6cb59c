"""Handing a whole request to the site that owns its module, and what the two sites tell each other about epochs."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

import urllib3
from flask import Request, Response
from itsdangerous import BadData, URLSafeSerializer

HEADER = "Strangler-Forwarded"
"""On a forwarded request: module and epoch, signed, so that nobody outside can make a site wait or refuse."""
EPOCH_HEADER = "Strangler-Epoch"
MISDIRECTED = 421
"""RFC 9110, 15.5.20. The answer of a site to a *forwarded* request for a module it does not own: the one that sent it
is owner by now and only has to wait for its row, or has met somebody else at the owner's address, or has asked both of
the module's sites. So a request never makes more than one hop."""

NEVER_SENT = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}
HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "content-length",
}  # fmt: skip


class UnreachableError(Exception):
    """No answer came. `sent` says whether the request may have been carried out all the same."""

    def __init__(self, sent: bool) -> None:
        super().__init__("no answer")
        self.sent = sent


class Forwarder:
    """Sends requests on, over kept-alive connections, without looking into them. Used by all threads.

    connect_seconds, read_seconds: how long one try may take.
    """

    def __init__(self, secret: str, connect_seconds: float = 1.0, read_seconds: float = 30.0) -> None:
        self._serializer = URLSafeSerializer(secret, salt="strangler-forward")
        timeout = urllib3.Timeout(connect=connect_seconds, read=read_seconds)
        self._pool = urllib3.PoolManager(maxsize=64, timeout=timeout)

    def told(self, request: Request, module: str) -> int | None:
        """The epoch that a forwarded request carries for `module`; None when it was not forwarded by a site."""
        try:
            name, epoch = self._serializer.loads(request.headers.get(HEADER, ""))
        except (BadData, TypeError, ValueError):
            return None
        return int(epoch) if name == module else None

    def send(self, request: Request, url: str, module: str, epoch: int) -> Response:
        """The owner's answer to `request`. Raises UnreachableError when there was none."""
        headers = urllib3.HTTPHeaderDict(_end_to_end(request.headers.items()))
        headers[HEADER] = self._serializer.dumps([module, epoch])
        # A server that closes a kept-alive connection just as we use it looks the same as one that died at work:
        # only what is safe to do twice is tried again.
        again = request.method in IDEMPOTENT or "Idempotency-Key" in request.headers
        retries = urllib3.Retry(
            total=3, connect=3, read=3 if again else 0, other=0, redirect=0, status=0, backoff_factor=0.05,
            allowed_methods=None,
        )  # fmt: skip
        try:
            answer = self._pool.request(
                request.method, url + _target(request), body=request.get_data(cache=True) or None, headers=headers,
                retries=retries, redirect=False, decode_content=False,
            )  # fmt: skip
        except urllib3.exceptions.MaxRetryError as error:
            raise UnreachableError(sent=not isinstance(error.reason, NEVER_SENT)) from error
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(sent=True) from error
        return Response(answer.data, answer.status, list(_end_to_end(answer.headers.items())))


def _target(request: Request) -> str:
    """Path and query as they came; WSGI has taken the path's percent signs off, and a `?` or `#` needs them."""
    path = quote(request.environ["PATH_INFO"].encode("latin-1"), safe="/!$&'()*+,;=:@~")
    query = request.query_string.decode("latin-1")
    return f"{path}?{query}" if query else path


def _end_to_end(headers: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return ((name, value) for name, value in headers if name.lower() not in HOP_BY_HOP and name != HEADER)

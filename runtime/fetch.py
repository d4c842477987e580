"""Downloads with an upper size, a time limit, and diagnostics instead of half a file."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable

from ..ir.diagnostics import BadInputError, Diagnostic

__all__ = ["Progress", "download"]

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far, and the total where the server states it."""

_BLOCK = 1 << 16
_OFFLINE = "Check the network, or put the file there by hand and name its folder in SPIKEC_DATA."


def download(url: str, limit: int, timeout: float = 30.0, progress: Progress | None = None) -> bytes:
    """The bytes at `url`, at most `limit` of them; `timeout` seconds of silence end it.

    Raises:
        BadInputError: not reachable, refused, interrupted, or longer than `limit`.
    """
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            stated = response.headers.get("Content-Length")
            total = int(stated) if stated and stated.isdigit() else None
            content = bytearray()
            while block := response.read(_BLOCK):
                content += block
                if len(content) > limit:
                    raise _fault(url, "it is longer than this data set can be", limit=limit)
                if progress is not None:
                    progress(len(content), total)
    except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
        raise _fault(url, str(getattr(error, "reason", None) or error)) from error
    if total is not None and len(content) != total:
        raise _fault(url, f"the connection ended after {len(content)} of {total} bytes")
    return bytes(content)


def _fault(url: str, reason: str, limit: int | None = None) -> BadInputError:
    return BadInputError(Diagnostic("SC541", f"{url} cannot be fetched: {reason}",
                                    limit=None if limit is None else f"{limit} bytes", remedy=_OFFLINE))

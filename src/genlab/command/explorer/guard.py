"""Who may ask: the program's own page, on this machine, or whoever knows the token.

A page of a stranger that is open in the same browser can send requests to 127.0.0.1, and by a name of its own that it
lets point there (DNS rebinding) it could read the answers. Its requests say so in ``Host``, ``Origin`` and
``Sec-Fetch-Site``.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["POLICY", "Guard", "is_loopback"]

POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; media-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Headers of every answer."""


def is_loopback(host: str) -> bool:
    """Whether a host reaches this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Guard:
    """What a request must show.

    Attributes:
        host: What the server listens on.
        token: Secret that every request needs; None: none.
    """

    host: str
    token: str | None

    @classmethod
    def of(cls, host: str, token: bool) -> Guard:
        """Return the guard of a server, with a new token where one is asked for or other machines reach it."""
        return cls(host, secrets.token_urlsafe(32) if token or not is_loopback(host) else None)

    def refusal(self, headers: Mapping[str, str], is_page: bool) -> str | None:
        """Say why a request is not answered, by its headers alone; None if it is.

        Args:
            headers: Of the request.
            is_page: Whether it is for the page itself, to which links of others may lead, and which shows nothing.
        """
        host = headers.get("Host", "")
        if not self._is_ours(host):
            return "the host is not this machine by a name that it knows"
        origin = headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            return "it comes from another page"
        if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none") and not is_page:
            return "it comes from another page"
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"http://{host}").hostname or ""
        except ValueError:
            return False
        # At any port: a tunnel may lead here from another. What matters is the name.
        if is_loopback(name):
            return True
        if is_loopback(self.host):
            return False
        try:
            ipaddress.ip_address(name)  # rebinding needs a name
            return True
        except ValueError:
            return name in {self.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}

    def knows(self, token: str | None) -> bool:
        """Whether a token is the right one, compared in a time that tells nothing of it."""
        return self.token is None or hmac.compare_digest((token or "").encode(), self.token.encode())

    def token_in(self, headers: Mapping[str, str], port: int) -> str | None:
        """Return the token that a request's cookie holds.

        Other programs of the host set cookies, too, at times of a form that ``http.cookies`` gives up on.
        """
        for cookie in headers.get("Cookie", "").split(";"):
            name, _, value = cookie.strip().partition("=")
            if name == _cookie(port):
                return value
        return None

    def cookie(self, port: int) -> str:
        """Return the header by which a browser keeps the token: no script reads it, and of others only links send it.

        ``Strict`` would keep it from the page itself when a link of another site, as in a chat, led to the address.
        """
        return f"{_cookie(port)}={self.token}; Path=/; HttpOnly; SameSite=Lax"


def _cookie(port: int) -> str:
    return f"genlab_{port}"  # cookies are shared by all ports of a host

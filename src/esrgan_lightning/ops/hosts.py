"""Which requests a server of ours answers: those to its own names, from its own pages."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import final
from urllib.parse import urlsplit

from esrgan_lightning.errors import InputError


@final
class OwnHosts:
    """Tells requests that other sites send, also by DNS rebinding, from those of a server's own users.

    Args:
        host: That is listened at: the server's name besides 127.0.0.1, localhost and ::1. Where it is every
            address of the machine, any address is.
        allowed: Further hosts, as a browser's address shows them: ``photos.example.org``, or with a port.

    Raises:
        InputError: ``allowed`` has what is no host.

    Source:
        RFC 6454 (origins), RFC 9110 section 7.2 (Host).
    """

    def __init__(self, host: str, allowed: Sequence[str] = ()) -> None:
        self._allowed = {each.lower() for each in allowed}
        for each in self._allowed:
            if not re.fullmatch(r"([\w.-]+|\[[\da-f:]+\])(:\d+)?", each, re.ASCII):
                raise InputError(f"--allowed-host {each} must be a host alone, as photos.example.org")
        self._names = {"127.0.0.1", "localhost", "::1", host.lower(), *map(_name, self._allowed)}
        self._any_address = host in ("0.0.0.0", "::", "")

    def refusal(self, headers: Mapping[str, str]) -> str | None:
        """Why a request with these headers, in small letters, is not answered; None where it is."""
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            name = _name(host)
            own = name in self._names or (self._any_address and bool(ip_address(name)))
        except ValueError:
            own = False
        if not own:
            return "This server does not go by that name: start it with --allowed-host NAME."
        site = None if origin is None else origin.partition("://")[2]
        if site not in (None, host, *self._allowed):
            return "Requests of other sites are not answered: --allowed-host NAME allows one."
        return None


def _name(host: str) -> str:
    return urlsplit(f"//{host}").hostname or ""

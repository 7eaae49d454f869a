"""How is one Toxiproxy server spoken to?

Through `toxiproxy-python` 0.1.1, of which only the layer that speaks HTTP is used.  What was found in it:

- Host and port are attributes of a class (`APIConsumer`), so all `Toxiproxy` objects of a process speak to one server,
  and whoever calls `update_api_consumer` turns them all round.  Its class methods read them from their own class,
  though: a subclass for each server has its own, and leaves everybody else's alone.
- `Proxy` and `Toxiproxy` use that one class by name.  They are not used here, nor is anything set in them.
- No call has a time-out; but keywords are handed on to `requests`, which knows one.
- `add_toxic` returns nothing, although the server answers with the toxic as it made it.
- Answers 400, 404 and 409 become exceptions with bytes as text; 500 (a port is taken, say) and 503 pass as success.
- `create` lists all proxies first, to see whether the name is free; another process may take it in between.
- An upstream cannot be changed, and names are put into the path of the address as they are.
- `requests` believes `HTTP_PROXY` in the environment, also for 127.0.0.1.
"""

import ipaddress
import json
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import requests
from toxiproxy.api import APIConsumer
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from ..errors import UsageError
from .answers import NotThere, Proxy, Toxic, ToxiproxyError
from .roads import Address

TIMEOUT_S: Final = (5.0, 30.0)
"""To connect, and to be answered: the server itself gives up after 25 s."""

T = TypeVar("T")

_DIRECT: Final = {"http": None, "https": None, "all": None}


class Api:
    """Speaks to one server.

    Args:
        url: `http://127.0.0.1:8474`, say.

    Raises:
        UsageError: an address that is not of this machine: proxies of such a server could not be reached.
    """

    def __init__(self, url: str) -> None:
        host, port = _address_of(url)
        self.url = f"http://{host}:{port}"
        self._consumer = type("Consumer", (APIConsumer,), {"host": host, "port": port})

    def version(self) -> str:
        """Return what the server calls its version: `git` when it was built with `go install`."""
        return self._call("get", "/version", lambda told: str(told["version"]))

    def proxies(self) -> dict[str, Proxy]:
        """Return all proxies by name, other people's too."""
        return self._call("get", "/proxies", lambda told: {name: _proxy(one) for name, one in told.items()})

    def names(self) -> list[str]:
        """Return the names of all proxies; what they are may be anybody's."""
        return self._call("get", "/proxies", list)

    def toxics(self, proxy: str) -> tuple[Toxic, ...]:
        """Return what is on a proxy."""
        return self._call("get", f"/proxies/{proxy}", _toxics)

    def create(self, name: str, upstream: Address) -> Proxy:
        """Make a proxy and return it; the server chooses a port of 127.0.0.1 for it."""
        asked = {"name": name, "listen": "127.0.0.1:0", "upstream": _text(upstream), "enabled": True}
        return self._call("post", "/proxies", _proxy, json=asked)

    def point(self, name: str, upstream: Address) -> None:
        """Have a proxy lead elsewhere; its connections are closed."""
        self._call("post", f"/proxies/{name}", _nothing, json={"upstream": _text(upstream)})

    def enable(self, name: str, enabled: bool) -> None:
        """Have a proxy listen, or close its connections and listen no more."""
        self._call("post", f"/proxies/{name}", _nothing, json={"enabled": enabled})

    def delete(self, name: str) -> None:
        """Take a proxy away; its connections are closed."""
        self._call("delete", f"/proxies/{name}", _nothing)

    def add_toxic(self, proxy: str, toxic: Toxic) -> Toxic:
        """Put a toxic on a proxy and return it as the server has it."""
        asked = {
            "name": toxic.name,
            "type": toxic.type,
            "stream": toxic.stream,
            "toxicity": toxic.toxicity,
            "attributes": dict(toxic.attributes),
        }
        return self._call("post", f"/proxies/{proxy}/toxics", _toxic, json=asked)

    def remove_toxic(self, proxy: str, name: str) -> None:
        """Take a toxic off a proxy."""
        self._call("delete", f"/proxies/{proxy}/toxics/{name}", _nothing)

    def _call(self, verb: str, path: str, read: Callable[[Any], T], **arguments: Any) -> T:
        """Ask the server and return what is read from its answer, which is None if it is empty.

        Raises:
            ToxiproxyError: it does not answer in time or refuses.
        """
        try:
            answer = getattr(self._consumer, verb)(path, timeout=TIMEOUT_S, proxies=_DIRECT, **arguments)
            if answer.status_code >= 400:
                raise self._refusal(verb, path, answer.content)
            return read(answer.json() if answer.content else None)
        except (requests.RequestException, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ToxiproxyError(
                f"Toxiproxy at {self.url} gives no usable answer to {verb.upper()} {path} ({type(error).__name__}): "
                "does it run there, and is it Toxiproxy?"
            ) from None
        except NotFound as error:
            raise self._refusal(verb, path, error.args[0], NotThere) from None
        except (ProxyExists, InvalidToxic) as error:
            raise self._refusal(verb, path, error.args[0]) from None

    def _refusal(
        self, verb: str, path: str, content: bytes, kind: type[ToxiproxyError] = ToxiproxyError
    ) -> ToxiproxyError:
        try:
            said = json.loads(content)["error"]
        except (ValueError, KeyError, TypeError):
            said = content.decode("utf-8", "replace").strip() or "no reason"
        return kind(f"Toxiproxy at {self.url} refused {verb.upper()} {path}: {said}")


def _address_of(url: str) -> Address:
    """Return host and port of a server on this machine."""
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port or 8474
        local = host == "localhost" or ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        local = False
    if not local or parts.scheme != "http" or parts.path not in ("", "/"):
        raise UsageError(
            f"the address of a Toxiproxy is like http://127.0.0.1:8474, on this machine (IPv4), for its proxies listen "
            f"where it runs; got {url!r}"
        )
    return host, port


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def _proxy(told: Any) -> Proxy:
    host, _, port = told["listen"].rpartition(":")
    return Proxy(told["name"], (host, int(port)), told["upstream"], told["enabled"], _toxics(told))


def _toxics(told: Any) -> tuple[Toxic, ...]:
    return tuple(_toxic(one) for one in told["toxics"])


def _toxic(told: Any) -> Toxic:
    return Toxic(told["name"], told["type"], told["stream"], told["toxicity"], told["attributes"])


def _nothing(told: Any) -> None:
    """What is answered is no matter."""

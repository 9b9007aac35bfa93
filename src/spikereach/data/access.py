"""Why no connection comes about, in words: addresses, proxies, certificates.

Proxies and certificates come from the environment, of which the libraries' own messages tell
neither the variable nor the remedy.
"""

import os
import re

from requests.utils import get_environ_proxies, select_proxy
from urllib3 import exceptions
from urllib3.util import parse_url

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name a file of certificates, in the order in which requests looks at them."""


def told(cause: Exception, address: str) -> str:
    """A failed connection to an address; ``cause`` is an error of urllib3, or has its message."""
    if isinstance(cause, exceptions.ProxyError):
        proxy = _proxy(address) or "the proxy"
        return f"{proxy} cannot be reached ({_plain(cause.original_error)}): correct or unset it"
    if isinstance(cause, exceptions.SSLError):
        return f"no trusted connection to {_host(address)}: {_plain(cause)}; {_trusted()}"
    return _plain(cause)


def wrong_address(address: str, error: Exception) -> str:
    """An address, or the proxy on the way there, that the libraries cannot use."""
    if not _usable(address):
        return f"{address!r} is not an address ({error}); check download.record in the config"
    proxy = _proxy(address)
    if proxy is None:
        return f"{address} leads on to what is not an address ({error}): run again later"
    if "SOCKS" in str(error):
        return (
            f"{proxy} needs a package that is not installed ({error}): pip install PySocks, or "
            "name a proxy that begins with http://, or unset it"
        )
    # The message of the library repeats a part of the password, where that breaks the address.
    reason = "characters such as / and # in its password are written as %2F, %23"
    reason = reason if "@" in proxy else str(error)
    return f"{proxy} is not an address ({reason}): correct it, as http://HOST:PORT, or unset it"


def no_certificates(error: OSError) -> str:
    """A file of certificates that is not there, or cannot be read."""
    return f"{error}; {_trusted()}"


def _trusted() -> str:
    """Where trusted certificates are taken from, and what to do."""
    name = next((name for name in BUNDLES if os.environ.get(name)), None)
    if name is None:
        return (
            "the certificates of the package certifi are trusted; where your network has one of "
            f"its own, set {BUNDLES[0]} to the file that holds it"
        )
    return f"the certificates in {name}={os.environ[name]} are trusted: correct or unset it"


def _proxy(address: str) -> str | None:
    """The proxy on the way to an address, without its password, and where it is set."""
    proxy = select_proxy(address, get_environ_proxies(address))
    if proxy is None:
        return None
    values = {name: os.environ[name] for name in os.environ if name.lower().endswith("_proxy")}
    name = next((name for name, value in values.items() if value == proxy), "the system")
    scheme, mark, rest = proxy.partition("://")
    if not mark:
        scheme, rest = "", proxy
    user, at, host = rest.rpartition("@")
    return f"the proxy {scheme}{mark}{'...' * bool(user)}{at}{host} (set by {name})"


def _usable(address: str) -> bool:
    try:
        found = parse_url(address)
    except exceptions.LocationParseError:
        return False
    return found.scheme in ("http", "https") and bool(found.host)


def _host(address: str) -> str:
    return parse_url(address).host or address


def _plain(cause: object) -> str:
    """Without the object that urllib3 names first."""
    return re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", str(cause))

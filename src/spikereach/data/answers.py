"""Answers over HTTP that are not what was asked for, and of those the ones that will pass."""

import re
from http import HTTPStatus

import requests
from requests.exceptions import RequestException

from spikereach.kinds import is_web_page

FOREIGN = re.compile(
    r"(text/html|application/(xhtml\+xml|json|problem\+json|xml)|text/xml)\b", re.I
)
"""Types of content that no recording and no file of weights has."""


class Unexpected(RequestException):
    """Something else came than was asked for, such as a page of a service that is being mended."""


def check_status(response: requests.Response) -> None:
    """Refuse an answer that will be another one later; it is closed then.

    Raises:
        RequestException: it is one: the server is busy or being mended, or (403) turns requests
            away for a while, as Zenodo does.
    """
    status = response.status_code
    if status in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS) or status >= 500:
        response.close()
        reason = f"{status} {response.reason}".strip()
        if status == HTTPStatus.FORBIDDEN:
            reason += " (servers turn requests away for a while when they are many, or in repairs)"
        raise RequestException(reason, response=response)


def check_no_page(head: bytes, response: requests.Response, wanted: str) -> None:
    """Refuse a web page, which begins with ``head``, where something else was asked for.

    Raises:
        Unexpected: it is one. It will pass: a network that wants a login, a service being mended.
    """
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
    if is_web_page(head) or kind in ("text/html", "application/xhtml+xml"):
        title = re.search(rb"<title[^>]*>(.*?)</title>", head, re.I | re.S)
        named = " ".join(title[1].decode(errors="replace").split())[:60] if title else ""
        raise Unexpected(
            f"{response.url} sent a web page{f' ({named!r})' * bool(named)} instead of {wanted}: a "
            "login that the network asks for, or a service that is being mended",
            response=response,
        )


def check_part(response: requests.Response, have: int, size: int, first: bytes) -> None:
    """Compare what an answer says of itself, and how it begins, with the bytes from ``have`` on of
    a file of ``size``.

    Raises:
        Unexpected: it is something else.
    """
    if have == 0:
        check_no_page(first, response, f"the file of {size} bytes")
    headers, problem = response.headers, None
    kind, length = headers.get("Content-Type", ""), headers.get("Content-Length", "")
    found = re.match(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if FOREIGN.match(kind):
        problem = f"of the type {kind}"
    elif length.isdecimal() and int(length) != size - have:
        problem = f"of {length} bytes"
    elif have and found and (int(found[1]) != have or found[2] not in ("*", str(size))):
        problem = f"with the bytes {found[0]}"
    if problem:
        raise Unexpected(
            f"{response.url} sent something {problem}; expected are {size - have} bytes of "
            f"a file of {size}",
            response=response,
        )

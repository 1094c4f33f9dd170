"""The proof that a form was sent by the person it was made for: a signed token, and a page of ours as origin."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import HTTPException
from itsdangerous import BadSignature, URLSafeTimedSerializer

from observability.settings import get_settings

if TYPE_CHECKING:
    from fastapi import Request

__all__ = ["FORM_HOURS", "check_form", "form_token"]

FORM_HOURS = 12
"""A page that was open for longer is asked to be loaded again."""
_SALT = "contrail.form"


def form_token(key: str, who: str, about: str) -> str:
    """The token of a form that ``who`` may send about one incident or link."""
    return str(URLSafeTimedSerializer(key, salt=_SALT).dumps([who, about]))


def check_form(request: Request, key: str, token: str, who: str, about: str) -> None:
    """Refuse (403) a form that did not come from a page of ours, was made for another person, thing or day."""
    if not _is_same_origin(request):
        raise HTTPException(403, "this form was sent from another site")
    try:
        found = URLSafeTimedSerializer(key, salt=_SALT).loads(token[:1000], max_age=FORM_HOURS * 3600)
    except (BadSignature, ValueError):
        found = None
    if found != [who, about]:
        raise HTTPException(403, "this form is not yours, or too old: load the page again")


def _is_same_origin(request: Request) -> bool:
    """True where the browser says so, or says nothing at all: then only the token decides."""
    if (site := request.headers.get("sec-fetch-site")) is not None:
        return site == "same-origin"
    if (origin := request.headers.get("origin")) is None:
        return True
    ours = {request.headers.get("host", ""), urlsplit(get_settings().public_url).netloc}
    return urlsplit(origin).netloc in ours - {""}  # "null" is of no host

"""A page as HTML, made of its template and what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi.templating import Jinja2Templates

from observability import catalog
from observability.airflow.ui import boards, formatting
from observability.settings import get_settings

if TYPE_CHECKING:
    from fastapi import Request, Response

__all__ = ["html_page", "render"]

_templates = Jinja2Templates(Path(__file__).parent / "templates")
_templates.env.filters.update(formatting.FILTERS | boards.FILTERS)
_templates.env.globals.update(causes=catalog.CAUSES, labels=catalog.CAUSE_LABELS)


def render(name: str, page: Any, links: formatting.Links | None = None, **more: Any) -> str:
    """The page as HTML, without a request: what :mod:`benchmarks.pages` times."""
    html: str = _templates.get_template(name).render(
        page=page, links=links or formatting.Links(), environment="", **more
    )
    return html


def html_page(request: Request, name: str, status: int = 200, **context: Any) -> Response:
    """The answer to a request: the template ``name``, filled, with the links of this deployment."""
    options = get_settings()
    root = request.scope.get("root_path", "").rstrip("/")
    links = formatting.Links(
        root=root, airflow=root.removesuffix("/contrail"), kibana=options.core.kibana_url.rstrip("/")
    )
    values = {**context, "links": links, "environment": options.core.environment}
    return _templates.TemplateResponse(request, name, values, status_code=status)

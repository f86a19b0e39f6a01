"""The pages of `makd serve`: where an image is dropped, and what the API takes and gives. Neither needs a network.

Names of classes and questions may come from strangers: they reach a page through Jinja's escaping, or as JSON that the
script sets as text.
"""

import base64
import hashlib
import re
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from makd.explain import NOTE
from makd.page import asset
from makd.shipped import ShippedStudent
from makd.upload import MOST_BYTES, TYPES


def upload_page(student: ShippedStudent) -> str:
    """The page in UTF-8."""
    return rendered(
        "serve.html.jinja",
        student=student.config,
        types=TYPES,
        mib=MOST_BYTES >> 20,
        note=NOTE,
        script=Markup(asset("serve.js")),
    )


def docs_page(openapi: dict[str, Any]) -> str:
    """Every operation of an OpenAPI description, in plain HTML."""
    operations = [
        {"path": path, "method": method.upper(), **operation}
        for path, of_path in openapi["paths"].items()
        for method, operation in of_path.items()
    ]
    return rendered("serve_docs.html.jinja", api=openapi, operations=operations)


def rendered(template: str, **values: Any) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    style = Markup(asset("page.css") + asset("serve.css"))
    return environment.from_string(asset(template)).render(css=style, **values)


def safe_headers(page: str) -> dict[str, str]:
    """No network but this server, and of scripts only those that the page was made with."""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }

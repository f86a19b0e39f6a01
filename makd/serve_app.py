"""The web application behind `makd serve`: a page to drop an image on, and an API, which the page uses itself."""

from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse
from PIL import Image
from pydantic import BaseModel
from starlette.middleware.trustedhost import TrustedHostMiddleware

from makd.explain import NOTE, Explanation, explain
from makd.serve_page import docs_page, safe_headers, upload_page
from makd.shipped import ShippedStudent
from makd.upload import MOST_BYTES, MOST_PIXELS, TYPES, looked_at

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class ClassProbability(BaseModel):
    """Softmax over the classes, in [0, 1]."""

    name: str
    probability: float


class Answer(BaseModel):
    """P(yes), in [0, 1]."""

    question: str
    p_yes: float


class Said(BaseModel):
    """The likeliest classes first; the aspects by rank, none of a student that was exported without them."""

    classes: list[ClassProbability]
    aspects: list[Answer]


class About(BaseModel):
    """What the student knows."""

    architecture: str
    classes: list[str]
    questions: list[str]
    image_px: int


class Problem(BaseModel):
    """Why a picture was refused."""

    detail: str


PICTURE = {
    "requestBody": {
        "required": True,
        "description": f"The file itself, at most {MOST_BYTES >> 20} MiB and {MOST_PIXELS // 10**6} million pixels.",
        "content": {name: {"schema": {"type": "string", "format": "binary"}} for name in TYPES},
    }
}
REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is no picture that can be decoded in full."},
    408: {"model": Problem, "description": "Nothing more of the body arrived."},
    413: {"model": Problem, "description": "Too many bytes or pixels."},
    415: {"model": Problem, "description": f"The Content-Type is none of {', '.join(TYPES)}."},
}
NO_ASPECTS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "The student has no aspects, or one class alone."}
}


def create_app(student: ShippedStudent, *, hosts: tuple[str, ...] = LOOPBACK) -> FastAPI:
    """The application for one student.

    `hosts` are the names that it answers to: else a stranger's page, whose name was made to point at this machine,
    could ask it. "*" are all.
    """
    app = FastAPI(
        title=f"makd: {student.config.architecture}",
        description="What a picture shows, and which of its aspects speak for that.",
        version="1",
        docs_url=None,  # FastAPI's own pages load their scripts from the network
        redoc_url=None,
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)

    @app.get("/api/model")
    def model() -> About:
        """What the student knows: its classes, and the questions of its aspects."""
        config = student.config
        return About(
            architecture=config.architecture,
            classes=list(config.classes),
            questions=list(config.questions),
            image_px=config.image_px,
        )

    @app.post("/api/predict", openapi_extra=PICTURE, responses=REFUSED)
    async def predict(request: Request, top: Annotated[int, Query(ge=1, description="So many classes.")] = 5) -> Said:
        """The likeliest classes of a picture, and its aspects."""
        return await looked_at(request, lambda picture: said(student, picture, top))

    @app.post("/api/explain", openapi_extra=PICTURE, responses=REFUSED | NO_ASPECTS, description=NOTE)
    async def explain_picture(
        request: Request, rivals: Annotated[int, Query(ge=1, le=10, description="So many next likeliest classes.")] = 2
    ) -> Explanation:
        if not student.questions:
            raise HTTPException(404, "this student was exported without aspects")
        if len(student.classes) < 2:
            raise HTTPException(404, "this student knows one class, which has no rival to be told from")
        return await looked_at(request, lambda picture: explain(student, picture, rivals=rivals))

    page, docs = upload_page(student), docs_page(app.openapi())

    @app.get("/", include_in_schema=False)
    def index() -> HTMLResponse:
        return HTMLResponse(page, headers=safe_headers(page))

    @app.get("/docs", include_in_schema=False)
    def documentation() -> HTMLResponse:
        return HTMLResponse(docs, headers=safe_headers(docs))

    return app


def said(student: ShippedStudent, picture: Image.Image, top: int) -> Said:
    classes = list(student.predict(picture).items())[:top]
    aspects = student.aspects(picture) if student.questions else {}
    return Said(
        classes=[ClassProbability(name=name, probability=p) for name, p in classes],
        aspects=[Answer(question=question, p_yes=p) for question, p in aspects.items()],
    )

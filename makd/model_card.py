"""The README.md of an exported student, written from its run. It never invents: what is absent is said to be absent."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from makd.run_facts import RunFacts
from makd.trained_run import RunConfig


def model_card(
    config: RunConfig,
    facts: RunFacts,
    *,
    questions: Sequence[str],
    n_parameters: int,
    n_flops: int,
    commit: str,
    checks: Sequence[str],
    files: Sequence[str],
) -> str:
    """Markdown with the YAML front matter of Hugging Face.

    Args:
        config: of the run.
        facts: what else is known of it.
        questions: of the aspect head, none if it is not part of the export.
        n_parameters: of the class-only student.
        n_flops: of it, for an image; a multiplication and an addition are two.
        commit: of the source.
        checks: what the export was held against, a sentence each.
        files: names of the exported files.
    """
    template = Path(__file__).with_name("model_card.md.jinja").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # Markdown, not HTML
    text = environment.from_string(template).render(
        config=config,
        facts=facts,
        questions=questions,
        n_parameters=n_parameters,
        n_flops=n_flops,
        commit=commit,
        checks=checks,
        files=files,
        weight=config.params.get("alpha"),
        params=json.dumps(config.params, indent=2, ensure_ascii=False),
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"

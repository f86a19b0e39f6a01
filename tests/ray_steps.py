"""The extract_logits stage on Ray with the quick fake model, as a program: a process that can be killed from outside.

python -m tests.ray_steps FOLDER OUT CACHE SECONDS_PER_IMAGE [ADDRESS]
"""

import sys
from pathlib import Path

from makd.errors import one_line_errors
from tests.fake_extraction import RUNTIME, run_stage

ACTORS = 2


def main() -> None:
    folder, out, cache = map(Path, sys.argv[1:4])
    address = sys.argv[5] if len(sys.argv) > 5 else None
    runtime = RUNTIME.model_copy(update={"engine": "ray", "ray_actors": ACTORS, "ray_address": address})
    run_stage(folder, folder / "manifest.parquet", out, cache, float(sys.argv[4]), runtime=runtime)


if __name__ == "__main__":
    with one_line_errors():
        main()

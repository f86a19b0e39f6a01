"""Convert a published InternVL2 to transformers' native class: python -m tools.convert_internvl2 SOURCE OUTPUT."""

import argparse
from pathlib import Path

from makd.errors import one_line_errors
from tools.convert_internvl2.convert import convert


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.convert_internvl2", description=__doc__)
    parser.add_argument("source", type=Path, help="folder with the published files of, say, OpenGVLab/InternVL2-8B")
    parser.add_argument("output", type=Path, help="folder to write; must not exist, or be empty")
    arguments = parser.parse_args()
    with one_line_errors():
        convert(arguments.source, arguments.output, lambda message: print(message, flush=True))


if __name__ == "__main__":
    main()

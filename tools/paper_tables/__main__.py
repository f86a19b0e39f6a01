"""Reproduce tables of the paper as DVC experiments: python -m tools.paper_tables 3a 3c."""

import argparse
from pathlib import Path

from makd.errors import one_line_errors
from makd.files import atomic_write
from tools.paper_tables.run import markdown, run_table
from tools.paper_tables.tables import TABLES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.paper_tables", description=__doc__)
    parser.add_argument("tables", nargs="+", choices=TABLES, metavar="table", help=", ".join(TABLES))
    parser.add_argument("--out", type=Path, default=Path("reports/tables"), help="folder of the tables")
    arguments = parser.parse_args()
    for name in arguments.tables:
        table = TABLES[name]
        text = markdown(table.title, run_table(name, table))
        with atomic_write(arguments.out / f"{name}.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(text)


if __name__ == "__main__":
    with one_line_errors():
        main()

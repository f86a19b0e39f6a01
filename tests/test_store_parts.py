import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from makd.errors import UserError
from makd.store_parts import QUESTIONS_KEY, Vanished, open_part, write_part

Z = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_part(tmp_path / "part-0-a.parquet", ["a", "b", "c"], ["p", "q"], Z, -Z)
    return tmp_path / "part-0-a.parquet"


def test_a_part_says_what_it_holds(path: Path) -> None:
    with open_part(path) as part:
        assert (part.image_ids(), part.question_ids) == (["a", "b", "c"], ["p", "q"])
        assert list(part.row_groups()) == [(0, slice(0, 3))]
        np.testing.assert_array_equal(part.logits(0)["z_no"], -Z)


def test_row_groups_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makd.store_parts.ROW_GROUP_ANSWERS", 5)
    write_part(tmp_path / "part", ["a", "b", "c"], ["p", "q"], Z, -Z)
    with open_part(tmp_path / "part") as part:
        assert list(part.row_groups()) == [(0, slice(0, 2)), (1, slice(2, 3))]
        np.testing.assert_array_equal(part.logits(1)["z_yes"], Z[2:])


def test_every_flipped_byte_of_the_pages_is_found(path: Path) -> None:
    whole = path.read_bytes()
    column = pq.read_metadata(path).row_group(0).column(1)
    end = column.data_page_offset + column.total_compressed_size
    for place in range(end - 20, end):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UserError, match=r"is damaged .*; delete it"), open_part(path) as part:
            part.logits(0)


@pytest.mark.parametrize("length", [0, 3, 100, -1])
def test_a_truncated_file_is_damaged(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match=re.escape(path.name)), open_part(path):
        pass


def test_what_is_not_there_any_more_has_vanished(path: Path) -> None:
    path.unlink()
    with pytest.raises(Vanished), open_part(path):
        pass


LIST = pa.list_(pa.float32(), 2)


@pytest.mark.parametrize(
    ("kinds", "questions", "message"),
    [
        ({"image_id": pa.string(), "z_yes": LIST, "z_no": LIST}, None, "does not say which questions"),
        ({"image_id": pa.string(), "z_yes": LIST, "z_no": LIST}, b'["p"]', r"z_yes should be fixed_size_list.*\[1\]"),
        ({"image_id": pa.string(), "z_yes": LIST, "z_no": LIST}, b'["p", "p"]', "no list of distinct ids"),
        ({"image_id": pa.string(), "z_yes": LIST, "z_no": LIST}, b"p", "no part of an answer store"),
        ({"image_id": pa.string(), "z_yes": LIST}, b'["p", "q"]', "z_no should be .* got no such column"),
        ({"image_id": pa.int64(), "z_yes": LIST, "z_no": LIST}, b'["p", "q"]', "image_id should be string, got int64"),
    ],
)
def test_another_schema_is_refused(
    tmp_path: Path, kinds: dict[str, pa.DataType], questions: bytes | None, message: str
) -> None:
    schema = pa.schema(kinds, metadata={QUESTIONS_KEY: questions} if questions else None)
    pq.write_table(schema.empty_table(), tmp_path / "part")
    with pytest.raises(UserError, match=message), open_part(tmp_path / "part"):
        pass

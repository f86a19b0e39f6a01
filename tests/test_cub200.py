from pathlib import Path

import pytest

from makd.cub200 import cub200
from makd.errors import UserError
from tests.miniatures import make_cub200


def test_every_image_has_its_readable_class_and_its_split(tmp_path: Path) -> None:
    made = make_cub200(tmp_path)
    found = {
        Path(path).relative_to(tmp_path).as_posix(): (name, split)
        for path, name, split in cub200(tmp_path).itertuples(index=False)
    }
    assert found == made


@pytest.mark.parametrize("name", ["images", "image_class_labels", "train_test_split", "classes"])
@pytest.mark.parametrize(
    ("content", "said"),
    [(None, r"{name}.txt: No such file"), ("1\n", "do not fit together"), ("99 1\n", "do not fit together")],
)
def test_a_list_that_is_missing_or_does_not_fit_is_refused(
    tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    make_cub200(tmp_path)
    file = tmp_path / "CUB_200_2011" / f"{name}.txt"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(
        UserError, match=f"{said.format(name=name)}.*; unpack CUB_200_2011.tgz .* into {tmp_path}"
    ) as caught:
        cub200(tmp_path)
    assert "\n" not in str(caught.value)


def test_images_that_are_not_unpacked_are_counted(tmp_path: Path) -> None:
    first, second, *rest = make_cub200(tmp_path)
    for image in (first, second):
        (tmp_path / image).unlink()
    with pytest.raises(
        UserError, match=f"2 of the {2 + len(rest)} annotated images are not below .*, the first {first}; "
    ):
        cub200(tmp_path)


def test_a_root_without_the_archive_says_what_goes_where(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"CUB_200_2011/images.txt: No such file.*unpack CUB.* into {tmp_path}/nowhere"):
        cub200(tmp_path / "nowhere")

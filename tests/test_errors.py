import pytest

from makd.errors import UserError, one_line_errors, some


def test_the_user_sees_the_message_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise UserError("alpha: got ten")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: alpha: got ten\n"


def test_a_name_with_an_end_of_a_line_does_not_break_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), one_line_errors():
        raise UserError("two\nlines\r.png is not there")
    assert capsys.readouterr().err == "error: two\\nlines\\r.png is not there\n"


def test_of_many_some_are_named() -> None:
    assert some(["a", "b"], 2) == "a, b"
    assert some(["a", "b", "c", "d"], 2, "; ") == "a; b and 2 more"
    assert some([]) == ""


def test_ctrl_c_ends_with_its_usual_code_and_says_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise KeyboardInterrupt
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on after what was saved last\n"


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), one_line_errors():
        _ = 1 / 0

"""A text LLM asked about classes: what is asked, what is paid once, and what its replies are worth."""

import json
import math
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makd.class_answers import ClassTeacher, yes_share
from makd.errors import UserError
from makd.files import write_json
from makd.llm import LLMParams, open_llm
from makd.questions import Question
from makd.runtime import Runtime
from tests.fake_server import Server, completion, serving

NAMES = ["big_cat", "dog", "emu"]
QUESTIONS = [Question(text="Does it bark?"), Question(text="Is it big?")]
PROMPTS = Path(__file__).parents[1] / "prompts"
GRADE, ASK = PROMPTS / "grade_class.txt", PROMPTS / "ask_about_class.txt"
PERCENT = {"big cat": [0, 90], "dog": [100, 40], "emu": [1, 75]}
RUNTIME = Runtime(progress=False, requests=3)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


def teacher(
    server: Server | None, recordings: Path = Path("no/recordings"), n_questions: int = 2, **changes: Any
) -> ClassTeacher:
    values: dict[str, Any] = {"backend": "openai" if server else "recorded", "base_url": server and server.url}
    values |= {"model": "tiny", "temperature": 0.0, "max_attempts": 3, "timeout_s": 5}
    params = LLMParams(**values | changes)
    return ClassTeacher(open_llm(params, recordings, quiet=True), params, NAMES, QUESTIONS, n_questions, RUNTIME)


def asked_class(request: dict[str, Any]) -> str:
    found = re.search(r"images? of the class (.+?)\. ", request["messages"][0]["content"])
    assert found
    return found[1]


def grades(request: dict[str, Any]) -> tuple[int, str]:
    return completion(json.dumps({"percent": PERCENT[asked_class(request)]}))


def tokens(request: dict[str, Any]) -> tuple[int, str]:
    """P(yes) is 0.2 for barking and 0.6 for being big; half of the probability is elsewhere."""
    share = 0.2 if "bark" in request["messages"][0]["content"] else 0.6
    half = {"Yes": 0.3 * share, " yes": 0.2 * share, "No": 0.5 * (1 - share), "The": 0.5}
    return completion("Yes", {token: math.log(p) for token, p in half.items()})


def test_grades_are_asked_once_a_class_and_are_hundredths(server: Server) -> None:
    server.choose = grades
    got = teacher(server).graded(GRADE)
    assert got.index.name == "class_name"
    assert list(got.index) == NAMES
    assert list(got.columns) == [question.text for question in QUESTIONS]
    np.testing.assert_array_equal(got, np.array([[0, 0.9], [1, 0.4], [0.01, 0.75]], np.float32))
    assert len(server.asked) == 3
    assert server.asked[0]["response_format"]["json_schema"]["schema"]["required"] == ["percent"]


def test_the_prompt_holds_class_classes_and_numbered_questions(server: Server) -> None:
    server.choose = grades
    teacher(server).graded(GRADE)
    (text,) = {request["messages"][0]["content"] for request in server.asked if asked_class(request) == "big cat"}
    for part in ("3 classes", "big cat, dog, emu", "\n1. Does it bark?\n2. Is it big?\n", "exactly 2 integers"):
        assert part in text


def test_what_was_paid_is_not_asked_again(server: Server) -> None:
    server.choose = grades
    first = teacher(server).graded(GRADE)
    assert teacher(server).graded(GRADE).equals(first)
    assert len(server.asked) == 3


def test_fewer_questions_are_the_same_requests(server: Server) -> None:
    server.choose = grades
    both = teacher(server).graded(GRADE)
    assert teacher(server, n_questions=1).graded(GRADE).equals(both.iloc[:, :1])
    assert len(server.asked) == 3


def test_many_questions_are_graded_in_blocks(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_number(request: dict[str, Any]) -> tuple[int, str]:
        return completion(json.dumps({"percent": [90 if "big?" in request["messages"][0]["content"] else 10]}))

    monkeypatch.setattr("makd.class_answers.BLOCK", 1)
    server.choose = by_number
    one, both = teacher(server, n_questions=1), teacher(server)
    assert one.graded(GRADE).to_numpy().tolist() == [[np.float32(0.1)]] * 3
    np.testing.assert_allclose(both.graded(GRADE), [[0.1, 0.9]] * 3)
    assert len(server.asked) == both.n_requests("graded") == 6
    assert both.n_requests("logprobs") == 6
    assert one.n_requests("graded") == 3


def test_after_a_failure_only_the_rest_is_asked(server: Server) -> None:
    served = threading.Event()

    def fail_on_emus(request: dict[str, Any]) -> tuple[int, str]:
        if asked_class(request) == "emu":
            served.wait(5)  # the others are answered first
            return 400, "{}"
        if sum(asked_class(one) != "emu" for one in server.asked) == 2:
            served.set()
        return grades(request)

    server.choose = fail_on_emus
    with pytest.raises(UserError, match="asked tiny at"):
        teacher(server).graded(GRADE)
    server.choose, before = grades, len(server.asked)
    assert list(teacher(server).graded(GRADE).loc["emu"]) == [np.float32(0.01), 0.75]
    assert [asked_class(request) for request in server.asked[before:]] == ["emu"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ('{"percent": [1]}', "holds 1 numbers for 2 questions"),
        ('{"percent": [1, 101]}', "holds 101, which is not between 0 and 100"),
        ('{"percent": [1, -1]}', "holds -1, which is not"),
        ("barely", "is no JSON object"),
    ],
)
def test_a_malformed_grade_is_asked_again_with_what_was_wrong(server: Server, bad: str, said: str) -> None:
    server.choose = lambda request: grades(request) if len(request["messages"]) > 1 else completion(bad)
    assert teacher(server).graded(GRADE).loc["dog"].tolist() == [1, np.float32(0.4)]
    assert len(server.asked) == 6
    assert any(said in request["messages"][-1]["content"] for request in server.asked)


def test_grades_that_stay_malformed_end_in_one_line(server: Server) -> None:
    server.choose = lambda request: completion("barely")
    with pytest.raises(UserError, match=r"no usable reply \(llm.max_attempts: 2\)"):
        teacher(server, max_attempts=2).graded(GRADE)


def test_first_tokens_are_asked_once_a_class_and_question(server: Server) -> None:
    server.choose = tokens
    got = teacher(server).by_first_token(ASK, ("Yes", "No"))
    np.testing.assert_allclose(got, [[0.2, 0.6]] * 3, rtol=1e-6)
    assert len(server.asked) == 6
    assert server.asked[0]["logprobs"] is True
    assert server.asked[0]["top_logprobs"] == 20
    assert server.asked[0]["max_completion_tokens"] == 1
    assert "response_format" not in server.asked[0]
    teacher(server).by_first_token(ASK, ("Yes", "No"))
    assert len(server.asked) == 6, "the replies are kept"


def test_a_server_that_tells_no_probabilities_is_named_with_what_to_do(server: Server) -> None:
    server.choose = lambda request: completion("Yes")
    with pytest.raises(UserError, match=r"got: no logprobs; set extract_logits.class_answers: graded"):
        teacher(server).by_first_token(ASK, ("Yes", "No"))


def test_neither_yes_nor_no_is_no_answer(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.choose = lambda request: (
        completion("It", {"It": -0.1}) if asked_class(request) == "dog" and "bark" in str(request) else tokens(request)
    )
    got = teacher(server).by_first_token(ASK, ("Yes", "No"))
    assert got.isna().to_numpy().tolist() == [[False, False], [True, False], [False, False]]
    assert "warning: 1 of 6 replies begin with neither Yes nor No" in capsys.readouterr().out
    server.choose = lambda request: completion("It", {"It": -0.1})
    with pytest.raises(UserError, match="6 of 6 replies begin with neither Yes nor No; change"):
        teacher(server, model="other").by_first_token(ASK, ("Yes", "No"))


def test_the_share_is_of_yes_and_no_alone_whatever_their_case() -> None:
    assert yes_share({"Yes": 0.2, " YES": 0.1, "no": 0.1, "Maybe": 0.6}, ("Yes", "No")) == pytest.approx(0.75)
    assert yes_share({"Yes": 0.2}, ("Yes", "No")) == 1
    assert math.isnan(yes_share({"Maybe": 0.2}, ("Yes", "No")))


def test_after_a_failure_no_further_request_is_begun(server: Server) -> None:
    server.choose, server.delay_s = lambda request: (400, "{}"), 0.2
    one_at_a_time = teacher(server)
    one_at_a_time.runtime = Runtime(progress=False, requests=1)
    with pytest.raises(UserError, match="asked tiny at"):
        one_at_a_time.by_first_token(ASK, ("Yes", "No"))
    assert len(server.asked) <= 2, "the one that failed, and the one that was begun meanwhile"


def test_requests_go_out_together(server: Server) -> None:
    """Each waits for two others: one at a time, none would be answered."""
    barrier = threading.Barrier(3, timeout=10)

    def together(request: dict[str, Any]) -> tuple[int, str]:
        barrier.wait()
        return grades(request)

    server.choose = together
    assert len(teacher(server).graded(GRADE)) == 3


def test_kept_replies_are_recordings_and_without_them_all_forms_are_written(
    server: Server, own_cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"3 of 3 requests have no recorded reply; the first: .* to write one by hand"):
        teacher(None, tmp_path).graded(GRADE)
    forms = list((own_cache / "llm").glob("*.request.json"))
    assert len(forms) == 3
    for form in forms:
        filled = json.loads(form.read_text()) | {"reply": {"percent": [50, 100]}, "written_by": "a test"}
        write_json(filled, tmp_path / form.name.replace(".request", ""))
    np.testing.assert_array_equal(teacher(None, tmp_path).graded(GRADE), [[0.5, 1]] * 3)


def test_recorded_probabilities_are_read(own_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="6 of 6 requests have no recorded reply"):
        teacher(None, tmp_path).by_first_token(ASK, ("Yes", "No"))
    for form in (own_cache / "llm").glob("*.request.json"):
        reply = {"logprobs": {"Yes": math.log(0.75), "No": math.log(0.25)}}
        write_json(
            json.loads(form.read_text()) | {"reply": reply, "written_by": "a test"},
            tmp_path / form.name.replace(".request", ""),
        )
    np.testing.assert_allclose(teacher(None, tmp_path).by_first_token(ASK, ("Yes", "No")), 0.75)

"""The server back-end against a server that is healthy or not: no value invented, none lost."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import makd.server_client
from makd.errors import UserError
from makd.extraction import Answerer, Metered
from tests.fake_vlm_server import Fault, Manners
from tests.server_asking import MESSAGES, asking, expected, p_yes, pictures

HONOUR: dict[str, Any] = {"logprob_token_ids": "honour"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(makd.server_client, "FIRST_WAIT_S", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def image_of(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"][0]["image_url"]["url"])


@pytest.mark.parametrize(
    ("manners", "mode"),
    [
        ({"logprob_token_ids": "honour"}, "token_ids"),
        ({"allowed_token_ids": "honour"}, "allowed_token_ids"),
        ({"logprob_token_ids": "reject", "allowed_token_ids": "honour"}, "allowed_token_ids"),
        ({}, "top_k"),
        ({"logprob_token_ids": "reject", "allowed_token_ids": "reject", "penalties": "reject"}, "top_k"),
        ({"allowed_token_ids": "honour", "processed": True}, "top_k"),  # whose 0 and 0 are no distribution
    ],
)
def test_the_best_way_to_exact_answers_is_found(tmp_path: Path, manners: dict[str, Any], mode: str) -> None:
    with asking(tmp_path, Manners(**manners)) as (_, answerer):
        assert isinstance(answerer, Answerer)
        assert isinstance(answerer, Metered)
        answerer.self_test(pictures(2))
        urls = [answerer.reader.inputs(picture) for picture in pictures(3)]
        z = answerer.score(urls).numpy()
        assert answerer.session.mode_name == mode
    np.testing.assert_allclose(p_yes(z), expected(urls), atol=1e-6)
    assert np.isnan(z[..., 2:]).all()


def test_where_both_are_not_told_the_bounds_hold_the_truth(tmp_path: Path) -> None:
    with asking(tmp_path, Manners(top_k=1, sentinel=True)) as (_, answerer):
        urls = [answerer.reader.inputs(picture) for picture in pictures(4)]
        z = answerer.score(urls).numpy()
    assert (np.isnan(z[..., :2]).sum(-1) == 1).all(), "one of the two is null, and nothing stands for it"
    p = expected(urls)
    assert ((z[..., 2] - 1e-6 <= p) & (p <= z[..., 3] + 1e-6)).all()
    assert (z[..., 3] - z[..., 2] < 1).all()


@pytest.mark.parametrize(
    ("manners", "changed", "said"),
    [
        ({}, {"logprobs": "token_ids"}, r"tells no log-probabilities as .*logprobs: token_ids .*other tokens than the"),
        ({}, {"logprobs": "allowed_token_ids"}, "allowed_token_ids allows 100 alone"),
        ({"processed": True, "allowed_token_ids": "honour"}, {"logprobs": "allowed_token_ids"}, "sum is 2.000"),
        ({"no_logprobs": True}, {}, r"no log-probabilities of the first token\); choose auto, lower top_logprobs"),
        ({"mixed_up": True}, {}, "mixes up pictures: .*--disable-radix-cache"),
        ({"blind": True}, {}, "does not look at the picture"),
        (
            {"unwilling": True},
            {},
            r"yes and no hold 0\.0% of the first token .* begins with 'The' \(3\); switch thinking",
        ),
        ({"penalties": "ignore"}, {}, "passes over repetition_penalty.*--generation-config vllm"),
    ],
)
def test_a_server_that_is_not_fit_is_refused_with_what_to_change(
    tmp_path: Path, manners: dict[str, Any], changed: dict[str, Any], said: str
) -> None:
    with (
        asking(tmp_path, Manners(**manners), **changed) as (_, answerer),
        pytest.raises(UserError, match=said) as caught,
    ):
        answerer.self_test(pictures(2))
    assert "\n" not in str(caught.value)


def test_penalties_may_be_trusted(tmp_path: Path) -> None:
    with asking(tmp_path, Manners(penalties="ignore"), penalties="trust") as (_, answerer):
        assert answerer.self_test(pictures(2)).mass > 0.9


def test_the_image_comes_first_with_equal_bytes_and_one_question_goes_ahead(tmp_path: Path) -> None:
    with asking(tmp_path, Manners(**HONOUR, delay_s=0.05), at_once=4) as (fake, answerer):
        urls = [answerer.reader.inputs(picture) for picture in pictures(3)]
        answerer.mode(urls[0])
        fake.asked.clear()
        fake.most_at_once = 0
        answerer.score(urls)
    assert Counter(map(image_of, fake.asked)) == dict.fromkeys(urls, len(MESSAGES))
    assert {image_of(body) for body in fake.asked[:3]} == set(urls)
    assert {body["messages"][0]["content"][1]["text"] for body in fake.asked[:3]} == {MESSAGES[0]}
    assert all(body["repetition_penalty"] == 1 and body["max_tokens"] == 1 for body in fake.asked)
    assert 1 < fake.most_at_once <= 4


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, {"Retry-After": "0.02"}),
        Fault(500),
        Fault(503, body="<html>"),
        Fault(delay_s=30),
        Fault(200, body='{"choices": [' + " " * 100, cut=True),
        Fault(200, body="<html>wrong</html>"),
        Fault(200, body='{"error": {"message": "overloaded"}}'),
    ],
    ids=["429", "500", "503", "time-out", "cut", "no JSON", "an error with status 200"],
)
def test_what_passes_is_tried_again_and_nothing_is_lost(tmp_path: Path, fault: Fault) -> None:
    manners = Manners(**HONOUR, fault=lambda number, body: fault if number % 3 == 2 else None)
    with asking(tmp_path, manners, timeout_s=0.3, max_attempts=9) as (_, answerer):
        urls = [answerer.reader.inputs(picture) for picture in pictures(3)]
        z = answerer.score(urls).numpy()
        usage = answerer.session.budget.usage
        answerer.session.raise_if_incomplete()
    np.testing.assert_allclose(p_yes(z), expected(urls), atol=1e-6)
    assert usage.requests == 15 + 1
    assert usage.retries >= 5


def test_the_pause_that_the_server_asks_for_holds_for_all(tmp_path: Path) -> None:
    times: list[float] = []

    def fault(number: int, body: dict[str, Any]) -> Fault | None:
        times.append(time.monotonic())
        return Fault(429, {"Retry-After": "0.4"}) if number == 2 else None

    with asking(tmp_path, Manners(**HONOUR, fault=fault), at_once=1) as (_, answerer):
        answerer.score([answerer.reader.inputs(picture) for picture in pictures(1)])
    assert times[2] - times[1] >= 0.4
    assert times[-1] - times[2] < 0.4


def test_a_pause_of_an_hour_is_not_slept_through(tmp_path: Path) -> None:
    manners = Manners(**HONOUR, fault=lambda number, body: Fault(429, {"Retry-After": "3600"}) if number > 1 else None)
    with asking(tmp_path, manners) as (_, answerer):
        urls = [answerer.reader.inputs(picture) for picture in pictures(1)]
        assert np.isnan(answerer.score(urls).numpy()).all()
        with pytest.raises(UserError, match=r"wants a pause of \d+ s .*run it again then"):
            answerer.score(urls)


def test_what_the_server_refuses_is_not_tried_again_and_costs_itself(tmp_path: Path) -> None:
    def fault(number: int, body: dict[str, Any]) -> Fault | None:
        too_large = body["messages"][0]["content"][1]["text"] == MESSAGES[2]
        return Fault(400, body='{"error": {"message": "image too small"}}') if too_large else None

    with asking(tmp_path, Manners(**HONOUR, fault=fault)) as (_, answerer):
        urls = [answerer.reader.inputs(picture) for picture in pictures(3)]
        z = answerer.score(urls).numpy()
        session = answerer.session
        session.raise_if_incomplete()
    assert session.budget.usage.retries == 0
    assert (session.refused.count, session.failed.count) == (3, 0)
    assert "image too small" in str(session.refused)
    assert np.isnan(z[:, 2]).all()
    rest = [0, 1, 3, 4]
    np.testing.assert_allclose(p_yes(z[:, rest]), expected(urls)[:, rest], atol=1e-6)


def test_a_reply_without_the_numbers_is_no_answer_and_nothing_stands_for_it(tmp_path: Path) -> None:
    other = {"token": "token_id:100", "logprob": -0.1, "top_logprobs": [{"token": "token_id:100", "logprob": -0.1}]}
    bodies = ['{"choices": []}', json.dumps({"choices": [{"logprobs": {"content": [other]}}]})]
    faults = {number: Fault(200, body=body) for number, body in enumerate(bodies, 4)}
    with asking(tmp_path, Manners(**HONOUR, fault=lambda number, body: faults.get(number))) as (_, answerer):
        urls = [answerer.reader.inputs(picture) for picture in pictures(2)]
        z = answerer.score(urls).numpy()
        with pytest.raises(UserError, match=r"2 questions got no answer: .*no chat completion.*other tokens than"):
            answerer.session.raise_if_incomplete()
    answered = ~np.isnan(z[..., 0])
    assert (~answered).sum() == np.isnan(z).all(-1).sum() == 2
    np.testing.assert_allclose(p_yes(z)[answered], expected(urls)[answered], atol=1e-6)


def test_a_server_that_refuses_the_pictures_is_said_to(tmp_path: Path) -> None:
    def fault(number: int, body: dict[str, Any]) -> Fault | None:
        return Fault(413, body='{"error": {"message": "image too large"}}') if number > 1 else None

    with (
        asking(tmp_path, Manners(**HONOUR, fault=fault)) as (_, answerer),
        pytest.raises(UserError, match=r"refuses questions about the first pictures: .*too large; change .*max_px"),
    ):
        answerer.self_test(pictures(2))


def test_a_question_that_fails_for_good_stays_missing_and_is_said_at_the_end(tmp_path: Path) -> None:
    def fault(number: int, body: dict[str, Any]) -> Fault | None:
        return Fault(500) if body["messages"][0]["content"][1]["text"] == MESSAGES[1] else None

    with asking(tmp_path, Manners(**HONOUR, fault=fault), max_attempts=2) as (_, answerer):
        z = answerer.score([answerer.reader.inputs(picture) for picture in pictures(2)]).numpy()
        with pytest.raises(UserError, match=r"2 questions got no answer: .*has died.* \(2 tries, .*run the same"):
            answerer.session.raise_if_incomplete()
    assert np.isnan(z[:, 1]).all()
    assert not np.isnan(z[:, [0, 2, 3, 4], :2]).any()


def test_many_failures_in_a_row_stop_it_and_what_was_answered_is_returned(tmp_path: Path) -> None:
    manners = Manners(**HONOUR, fault=lambda number, body: Fault(500) if number > 10 else None)
    with asking(tmp_path, manners, max_attempts=2, max_failures=6, at_once=2) as (fake, answerer):
        urls = [answerer.reader.inputs(picture) for picture in pictures(8)]
        z = answerer.score(urls).numpy()
        answered = ~np.isnan(z[..., 0])
        assert answered.sum() == 9, "the tenth was the probe"
        np.testing.assert_allclose(p_yes(z)[answered], expected(urls)[answered], atol=1e-6)
        count = fake.count
        with pytest.raises(UserError, match=r"6 questions in a row got no answer \(extract_logits.server.max_failures"):
            answerer.score(urls)
        assert fake.count == count < 40


@pytest.mark.parametrize(("status", "advice"), [(401, "OPENAI_API_KEY"), (404, "extract_logits.model")])
def test_a_wrong_key_or_model_stops_at_once(tmp_path: Path, status: int, advice: str) -> None:
    manners = Manners(**HONOUR, fault=lambda number, body: Fault(status))
    with (
        asking(tmp_path, manners) as (fake, answerer),
        pytest.raises(UserError, match=rf"says {status}: .*check {advice}"),
    ):
        answerer.self_test(pictures(2))
    assert fake.count == 1


def test_the_key_is_in_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    manners = Manners(fault=lambda number, body: Fault(401, body='{"error": {"message": "wrong key:\\nsk-secret"}}'))
    with (
        asking(tmp_path, manners) as (_, answerer),
        pytest.raises(UserError, match=r"wrong key:.*\$OPENAI_API_KEY") as caught,
    ):
        answerer.self_test(pictures(2))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_server_at_all_is_said_in_one_line(tmp_path: Path) -> None:
    with (
        asking(tmp_path, Manners(), base_url="http://127.0.0.1:9/v1", max_attempts=2) as (_, answerer),
        pytest.raises(UserError, match=r"127.0.0.1:9/v1 does not answer: .*\(2 tries") as caught,
    ):
        answerer.self_test(pictures(2))
    assert "\n" not in str(caught.value)


def test_requests_a_minute_are_limited(tmp_path: Path) -> None:
    with asking(tmp_path, Manners(**HONOUR), max_requests_per_minute=1200) as (fake, answerer):
        urls = [answerer.reader.inputs(picture) for picture in pictures(2)]
        start = time.monotonic()
        answerer.score(urls)
    assert time.monotonic() - start >= 0.05 * 10
    assert fake.count == 11


PRICES: dict[str, Any] = {
    "usd_per_million_input_tokens": 1000.0,
    "usd_per_million_output_tokens": 2000.0,
}  # 0.052 a request


def test_the_cost_limit_is_never_passed(tmp_path: Path) -> None:
    with asking(tmp_path, Manners(**HONOUR, delay_s=0.005), max_cost_usd=0.7, **PRICES) as (_, answerer):
        urls = [answerer.reader.inputs(picture) for picture in pictures(5)]
        z = answerer.score(urls).numpy()
        budget = answerer.session.budget
        assert 0.6 < budget.spent_usd() <= 0.7
        assert (~np.isnan(z[..., 0])).sum() == 13 - 1
        with pytest.raises(UserError, match=r"max_cost_usd is 0.7, and one more request would go beyond"):
            answerer.score(urls)


def test_a_cost_limit_needs_a_server_that_counts(tmp_path: Path) -> None:
    with (
        asking(tmp_path, Manners(**HONOUR, usage=False), max_cost_usd=1.0, **PRICES) as (_, answerer),
        pytest.raises(UserError, match="does not tell how many tokens"),
    ):
        answerer.self_test(pictures(2))


def test_the_estimate_and_the_summary_tell_tokens_and_cost(tmp_path: Path) -> None:
    with asking(tmp_path, Manners(**HONOUR), max_cost_usd=3.0, **PRICES) as (fake, answerer):
        answerer.self_test(pictures(2))
        count = fake.count
        line = answerer.estimate(20)
        assert fake.count == count, "it asks nothing"
        summary = answerer.session.budget.summary()
    assert line.startswith("100 requests, about 5,000 input and 100 output tokens, 5.2 USD, which is more than")
    assert (
        summary
        == f"{count} requests (0 retries), {50 * count:,} input and {count} output tokens, {0.052 * count:.4g} USD"
    )


def test_another_model_under_the_same_name_is_refused(tmp_path: Path) -> None:
    with asking(tmp_path, Manners(**HONOUR)) as (_, answerer):
        answerer.self_test(pictures(2))
    with asking(tmp_path, Manners(**HONOUR)) as (_, answerer):
        answerer.self_test(pictures(2))  # at another port: the same model
    others = {"root is 'weights-2', was 'weights-1'; set .*revision": Manners(**HONOUR, model={"root": "weights-2"})}
    others["tells is 'top_k', was 'both'"] = Manners()
    for said, manners in others.items():
        with (
            asking(tmp_path, manners) as (_, answerer),
            pytest.raises(UserError, match=f"serves another tiny .*{said}"),
        ):
            answerer.self_test(pictures(2))
    assert json.loads((tmp_path / "server.json").read_text()) == {"id": "tiny", "root": "weights-1", "tells": "both"}

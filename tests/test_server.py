"""The server back-end against a server that is healthy or not: no value invented, none lost."""

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ImageOps

import makd.server_client
from makd.answerer import Answerer, Metered
from makd.errors import UserError
from makd.server import Server
from makd.server_budget import Budget, Stopped
from tests.fake_vlm_server import Fault, Manners, serving
from tests.server_asking import MESSAGES, asking, expected, p_yes, pictures, server_block

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


def test_a_field_that_was_refused_is_not_sent_with_the_next_questions(tmp_path: Path) -> None:
    with serving(Manners(**HONOUR, penalties="reject")) as fake:
        server = Server(server_block(fake.url), 8, tmp_path)
        server.answerer(MESSAGES[:2]).self_test(pictures(2))
        assert "repetition_penalty" in fake.asked[0]
        before = len(fake.asked)
        following = server.answerer(MESSAGES[2:])
        following.score([following.reader.inputs(picture) for picture in pictures(2)])
        server.session.close()
    assert len(fake.asked) > before
    assert not any("repetition_penalty" in body for body in fake.asked[before:])


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
        Fault(408),
        Fault(409),
        Fault(425),
        Fault(503, body="<html>"),
        Fault(delay_s=30),
        Fault(200, body='{"choices": [' + " " * 100, cut=True),
        Fault(200, body="<html>wrong</html>"),
        Fault(200, body='{"error": {"message": "overloaded"}}'),
    ],
    ids=["429", "500", "408", "409", "425", "503", "time-out", "cut", "no JSON", "an error with status 200"],
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


def first_token(token_id: int, logprob: float, table: dict[int, float]) -> str:
    """A completion of vLLM's that tells these."""
    told = [{"token": f"token_id:{one}", "logprob": z} for one, z in table.items()]
    content = [{"token": f"token_id:{token_id}", "logprob": logprob, "top_logprobs": told}]
    usage = {"prompt_tokens": 50, "completion_tokens": 1}
    return json.dumps({"choices": [{"index": 0, "logprobs": {"content": content}}], "usage": usage})


NO_NUMBERS = {
    '{"choices": []}': "no chat completion",
    first_token(100, -0.1, {100: -0.1}): "other tokens than",
    first_token(100, -0.1, {100: -5.0, 101: -0.2}): "-5.0 in the table for the sampled token 'token_id:100'",
    json.dumps({"choices": [{"finish_reason": "content_filter", "logprobs": None}]}): "no log-probabilities of",
}


@pytest.mark.parametrize("body", NO_NUMBERS)
def test_a_reply_without_the_numbers_is_asked_once_more_and_then_nothing_stands_for_it(
    tmp_path: Path, body: str
) -> None:
    once = {MESSAGES[1]: 1, MESSAGES[3]: 10**6}  # how many such replies there are

    def fault(number: int, asked: dict[str, Any]) -> Fault | None:
        message = asked["messages"][0]["content"][1]["text"]
        if number == 1 or once.get(message, 0) <= 0:
            return None
        once[message] -= 1
        return Fault(200, body=body)

    with asking(tmp_path, Manners(**HONOUR, fault=fault)) as (_, answerer):
        urls = [answerer.reader.inputs(picture) for picture in pictures(2)]
        z = answerer.score(urls).numpy()
        answerer.session.raise_if_incomplete()
        assert answerer.session.refused.count == 2
        assert NO_NUMBERS[body] in str(answerer.session.refused)
    assert np.isnan(z[:, 3]).all()
    rest = [0, 1, 2, 4]
    np.testing.assert_allclose(p_yes(z[:, rest]), expected(urls)[:, rest], atol=1e-6)


def test_replies_without_numbers_stop_it_too(tmp_path: Path) -> None:
    manners = Manners(**HONOUR, fault=lambda number, _: Fault(200, body='{"choices": []}') if number > 8 else None)
    with asking(tmp_path, manners, max_failures=3, at_once=1) as (fake, answerer):
        urls = [answerer.reader.inputs(picture) for picture in pictures(9)]
        answerer.score(urls)
        assert fake.count == 8 + 3
        with pytest.raises(UserError, match=r"3 questions in a row got no answer .*no chat completion"):
            answerer.score(urls)


def test_failures_that_answers_come_between_do_not_stop_it(tmp_path: Path) -> None:
    manners = Manners(**HONOUR, fault=lambda number, _: Fault(400) if number % 2 == 0 else None)
    with asking(tmp_path, manners, max_failures=3, at_once=1) as (_, answerer):
        z = answerer.score([answerer.reader.inputs(picture) for picture in pictures(4)]).numpy()
        assert 8 <= np.isnan(z[..., 0]).sum() <= 12
        answerer.session.raise_if_incomplete()


@pytest.mark.parametrize("body", ['{"usage": "none", "choices": 5}', "[" * 100_000, '{"model": "x", "choices": [5]}'])
def test_a_reply_of_any_shape_costs_itself_alone(tmp_path: Path, body: str) -> None:
    manners = Manners(**HONOUR, fault=lambda number, _: Fault(200, body=body) if number in (4, 5) else None)
    with asking(tmp_path, manners, max_attempts=4, at_once=1) as (_, answerer):
        z = answerer.score([answerer.reader.inputs(picture) for picture in pictures(2)]).numpy()
    assert np.isnan(z[..., 0]).sum() <= 1


@pytest.mark.parametrize("about", ["the request before", "the first picture", "its negative"])
def test_pictures_that_are_mixed_up_under_load_alone_are_noticed(tmp_path: Path, about: str) -> None:
    """As by a server whose batches are larger than a few requests."""

    class Crowded(Manners):
        fake: Any = None

        @property
        def mixed_up(self) -> bool:
            return self.fake is not None and self.fake.at_once > 12

        @mixed_up.setter
        def mixed_up(self, value: bool) -> None: ...

    manners = Crowded(**HONOUR, delay_s=0.05)
    with asking(tmp_path, manners, at_once=24) as (fake, answerer):
        manners.fake, first = fake, pictures(2)[0]
        seen = {"the first picture": first, "its negative": ImageOps.invert(first)}.get(about)
        manners.sticks_to = answerer.reader.inputs(seen) if seen else ""
        with pytest.raises(UserError, match="mixes up pictures"):
            answerer.self_test(pictures(2))
        assert fake.most_at_once == 24


def test_another_model_in_the_middle_of_a_run_is_noticed(tmp_path: Path) -> None:
    swapped = json.loads(first_token(100, -0.1, {100: -0.1, 101: -3.0}))

    def fault(number: int, _: dict[str, Any]) -> Fault | None:
        return Fault(200, body=json.dumps(swapped | {"model": "tiny" if number < 5 else "other"}))

    with asking(tmp_path, Manners(**HONOUR, fault=fault), at_once=1) as (fake, answerer):
        urls = [answerer.reader.inputs(picture) for picture in pictures(3)]
        z = answerer.score(urls).numpy()
        assert (fake.count, int((~np.isnan(z[..., 0])).sum())) == (5, 3)
        with pytest.raises(UserError, match=r"answers as other now, and as tiny before; .*extract_logits\.revision"):
            answerer.score(urls)


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


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "check OPENAI_API_KEY"), (402, "needs credit"), (404, "check extract_logits.model")],
)
def test_a_wrong_key_or_model_stops_at_once(tmp_path: Path, status: int, advice: str) -> None:
    manners = Manners(**HONOUR, fault=lambda number, body: Fault(status))
    with (
        asking(tmp_path, manners) as (fake, answerer),
        pytest.raises(UserError, match=rf"says {status}: .*{advice}"),
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


def test_when_it_stops_what_waits_for_its_turn_is_not_sent(tmp_path: Path) -> None:
    manners = Manners(**HONOUR, fault=lambda number, _: Fault(401) if number == 4 else None)
    with asking(tmp_path, manners, at_once=8, max_requests_per_minute=600) as (fake, answerer):
        answerer.score([answerer.reader.inputs(picture) for picture in pictures(4)])
        assert fake.count <= 5


def test_a_pause_holds_for_those_that_wait_for_their_turn(tmp_path: Path) -> None:
    times: list[float] = []

    def fault(number: int, _: dict[str, Any]) -> Fault | None:
        times.append(time.monotonic())
        return Fault(429, {"Retry-After": "0.6"}) if number == 3 else None

    manners = Manners(**HONOUR, fault=fault)
    with asking(tmp_path, manners, at_once=8, max_requests_per_minute=1200) as (_, answerer):
        answerer.score([answerer.reader.inputs(picture) for picture in pictures(2)])
    after = [one - times[2] for one in times[3:]]
    assert len(after) == 11 - 2
    assert sum(one < 0.55 for one in after) <= 1, "of those, one may have been on its way"
    assert max(after) - min(one for one in after if one >= 0.55) >= 0.05 * 5, "and the rate holds behind it"


def test_a_drip_is_cut_off(tmp_path: Path) -> None:
    """A byte now and then keeps a connection alive, and is no reply."""
    manners = Manners(**HONOUR, fault=lambda number, _: Fault(200, body=" " * 40, drip_s=0.05) if number == 2 else None)
    with asking(tmp_path, manners, timeout_s=0.4, at_once=1) as (_, answerer):
        start = time.monotonic()
        z = answerer.score([answerer.reader.inputs(picture) for picture in pictures(1)]).numpy()
    assert time.monotonic() - start < 2
    assert not np.isnan(z[..., 0]).any()


@pytest.mark.parametrize("key", ["sk-one\nsk-two", "sk-\u00fc"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UserError, match="holds characters that no key has") as caught:
        Server(server_block("http://127.0.0.1:9/v1"), 1, tmp_path)
    assert "sk-" not in str(caught.value)


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


@pytest.mark.parametrize("usage", [{"prompt_tokens": -5000, "completion_tokens": 1}, {"prompt_tokens": 5}, "none"])
def test_tokens_that_are_no_count_close_a_cost_limit(tmp_path: Path, usage: object) -> None:
    body = json.dumps(json.loads(first_token(100, -0.1, {100: -0.1, 101: -3.0})) | {"usage": usage})
    manners = Manners(**HONOUR, fault=lambda *_: Fault(200, body=body))
    with (
        asking(tmp_path, manners, max_cost_usd=9.0, **PRICES) as (_, answerer),
        pytest.raises(UserError, match="does not tell how many tokens"),
    ):
        answerer.self_test(pictures(2))


def test_the_dearest_request_so_far_is_what_the_next_may_cost() -> None:
    budget = Budget(server_block("http://127.0.0.1:9/v1", max_cost_usd=1.0, **PRICES).server)
    budget.answered(500, 0)
    budget.answered(10, 0)
    assert (budget.spent_usd(), budget.dearest_usd) == (0.51, 0.5)
    with pytest.raises(Stopped, match="would go beyond"):
        asyncio.run(budget.enter())
    assert budget.in_flight == 0


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


def test_what_the_server_tells_of_its_model_later_is_noted_then(tmp_path: Path) -> None:
    silent = Manners(**HONOUR, model={"id": "another"})
    with asking(tmp_path, silent) as (_, answerer):
        answerer.self_test(pictures(2))
    with asking(tmp_path, Manners(**HONOUR)) as (fake, answerer):
        answerer.server.block = server_block(f"{fake.url}/")  # as many write it
        answerer.self_test(pictures(2))
    with (
        asking(tmp_path, Manners(**HONOUR, model={"root": "weights-2"})) as (_, answerer),
        pytest.raises(UserError, match="root is 'weights-2', was 'weights-1'"),
    ):
        answerer.self_test(pictures(2))


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

import json

from makd.chat_completion import as_recording
from makd.recordings import Message, Request


def test_of_two_tokens_that_read_the_same_the_likelier_counts() -> None:
    request = Request(
        model="tiny", temperature=0, messages=[Message(role="user", content="?")], reply_schema={}, first_token=True
    )
    likeliest = [{"token": "No", "logprob": -0.5}, {"token": "Yes", "logprob": -1.5}, {"token": "No", "logprob": -9}]
    choice = {"message": {"content": "No"}, "logprobs": {"content": [{"top_logprobs": likeliest}]}}
    reply = as_recording(request, json.dumps({"choices": [choice]}), "from a test").reply
    assert reply == {"logprobs": {"No": -0.5, "Yes": -1.5}}

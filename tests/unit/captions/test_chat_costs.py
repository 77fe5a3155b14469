"""What captions cost: estimated before, limited while they are asked for."""

import pytest
from chat_study import Chat, Server, answered, asked

from tacolab.errors import StageError, UserError


def test_the_limit_of_costs(server: Server, chat: Chat) -> None:
    """97 + 27 tokens in, 150 out as assumed; the longest answer is 500."""
    mock, _ = server
    study = chat(20)
    study.source["attempts"] = 20
    with pytest.raises(UserError, match=r"\$0\.07 \(sync\) for 40 requests.*max-cost 0\.05"):
        study.run(max_cost=0.05)
    assert asked(mock) == 0
    study.api["max_cost"] = 0.08
    mock.faults = 20 * ["length"]  # paid for nothing
    with pytest.raises(StageError, match=r"spent and one more request may cost .*answers are kept"):
        study.run()
    spent = sum(
        2.5 * row["prompt_tokens"] + 10 * row["completion_tokens"] for row in study.stored()
    )
    assert 0.06 < spent / 1e6 <= 0.08
    assert answered(mock) == len(study.stored())
    study.run(max_cost=1)
    assert answered(mock) == 60


@pytest.mark.slow
def test_the_command_shows_what_it_costs_and_refuses_more(server: Server, chat: Chat) -> None:
    mock, _ = server
    study = chat(20)
    output, _ = study.start("--estimate", OPENAI_API_KEY="").communicate(timeout=60)
    assert "40 requests, about 4,800 input and 6,000 output tokens: $0.07 sync" in output
    process = study.start("--max-cost", "0.05")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "more than --max-cost 0.05" in errors.splitlines()[-1]
    assert asked(mock) == 0


def test_an_answer_that_never_came_counts_as_paid_in_later_runs_too(
    server: Server, chat: Chat
) -> None:
    mock, _ = server
    study = chat(4)
    study.api["concurrency"] = 1
    mock.faults = [*3 * ["cut"], "well", *3 * ["cut"], "well", *3 * ["cut"], "well"]
    with pytest.raises(StageError, match="one more request may cost"):
        study.run(max_cost=0.04)
    requests = asked(mock)
    with pytest.raises((StageError, UserError), match="max-cost"):
        study.run(max_cost=0.04)
    assert asked(mock) == requests


def test_the_limit_holds_with_a_server_that_counts_more_tokens(server: Server, chat: Chat) -> None:
    """5,000 of an image that nobody knows, where some 120 were expected."""
    mock, _ = server
    mock.image_tokens = 5000
    study = chat(20, model="mock-vision")
    with pytest.raises(StageError, match="one more request may cost"):
        study.run(max_cost=0.14)
    spent = sum(
        2.5 * row["prompt_tokens"] + 10 * row["completion_tokens"] for row in study.stored()
    )
    # The first requests are in flight before the first count comes back.
    assert 0.1 < spent / 1e6 < 0.14 * 1.3

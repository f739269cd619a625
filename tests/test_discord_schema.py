"""The check of REST bodies itself: it must find what is wrong, and say where."""

import pytest
from discord_schema import DESCRIPTION, ReadExchange, check_exchanges, check_record

from sandbox.record import Record

CHANNEL = "/channels/{channel_id}/messages"
needs_description = pytest.mark.skipif(not DESCRIPTION.exists(), reason="Discord's description is not here")


def exchange(request: object = None, status: int = 200, response: object = None, template: str = CHANNEL):
    return ReadExchange("POST", template, request, status, response)


@needs_description
def test_right_bodies_are_counted():
    request = {"content": "x", "message_reference": {"message_id": 5}, "flags": 0}
    refusal = {"code": 50035, "message": "Invalid Form Body", "errors": {"content": {"_errors": [
        {"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 2000 or fewer in length."}]}}}  # fmt: skip
    assert check_exchanges([exchange(request), exchange(None, 400, refusal)]) == 2


@needs_description
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (exchange({"contents": "x"}), "contents"),
        (exchange({"components": [{"type": 1, "components": [{"type": 2, "stile": 1, "style": 1}]}]}), "stile"),
        (exchange({"content": "x"}, response={"id": "1"}), "response"),
        (exchange(None, 429, {"message": "x", "code": 0}), "retry_after"),
        (exchange(None, 404, {"message": "x"}), "code"),
        (exchange(None, template="/channels/{channel_id}/nonsense", response={}), "nonsense"),
    ],
)
def test_wrong_bodies_are_found(wrong: ReadExchange, told: str):
    with pytest.raises(AssertionError, match=told):
        check_exchanges([wrong])


def test_unknown_routes_and_faults_fail_a_run():
    record = Record()
    record.unknown["GET /api/v10/stickers"] += 1
    with pytest.raises(AssertionError, match="stickers"):
        check_record(record)
    record = Record()
    record.exchanges.append(exchange(status=500, response={"message": "x", "code": 0}))  # pyright: ignore[reportArgumentType] - the same fields
    with pytest.raises(AssertionError, match="failed"):
        check_record(record)

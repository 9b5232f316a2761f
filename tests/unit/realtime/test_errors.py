import re

import pytest

from realtime import errors
from realtime.errors import CLOSE_CODE, HTTP_STATUS, ClientError, Code, SettingError, Unavailable

# The contract: codes are stable, so they are written out here once more.
SOCKET_CODES = set(
    """
    invalid_json invalid_message unknown_type invalid_channel invalid_filter forbidden not_found
    message_too_big rate_limited too_many_channels too_many_connections unauthorized token_expired
    slow_consumer disconnected unavailable internal
""".split()  # noqa: SIM905
)


def test_every_code_of_the_contract_exists_under_its_name():
    assert set(Code) >= SOCKET_CODES
    assert set(Code) - SOCKET_CODES == {
        "invalid_request",
        "method_not_allowed",
        "unsupported_media_type",
    }


def test_codes_are_lower_snake_case_after_their_own_names():
    for code in Code:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        assert code == code.name.lower()


def test_what_closes_a_connection_has_the_close_code_of_the_contract():
    assert CLOSE_CODE == {
        "unauthorized": 4401,
        "token_expired": 4401,
        "forbidden": 4403,
        "not_found": 4404,
        "disconnected": 4410,
        "slow_consumer": 4413,
        "too_many_connections": 4429,
        "rate_limited": 4429,
        "unavailable": 4503,
        "internal": 1011,  # of RFC 6455: the contract has no fault that ends a connection
    }
    assert errors.CLOSE_SERVICE_RESTART == 1012
    assert (errors.CLOSE_GOING_AWAY, errors.CLOSE_UNSUPPORTED_DATA, errors.CLOSE_HEARTBEAT) == (
        1001,
        1003,
        4408,
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("invalid_request", 400),
        ("unauthorized", 401),
        ("token_expired", 401),
        ("forbidden", 403),
        ("not_found", 404),
        ("method_not_allowed", 405),
        ("message_too_big", 413),
        ("unsupported_media_type", 415),
        ("rate_limited", 429),
        ("too_many_connections", 429),
        ("unavailable", 503),
    ],
)
def test_what_rest_refuses_has_the_status_of_the_contract(code, status):
    assert HTTP_STATUS[Code(code)] == status


def test_whatever_closes_a_connection_that_was_not_well_connected_can_be_said_over_http_too():
    assert set(CLOSE_CODE) - set(HTTP_STATUS) == {Code.SLOW_CONSUMER, Code.DISCONNECTED}


def test_errors_say_what_is_wrong_in_one_sentence():
    assert str(ClientError(Code.NOT_FOUND, "no such project")) == "not_found: no such project"
    assert str(Unavailable("Redis is away")) == "unavailable: Redis is away"
    assert str(SettingError("redis_url", "missing")) == "redis_url: missing"


def test_all_that_is_raised_on_purpose_is_one_family():
    for kind in (ClientError, Unavailable, SettingError):
        assert issubclass(kind, errors.RealtimeError)
    assert issubclass(Unavailable, ClientError)

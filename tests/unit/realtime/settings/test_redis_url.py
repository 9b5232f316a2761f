"""What a `redis_url` says, and what is told of one that is wrong."""

from __future__ import annotations

import pytest

from realtime.errors import SettingError
from realtime.settings.redis_url import Kind, RedisUrl, parse_redis_url


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://", RedisUrl(Kind.STANDALONE, (("localhost", 6379),))),
        ("redis://redis:7000/3", RedisUrl(Kind.STANDALONE, (("redis", 7000),), db=3)),
        (
            "redis://user:p%40ss%2F@redis",
            RedisUrl(Kind.STANDALONE, (("redis", 6379),), username="user", password="p@ss/"),
        ),
        ("redis://:a:b@[::1]:1", RedisUrl(Kind.STANDALONE, (("::1", 1),), password="a:b")),
        ("rediss://redis", RedisUrl(Kind.STANDALONE, (("redis", 6379),), tls={})),
        (
            "rediss://redis?ssl_ca_certs=/run/ca%20.pem&ssl_cert_reqs=optional&ssl_check_hostname=false",
            RedisUrl(
                Kind.STANDALONE,
                (("redis", 6379),),
                tls={
                    "ssl_ca_certs": "/run/ca .pem",
                    "ssl_cert_reqs": "optional",
                    "ssl_check_hostname": False,
                },
            ),
        ),
        (
            "redis+cluster://:pw@a:1,b,[fd00::1]:3/",
            RedisUrl(Kind.CLUSTER, (("a", 1), ("b", 6379), ("fd00::1", 3)), password="pw"),
        ),
        ("rediss+cluster://a/0", RedisUrl(Kind.CLUSTER, (("a", 6379),), tls={})),
        (
            "redis+sentinel://:pw@a,b:5/mymaster/2?sentinel_username=u&sentinel_password=s%26t",
            RedisUrl(
                Kind.SENTINEL,
                (("a", 26379), ("b", 5)),
                password="pw",
                db=2,
                service="mymaster",
                sentinel_username="u",
                sentinel_password="s&t",
            ),
        ),
        (
            "rediss+sentinel://a/mymaster",
            RedisUrl(Kind.SENTINEL, (("a", 26379),), service="mymaster", tls={}),
        ),
    ],
)
def test_a_url_says_where_redis_is_and_how_to_get_in(url: str, meant: RedisUrl) -> None:
    assert parse_redis_url(url) == meant


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "expected redis://"),
        ("http://redis", "expected redis://"),
        ("redis:redis", "expected redis://"),
        ("unix:///run/redis.sock", "expected redis://"),
        ("redis+proxy://redis", "expected redis://"),
        ("redis+clusters://redis", "expected redis://"),
        ("redis://a,b", "several hosts"),
        ("redis://a:0", "host:port"),
        ("redis://a:65536", "host:port"),
        ("redis://a:port", "host:port"),
        ("redis+cluster://a,,b", "host:port"),
        ("redis://::1", "host:port"),
        ("redis://a/x", "number of a database"),
        ("redis://a/1/2", "number of a database"),
        ("redis+cluster://a/1", "no databases"),
        ("redis+sentinel://a", "service"),
        ("redis+sentinel://a/s/1/2", "number of a database"),
        ("redis://a?protocol=3", "'protocol' is not an option"),
        ("redis://a?sentinel_password=x", "'sentinel_password' is not an option"),
        ("redis://a?ssl_ca_certs=/x", "ssl_ca_certs is for TLS"),
        ("rediss://a?ssl_cert_reqs=maybe", "ssl_cert_reqs is one of"),
        ("rediss://a?ssl_check_hostname=1", "ssl_check_hostname is one of"),
        ("rediss://a?ssl_keyfile=/k", "ssl_keyfile needs ssl_certfile"),
        ("rediss://a?ssl_ca_certs=/x&ssl_ca_certs=/y", "ssl_ca_certs is given twice"),
        ("rediss://a?ssl_min_version=TLSv1", "'ssl_min_version' is not an option"),
        ("redis://a?db=1", "'db' is not an option"),
        ("redis://a?socket_timeout=1", "'socket_timeout' is not an option"),
        ("redis://a#b", "percent-encoded"),
        ("redis://%ff@a", "percent-encoded"),
        ("redis://\udcff@a", "percent-encoded"),
        ("redis://a\x00b", "percent-encoded"),
        ("redis://a b", "the name of a host"),
        ("redis://a..b", "the name of a host"),
    ],
)
def test_a_url_that_is_wrong_is_told_what_is_wrong_with_it(url: str, reason: str) -> None:
    with pytest.raises(SettingError) as raised:
        parse_redis_url(url)
    assert raised.value.setting == "redis_url"
    assert reason in raised.value.reason


@pytest.mark.parametrize(
    "url",
    [
        *("redis://u:s3cret@a:b", "redis+sentinel://:s3cret@a", "redis://u:s3cret@a/x"),
        # A password that is not encoded, of which a part is taken for something else.
        *("redis://u:1?s3cret@a", "redis://u:1?s3cret=@a", "redis://u:1/s3cret@a", "redis://u:1#s3cret@a"),
    ],
)
def test_a_password_is_never_quoted(url: str) -> None:
    with pytest.raises(SettingError) as raised:
        parse_redis_url(url)
    assert "s3cret" not in str(raised.value)
    good = "rediss+sentinel://:s3cret@a/m?sentinel_password=s3cret&ssl_certfile=/c&ssl_password=s3cret"
    assert "s3cret" not in repr(parse_redis_url(good))

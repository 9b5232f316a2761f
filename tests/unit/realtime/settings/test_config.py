"""Settings: what they become, and how a wrong one is told.

Long by the table of what is refused.
"""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from realtime.errors import SettingError
from realtime.redis.history import History, table_history
from realtime.settings.config import Limits, Settings, load

SECRET = "a secret of more than thirty-two bytes"
URL = "postgresql://127.0.0.1/app"
DEMO = f'[projects.demo]\ndatabase_url = "{URL}"\njwt_secret = "{SECRET}"\n'


def project(*lines: str, keys: str = f'jwt_secret = "{SECRET}"') -> str:
    return "\n".join(["[projects.demo]", f'database_url = "{URL}"', keys, *lines]) + "\n"


def demo(text: str, **environment: str):
    return load(text, environment).projects["demo"]


def refusal(text: str, **environment: str) -> SettingError:
    with pytest.raises(SettingError) as caught:
        load(text, environment)
    assert SECRET not in str(caught.value)
    return caught.value


def pem(private_key) -> str:
    return private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


# What stands in the file


def test_an_empty_file_gives_the_defaults_and_no_project():
    settings = load("", {})
    assert settings == Settings()
    assert (settings.redis_url, settings.projects) == ("redis://127.0.0.1:6379/0", {})
    assert (settings.heartbeat_seconds, settings.presence_ttl_seconds, settings.poll_seconds) == (25, 30, 1)
    assert (settings.history_entries, settings.history_seconds) == (10_000, 3_600)


def test_limits_have_the_defaults_of_the_contract():
    limits = Limits()
    assert limits.max_channels_per_connection == 100
    assert (limits.max_message_bytes, limits.max_change_bytes) == (65_536, 1_048_576)
    assert (limits.max_queue_bytes, limits.slow_consumer_seconds) == (1_048_576, 5)


@pytest.mark.parametrize(
    "address",
    [
        "app:pa#ss@db/app",
        "app:pa/ss@db/app",
        "app:pa?ss@db/app",
        "app:pass@db:port/app",
        "app:pass@db:99999/app",
        "app:pass@[::1/app",
        "app:pass@a..b/app",
        "app:pass@first:5432,second:x/app",
    ],
)
@pytest.mark.parametrize("name", ["database_url", "listen_url"])
def test_an_address_that_names_no_host_is_refused_and_not_repeated(name: str, address: str):
    """It may have its password in a wrong place."""
    text = (
        DEMO.replace(URL, f"postgresql://{address}")
        if name == "database_url"
        else project(f'listen_url = "postgresql://{address}"')
    )
    refused = refusal(text)
    assert refused.setting == f"projects.demo.{name}"
    assert "pa" not in str(refused).replace("password", "")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/app?host=/run/postgresql",
        "app:pa%23ss@db/app",
        "app:pa[ss@db/app",
        "app@[::1]:5432/app",
        "app@first:5432,second,[::2]:5433/app",
        "app:p@ss@db.example.com/app",
    ],
)
def test_an_address_may_name_several_hosts_or_a_socket(address: str):
    url = f"postgresql://{address}"
    assert demo(DEMO.replace(URL, url)).database_url == url


def test_a_project_needs_a_database_and_a_key():
    assert demo(DEMO).database_url == URL
    assert demo(DEMO).jwt_secret == SECRET
    assert demo(DEMO).allowed_origins == []


def test_a_project_listens_where_its_pooler_does_not_stand():
    assert demo(DEMO).direct_url == URL
    assert demo(project('listen_url = "postgres://direct/app"')).direct_url == "postgres://direct/app"


@pytest.mark.parametrize(
    "origin", ["*", "https://app.example.com", "http://localhost:3000", "https://*.example.com"]
)
def test_origins_are_taken_as_browsers_write_them(origin):
    assert demo(project(f'allowed_origins = ["{origin}"]')).allowed_origins == [origin]


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("x = 5", "x"),
        ("redis_url = 5", "redis_url"),
        ('redis_url = "http://127.0.0.1"', "redis_url"),
        ('redis_url = ""', "redis_url"),
        ("poll_seconds = 0", "poll_seconds"),
        ("poll_seconds = -1", "poll_seconds"),
        ("poll_seconds = nan", "poll_seconds"),
        ("poll_seconds = inf", "poll_seconds"),
        ("heartbeat_seconds = inf", "heartbeat_seconds"),
        ("gather_ms = -1", "gather_ms"),
        ("gather_ms = 1001", "gather_ms"),
        ("gather_ms = nan", "gather_ms"),
        ("history_seconds = 1e400", "history_seconds"),
        ('presence_ttl_seconds = "soon"', "presence_ttl_seconds"),
        ("poll_seconds = 2024-01-01", "poll_seconds"),
        ("history_entries = 0", "history_entries"),
        ("history_entries = 1.5", "history_entries"),
        ("history_entries = true", "history_entries"),
        ("[limits]\nx = 5", "limits.x"),
        ("[limits]\nmax_message_bytes = 1023", "limits.max_message_bytes"),
        ("[limits]\nmax_channels_per_connection = 0", "limits.max_channels_per_connection"),
        ("[limits]\nslow_consumer_seconds = 0", "limits.slow_consumer_seconds"),
        ("[projects.demo]", "projects.demo.database_url"),
        (DEMO + "x = 5", "projects.demo.x"),
        (DEMO + "[projects.demo.limits]\nx = 5", "projects.demo.limits.x"),
        (DEMO + "[projects.demo.limits]\nmax_queue_bytes = 1", "projects.demo.limits.max_queue_bytes"),
        (DEMO + "[projects.other]", "projects.other.database_url"),
        (DEMO + '[projects.other]\ndatabase_url = ["x"]', "projects.other.database_url"),
        (project('listen_url = ""'), "projects.demo.listen_url"),
        (project('listen_url = "mysql://x"'), "projects.demo.listen_url"),
        (project('doorbell = "loud"'), "projects.demo.doorbell"),
        (project("allowed_origins = 5"), "projects.demo.allowed_origins"),
        (project("jwt_audience = 5"), "projects.demo.jwt_audience"),
        (project("history_entries = 0"), "projects.demo.history_entries"),
        (project("history_seconds = 0"), "projects.demo.history_seconds"),
        (project("outbox_max_rows = -1"), "projects.demo.outbox_max_rows"),
        (project("outbox_max_bytes = 1.5"), "projects.demo.outbox_max_bytes"),
    ],
)
def test_a_wrong_setting_is_named(text, setting):
    error = refusal(text)
    assert error.setting == setting
    assert str(error).startswith(f"{setting}: ")


def test_a_file_that_is_no_toml_is_refused_as_such():
    assert "not valid TOML" in refusal("a = ").reason


@pytest.mark.parametrize("odd", ["5", '"x"', "[]", "true", "1.5", "[{}]", "1979-05-27"])
@pytest.mark.parametrize("place", ["projects", "limits", "projects.demo", "projects.demo.limits"])
def test_a_value_where_a_table_should_be_is_named(place, odd):
    *parents, leaf = place.split(".")
    text = (f"[{'.'.join(parents)}]\n" if parents else "") + f"{leaf} = {odd}\n"
    if parents == ["projects", "demo"]:
        text += f'database_url = "{URL}"\n'
    assert refusal(text).setting == place


def test_what_is_wrong_with_the_common_limits_is_not_told_of_a_project():
    assert refusal(DEMO + "[limits]\nmax_queue_bytes = 1").setting == "limits.max_queue_bytes"
    assert refusal(DEMO + "[limits]\nx = 1").setting == "limits.x"


@pytest.mark.parametrize("project_id", ["demo", "0", "a_b-c", "x" * 63])
def test_project_ids_are_short_and_lower_case(project_id):
    assert project_id in load(DEMO.replace("demo", project_id), {}).projects


@pytest.mark.parametrize(
    "project_id", ["Demo", "-a", "_a", "x" * 64, '""', '"a.b"', '"a b"', '"é"', '"a/b"', '"a\\n"']
)
def test_other_project_ids_are_refused(project_id):
    assert refusal(DEMO.replace("demo", project_id)).setting.startswith("projects.")


@pytest.mark.parametrize(
    "origin",
    ["app.example.com", "https://", "https://a/", "https://a/b", "https://a b", "", "null", "https://a.*"],
)
def test_what_is_no_origin_is_refused(origin):
    error = refusal(project(f'allowed_origins = ["{origin}"]'))
    assert error.setting == "projects.demo.allowed_origins"


# Limits


def test_a_project_inherits_the_limits_that_it_does_not_set():
    text = "[limits]\nmax_queue_bytes = 2048\nmax_message_bytes = 4096\n" + DEMO
    text += "[projects.demo.limits]\nmax_message_bytes = 8192\n" + DEMO.replace("demo", "other")
    projects = load(text, {}).projects
    assert (projects["demo"].limits.max_queue_bytes, projects["demo"].limits.max_message_bytes) == (
        2048,
        8192,
    )
    assert (projects["other"].limits.max_queue_bytes, projects["other"].limits.max_message_bytes) == (
        2048,
        4096,
    )
    assert projects["demo"].limits.max_channels_per_connection == 100


# Keys


def test_a_project_may_keep_more_or_less_of_its_tables_than_others():
    text = "history_entries = 7\nhistory_seconds = 8\n"
    assert table_history(load(text + project(), {}), "demo") == History(7, 8)
    assert table_history(load(text + project("history_entries = 9"), {}), "demo") == History(9, 8)
    assert table_history(load(text + project("history_seconds = 9"), {}), "demo") == History(7, 9)


def test_a_secret_has_32_bytes_at_least():
    assert demo(project(keys=f'jwt_secret = "{"é" * 16}"')).jwt_secret == "é" * 16
    for short in ("", "x" * 31, "é" * 15):
        error = refusal(project(keys=f'jwt_secret = "{short}"'))
        assert (error.setting, error.reason) == ("projects.demo.jwt_secret", "shorter than 32 bytes")


def test_a_public_key_is_no_secret():
    key = pem(ec.generate_private_key(ec.SECP256R1()))
    assert refusal(project(keys=f'jwt_secret = """{key}"""')).setting == "projects.demo.jwt_secret"


def test_a_secret_is_no_public_key():
    assert refusal(project(keys=f'jwt_public_key = "{SECRET}"')).setting == "projects.demo.jwt_public_key"


def test_a_jwks_has_a_web_address():
    assert demo(project(keys='jwks_url = "https://id.example.com/jwks"')).jwks_url
    assert refusal(project(keys='jwks_url = "file:///etc/passwd"')).setting == "projects.demo.jwks_url"


@pytest.mark.parametrize("keys", ["", f'jwt_secret = "{SECRET}"\njwks_url = "https://x"'])
def test_a_project_has_exactly_one_kind_of_key(keys):
    error = refusal(project(keys=keys))
    assert error.setting == "projects.demo"
    assert "jwt_secret, jwt_public_key and jwks_url" in error.reason


PUBLIC_KEYS = {
    "ES256": pem(ec.generate_private_key(ec.SECP256R1())),
    "EdDSA": pem(ed25519.Ed25519PrivateKey.generate()),
}


@pytest.mark.parametrize(
    ("keys", "fitting"),
    [
        (f'jwt_secret = "{SECRET}"', {"HS256"}),
        ('jwks_url = "https://x"', {"RS256", "ES256", "EdDSA"}),
        *((f'jwt_public_key = """{key}"""', {algorithm}) for algorithm, key in PUBLIC_KEYS.items()),
    ],
)
def test_only_algorithms_that_fit_the_key_are_allowed(keys, fitting):
    for algorithm in ("HS256", "RS256", "ES256", "EdDSA", "HS512", "none", "hs256", ""):
        text = project(f'jwt_algorithms = ["{algorithm}"]', keys=keys)
        if algorithm in fitting:
            assert demo(text).jwt_algorithms == [algorithm]
        else:
            assert refusal(text).setting == "projects.demo.jwt_algorithms"


# The environment


def test_the_environment_lies_over_the_file():
    settings = load(
        'redis_url = "redis://file"\npoll_seconds = 5\n' + DEMO,
        {
            "REALTIME_REDIS_URL": "rediss://environment",
            "REALTIME_PROJECTS__DEMO__DATABASE_URL": "postgres://environment/app",
            "PATH": "/bin",
        },
    )
    assert settings.redis_url == "rediss://environment"
    assert settings.projects["demo"].database_url == "postgres://environment/app"
    assert (settings.poll_seconds, settings.projects["demo"].jwt_secret) == (5, SECRET)


def test_a_project_may_stand_in_the_environment_alone():
    variables = {
        "REALTIME_PROJECTS__SHOP__DATABASE_URL": URL,
        "REALTIME_PROJECTS__SHOP__JWT_SECRET": SECRET,
        "REALTIME_PROJECTS__SHOP__LIMITS__MAX_QUEUE_BYTES": "4096",
        "REALTIME_LIMITS__MAX_MESSAGE_BYTES": "2048",
    }
    shop = load("", variables).projects["shop"]
    assert (shop.limits.max_queue_bytes, shop.limits.max_message_bytes) == (4096, 2048)


def test_numbers_in_the_environment_are_read_as_numbers():
    settings = load("", {"REALTIME_HISTORY_ENTRIES": "5", "REALTIME_POLL_SECONDS": "0.5"})
    assert (settings.history_entries, settings.poll_seconds) == (5, 0.5)


@pytest.mark.parametrize("value", ["", "x", "5x", "0", "-1", "true", "nan", "[1]"])
def test_what_is_no_fitting_number_is_named(value):
    assert refusal("", REALTIME_HISTORY_ENTRIES=value).setting == "history_entries"


@pytest.mark.parametrize("value", ["inf", "nan", "1e400", "0", ""])
def test_a_time_in_the_environment_is_finite(value):
    assert refusal("", REALTIME_POLL_SECONDS=value).setting == "poll_seconds"


def test_lists_in_the_environment_are_json():
    origins = '["https://a.example.com", "https://b.example.com"]'
    assert demo(DEMO, REALTIME_PROJECTS__DEMO__ALLOWED_ORIGINS=origins).allowed_origins == [
        "https://a.example.com",
        "https://b.example.com",
    ]


@pytest.mark.parametrize("value", ["*", "", '["*"', "[*]", "https://a,https://b", "[5]"])
def test_what_is_no_json_list_is_named(value):
    error = refusal(DEMO, REALTIME_PROJECTS__DEMO__ALLOWED_ORIGINS=value)
    assert error.setting.startswith("projects.demo.allowed_origins")


def test_a_secret_in_the_environment_may_look_like_a_list_or_a_number():
    for secret in ("[" + SECRET, "1" * 32):
        assert demo(DEMO, REALTIME_PROJECTS__DEMO__JWT_SECRET=secret).jwt_secret == secret


def test_bytes_in_the_environment_that_are_no_text_are_refused():
    broken = "\udcff" * 40
    error = refusal(DEMO, REALTIME_PROJECTS__DEMO__JWT_SECRET=broken)
    assert error.setting == "projects.demo.jwt_secret"


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("REALTIME_X", "x"),
        ("REALTIME_REDIS", "redis"),
        ("REALTIME_PROJECTS__DEMO__X", "projects.demo.x"),
        ("REALTIME_PROJECTS__DEMO", "projects.demo"),
        ("REALTIME_PROJECTS", "projects"),
        ("REALTIME_LIMITS", "limits"),
        ("REALTIME_LIMITS__X", "limits.x"),
        ("REALTIME_", "REALTIME_"),
        ("REALTIME___X", "REALTIME___X"),
        ("REALTIME_PROJECTS__", "REALTIME_PROJECTS__"),
        ("REALTIME_PROJECTS__DEMO__DATABASE_URL__X", "REALTIME_PROJECTS__DEMO__DATABASE_URL__X"),
    ],
)
def test_an_unknown_variable_is_named(name, setting):
    assert refusal(DEMO, **{name: "x"}).setting == setting


@pytest.mark.parametrize("odd", ["5", '"x"', "[]"])
def test_a_variable_below_what_is_no_table_is_named(odd):
    error = refusal(f"projects = {odd}", REALTIME_PROJECTS__DEMO__DATABASE_URL=URL)
    assert error.setting == "REALTIME_PROJECTS__DEMO__DATABASE_URL"


def test_what_kubernetes_says_of_services_is_ignored():
    variables = {
        "REALTIME_SERVICE_HOST": "10.0.0.1",
        "REALTIME_SERVICE_PORT": "8000",
        "REALTIME_SERVICE_PORT_HTTP": "8000",
        "REALTIME_PORT": "tcp://10.0.0.1:8000",
        "REALTIME_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "REALTIME_PORT_8000_TCP_PROTO": "tcp",
        "REALTIME_PORT_8000_TCP_PORT": "8000",
        "REALTIME_PORT_8000_TCP_ADDR": "10.0.0.1",
        "REALTIME_GATEWAY_SERVICE_HOST": "10.0.0.2",
        "REALTIME_GATEWAY_PORT_8000_TCP_ADDR": "10.0.0.2",
    }
    assert load("", variables) == Settings()


def test_the_name_of_the_file_and_other_programs_variables_are_no_settings():
    variables = {"REALTIME_CONFIG": "/etc/realtime.toml", "REALTIMEX": "1", "realtime_x": "1", "HOME": "/"}
    assert load("", variables) == Settings()

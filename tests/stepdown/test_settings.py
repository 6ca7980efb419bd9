"""Settings come from file, environment and overrides, in that order, and errors name the value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from router.prompt import CAPABILITIES
from stepdown.errors import SettingsError
from stepdown.settings import Capability, Settings, load_settings, scalar_fields, to_toml_values, variable_of

MODELS = """
[models.strong]
model = "big"
url = "http://localhost:1/v1"
[models.small]
model = "little"
url = "http://localhost:2/v1"
"""


def load(tmp_path: Path, text: str, **more: object) -> Settings:
    file = tmp_path / "s.toml"
    file.write_text(text)
    return load_settings(file, environ=more.pop("environ", {}), **more)  # type: ignore[arg-type]


def test_later_sources_win(tmp_path: Path) -> None:
    text = "[proxy]\nport = 1111\nhost = '127.0.0.2'\n"
    environ = {"STEPDOWN_PROXY_PORT": "2222"}
    assert load(tmp_path, text).proxy.port == 1111
    assert load(tmp_path, text, environ=environ).proxy.port == 2222
    overridden = load(tmp_path, text, environ=environ, overrides={"proxy": {"port": 3333}})
    assert (overridden.proxy.port, overridden.proxy.host) == (3333, "127.0.0.2")


def test_models_named_strong_and_small_make_a_default_task(tmp_path: Path) -> None:
    task = load(tmp_path, MODELS).tasks["default"]
    assert (task.strong, task.small) == ("strong", "small")


def test_a_redis_url_is_the_broker(tmp_path: Path) -> None:
    settings = load(tmp_path, "", environ={"REDIS_URL": "redis://localhost/0"})
    assert settings.worker.broker == "redis://localhost/0"


def test_keys_come_as_a_list(tmp_path: Path) -> None:
    assert load(tmp_path, "", environ={"STEPDOWN_PROXY_KEYS": "aa,bb"}).proxy.keys == ("aa", "bb")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[proxy]\nport = 'x'", "proxy.port"),
        ("[proxy]\nport = 70000", "proxy.port"),
        ("[proxy]\nprot = 1", "prot"),
        ("[models.a]\nurl = 'http://x'", "model"),
        ("[models.a]\nmodel = 'm'\ninput_usd_per_million = -1", "input_usd_per_million"),
        (MODELS + "[tasks.t]\nstrong = 'absent'", "'absent'"),
        (MODELS + "[tasks.t]\ncheck = 'absent'", "'absent'"),
        (MODELS + "[tasks.t]\nmax_quality_loss = 0", "max_quality_loss"),
        (MODELS + "[tasks.t]\npromotion = 'maybe'", "promotion"),
        ("[worker]\nbroker = 'reddis://:secret@x'", r"worker\.broker is reddis://…; write redis"),
        ("[worker]\nbroker = 'x'", r"worker\.broker is no URL"),
        ("[models.a]\nmodel = 'm'\nurll = 'x'", r"`urll` - at `\$\.models\.a`"),
        ("[models.a]\nmodel = 'm'\n[models.b]\nmodel = 3", r"models\.b\.model`, got 3"),
        ("[models.a]\nmodel = 'm'\nurl = 'localhost:8000'", r"models\.a\.url = 'localhost:8000'"),
        ("[models.a]\nmodel = 'm'\ncapabilities = ['tool']", r"'tool' - at `\$\.models\.a\.capabilities"),
        ("not toml", "not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load(tmp_path, text)


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"STEPDOWN_PROXY_PORT='x'"):
        load(tmp_path, "", environ={"STEPDOWN_PROXY_PORT": "x"})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml"):
        load_settings(tmp_path / "absent.toml", environ={})


def test_resolved_settings_are_read_back_as_they_are(tmp_path: Path) -> None:
    settings = load(tmp_path, MODELS + "[tasks.t.checks.n]\nkind = 'number'\n")
    file = tmp_path / "resolved.json"
    file.write_bytes(msgspec.json.encode(settings))
    assert load_settings(file, environ={"STEPDOWN_PROXY_PORT": "9"}) == settings
    assert msgspec.convert(json.loads(json.dumps(to_toml_values(settings))), Settings) == settings


def test_every_setting_with_a_variable_can_be_set_by_it() -> None:
    paths = [path for path, _ in scalar_fields()]
    assert "proxy.port" in paths
    assert variable_of("proxy.port") == "STEPDOWN_PROXY_PORT"
    assert len({variable_of(path) for path in paths}) == len(paths)


def test_the_capabilities_that_can_be_declared_are_those_that_a_prompt_can_need() -> None:
    assert get_args(Capability) == CAPABILITIES


TASK = MODELS + '[tasks.t]\n[tasks.t.judges.j]\nmodel = "strong"\n'
CANDIDATES = '[[tasks.t.portfolio.candidates]]\nmodel = "strong"\n'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (MODELS + '[tasks.t.judges.j]\nmodel = "nobody"\n', r"tasks\.t\.judges\.j\.model = 'nobody'"),
        (MODELS + '[tasks.t]\nchallengers = ["nobody"]\n', r"tasks\.t\.challengers\[0\] = 'nobody'"),
        (TASK + '[tasks.t.portfolio]\njudge = "k"\n' + CANDIDATES, r"portfolio\.judge = 'k'.*declared: j"),
        (TASK + '[tasks.t.portfolio]\npicker = ["judge"]\n' + CANDIDATES, r"set tasks\.t\.portfolio\.judge"),
        (TASK + CANDIDATES.replace("strong", "nobody"), r"portfolio\.candidates\[0\]\.model = 'nobody'"),
        (MODELS + '[annotators]\nada = "my key"\n', r"annotators\.ada is not a SHA-256.*stepdown key"),
        (MODELS + '[dashboard.people]\nada = "my key"\n', r"dashboard\.people\.ada is not a SHA-256"),
        (MODELS + f"[tasks.{'t' * 201}]\n", r"the name of task 't+ has 201 characters"),
        (MODELS + '[tasks."a\\u0000b"]\n', r"take 1 to 200 that can be printed"),
    ],
)
def test_what_labels_and_picks_must_be_there(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load(tmp_path, text)


def test_a_key_that_is_no_hash_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, '[annotators]\nada = "sk-secret"\n')
    assert "sk-secret" not in str(raised.value)

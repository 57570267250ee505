"""The descriptions of providers: what is known of Segmind, and the sentence for a description that is wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from engine.errors import ConfigError
from engine.provider.description import load_description

if TYPE_CHECKING:
    from pathlib import Path

AVATARS = ("kling-v1-pro-ai-avatar", "kling-v1-standard-ai-avatar", "kling-v2-pro-avatar", "kling-v2-standard-avatar")
OWN = """
name = "own"
base_url = "https://api.example.com"
api_key_env = "OWN_API_KEY"
record_life_s = 60
output_life_s = 600

[submit]
path = "/make/{model}"

[status]
path = "/jobs/{id}"
done = ["done"]
failed = ["failed"]

[result]
outputs = ["file"]

[models.painter]
output = "image"
[models.painter.parameters]
size = { kind = "string", enum = ["small", "large"], default = "small" }
steps = { kind = "integer", required = true, minimum = 1, maximum = 50 }
"""


def refusal(path: Path, content: str) -> str:
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_description(str(path))
    message = str(caught.value)
    assert message.startswith(str(path))
    return message


def test_segmind_is_described_as_documented() -> None:
    segmind = load_description("segmind")
    assert segmind.name == "segmind"
    assert segmind.base_url == "https://api.segmind.com"
    assert segmind.history_url == "https://api.spotprod.segmind.com/inference-request"
    assert segmind.upload_url == "https://workflows-api.segmind.com/upload-asset"
    assert segmind.api_key_env == "SEGMIND_API_KEY"
    assert re.fullmatch(segmind.api_key_pattern, "SG_0123456789abcdef")
    assert not re.fullmatch(segmind.api_key_pattern, '"SG_0123456789abcdef"')
    assert segmind.default_model == "kling-v1-pro-ai-avatar"
    assert (segmind.record_life_s, segmind.output_life_s) == (3_600.0, 7 * 86_400.0)


@pytest.mark.parametrize(
    ("name", "price_usd", "expected_duration_s", "output"),
    [
        ("kling-v1-pro-ai-avatar", 4.475, 732, "video"),
        ("kling-v1-standard-ai-avatar", 2.28, 460, "video"),
        ("kling-v2-pro-avatar", 5.29, 779, "video"),
        ("kling-v2-standard-avatar", 2.78, 499, "video"),
        ("infinite-talk", 0.46, 302, "video"),
        ("p-video-avatar", 0.81, 120, "video"),
        ("hallo", 0.42, 304, "video"),
        ("sadtalker", 0.18, 109, "video"),
        ("seedance-2.0", 1.21, 189, "video"),
        ("kling-2.6", 1.11, 122, "video"),
        ("veo-3", 5.19, 144, "video"),
        ("seedream-4.5", 0.04, 32, "image"),
        ("chatterbox-tts", 0.02, 18, "audio"),
        ("gpt-5.5", 0.04, 17, "text"),
    ],
)
def test_each_model_has_its_published_figures(
    name: str, price_usd: float, expected_duration_s: float, output: str
) -> None:
    model = load_description("segmind").models[name]
    assert (model.price_usd, model.expected_duration_s, model.output) == (price_usd, expected_duration_s, output)


@pytest.mark.parametrize("name", AVATARS)
def test_the_avatar_models_need_a_picture_and_a_recording(name: str) -> None:
    model = load_description("segmind").models[name]
    assert model.problems({}) == ["params.image_url is missing", "params.audio_url is missing"]
    urls = {"image_url": "https://example.com/a.png", "audio_url": "https://example.com/a.wav"}
    assert model.problems(urls) == model.problems({**urls, "prompt": "a calm presenter"}) == []


def test_the_simulator_is_segmind_without_an_address() -> None:
    simulator, segmind = load_description("simulator"), load_description("segmind")
    assert (simulator.base_url, simulator.history_url, simulator.upload_url) == ("", "", "")
    assert simulator.models == segmind.models


def test_a_description_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    description = load_description(str(tmp_path / "own.toml"))
    assert (description.name, description.history_url, description.default_model) == ("own", "", "")
    painter = description.models["painter"]
    assert (painter.output, painter.price_usd, painter.parameters["size"].default) == ("image", None, "small")
    assert painter.problems({"size": "larg", "steps": 51}) == [
        "params.size must be one of 'small', 'large', not 'larg', did you mean 'large'?",
        "params.steps must be at most 50, not 51",
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("base_url", "base_ulr", "there is no key 'base_ulr', did you mean 'base_url'?"),
        ('name = "own"', "", "name is missing"),
        ("record_life_s = 60", "record_life_s = 0", "record_life_s must be a number above 0"),
        ("record_life_s = 60", "record_life_s = nan", "record_life_s must be a number above 0"),
        ("https://api.example.com", "http://api.example.com", "base_url must be an https URL"),
        ("https://api.example.com", "", "base_url must be an https URL"),
        ("OWN_API_KEY", "SG_0123456789abcdef", "what looks like an API key"),
        ("OWN_API_KEY", "own key", "api_key_env must be the name of an environment variable"),
        ('name = "own"', 'name = "own"\napi_key_pattern = "("', "api_key_pattern is no regular expression"),
        ('name = "own"', 'name = "own"\ndefault_model = "paniter"', "did you mean 'painter'?"),
        ('output = "image"', 'output = "images"', "models.painter.output must be"),
        ('output = "image"', "prise_usd = 1", "did you mean 'price_usd'?"),
        ('output = "image"', "price_usd = -1", "models.painter.price_usd must be"),
        ('kind = "string"', 'kind = "str"', "models.painter.parameters.size.kind must be"),
        ('kind = "string"', 'sort = "string"', "there is no key 'models.painter.parameters.size.sort'"),
        ("size = {", "size = 5 #", "models.painter.parameters.size must be a table, not 5"),
        ("[models.painter]", '[models."../painter"]', "the name of a model"),
        ("minimum = 1", "minimum = inf", "minimum must be a number"),
        ("[submit]", "[submits]", "there is no key 'submits', did you mean 'submit'?"),
        ('path = "/make/{model}"', 'pth = "/make/{model}"', "there is no key 'submit.pth', did you mean 'path'?"),
        ('path = "/make/{model}"', "", "submit.path is missing"),
        ('path = "/make/{model}"', 'path = "/make"', "submit.path must hold {model}, or submit.model_key"),
        ('path = "/make/{model}"', 'path = "make/{model}"', "submit.path must begin with '/'"),
        ('path = "/make/{model}"', 'path = "/make/{modle}"', "submit.path holds {modle}, which nobody fills in"),
        ('path = "/make/{model}"', 'path = "/{model"', "submit.path holds {"),
        ('path = "/make/{model}"', 'path = "/{model}"\nid = "a..b"', "submit.id must be names and numbers with dots"),
        ('path = "/make/{model}"', 'path = "/{model}"\nid = "a.*"', "submit.id must be names and numbers with dots"),
        (
            'path = "/make/{model}"',
            'path = "/{model}"\nmoney_words = { 500 = ["x"] }',
            "no HTTP status from 400 to 499",
        ),
        ('path = "/make/{model}"', 'path = "/{model}"\nsafe_codes = [5]', "submit.safe_codes must be a list"),
        ('path = "/jobs/{id}"', "", "status.path is missing: where is a request asked about?"),
        ('path = "/jobs/{id}"', 'path = "/jobs"', "status.path must hold {id}"),
        ('done = ["done"]', "", "status.done is missing"),
        ('done = ["done"]', "done = []", "status.done is empty"),
        ('done = ["done"]', 'done = ["failed"]', "status.failed and status.done both hold 'failed'"),
        ('outputs = ["file"]', 'outputs = ["file..url"]', "result.outputs must be names and numbers with dots"),
        ("[result]", '[auth]\nvalue = "x"\n[result]', "auth.value must hold {key}"),
        ("[result]", '[auth]\nheader = "a b"\n[result]', "auth.header is no name of a header"),
        ("[result]", '[headers]\nHost = "x"\n[result]', "headers may not be 'Host'"),
        ("[result]", '[headers]\nX = "a\\nb"\n[result]', "characters that no header may have"),
        ("[result]", '[credits]\npath = "/c"\n[result]', "credits.amounts is missing"),
        ("[result]", '[cancel]\npath = "/c"\n[result]', "cancel.path must hold {id}"),
        ("[result]", '[cancel]\npath = "/c/{id}"\nmethod = "GET"\n[result]', "cancel.method"),
        ("[result]", '[cancel]\nfree = ["queued"]\n[result]', "neither cancel.path nor cancel.url_from says how"),
        ("[result]", '[cancel]\nurl_from = "a"\nfree = ["done"]\n[result]', "there is nothing to cancel"),
        ('name = "own"', 'name = "own"\ntrusted_hosts = ["https://a.b"]', "which is no host"),
    ],
)
def test_a_wrong_description_is_refused_with_its_key(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert words in refusal(tmp_path / "own.toml", OWN.replace(old, new, 1))


SYNC = OWN.replace('path = "/make/{model}"', 'path = "/make/{model}"\nanswers = "result"').replace(
    '[status]\npath = "/jobs/{id}"\ndone = ["done"]\nfailed = ["failed"]\n', ""
)
BYTES = OWN.replace('outputs = ["file"]', 'path = "/jobs/{id}/content"\nbytes = true')


RESULT = 'answers = "result"'


def test_a_description_may_say_that_the_reply_is_the_result(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(SYNC.replace("[result]", '[metrics]\ncost_usd = "header:x-cost"\n[result]'))
    description = load_description(str(tmp_path / "own.toml"))
    assert description.submit.is_synchronous
    assert description.metrics.cost_usd == "header:x-cost"


def test_a_description_may_say_that_an_address_answers_the_file(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(BYTES.replace('done = ["done"]', 'done = ["done"]\nwait_s = 30'))
    description = load_description(str(tmp_path / "own.toml"))
    assert description.result.bytes
    assert description.result.is_in_status
    assert description.status.wait_s == 30


@pytest.mark.parametrize(
    ("text", "old", "new", "words"),
    [
        (OWN, "[status]", "[credits]", "there is no key 'credits.done'"),
        (SYNC, RESULT, 'answers = "request"', "status is missing: where is a request asked"),
        (SYNC, RESULT, 'answers = "reply"', "submit.answers must be"),
        (SYNC, "[result]", '[status]\ndone = ["a"]\nfailed = []\n[result]', "status has no meaning with submit."),
        (SYNC, "[result]", '[result]\npath = "/a/{id}"', "result.path has no meaning with submit.answers"),
        (SYNC, "[result]", '[result]\nword = "a"', "result.word has no meaning with submit.answers"),
        (SYNC, "[result]", "[result]\nbytes = true", "result.bytes has no meaning with submit.answers"),
        (SYNC, 'outputs = ["file"]', "", "result.outputs is missing"),
        (SYNC, RESULT, RESULT + '\nid = "header:"', "submit.id is no name of a header"),
        (SYNC, RESULT, RESULT + '\nid = "header:a b"', "submit.id is no name of a header"),
        (SYNC, RESULT, RESULT + "\nreply_s_max = -1", "submit.reply_s_max must be a number"),
        (
            SYNC.replace(RESULT, RESULT + '\nid = ""'),
            'name = "own"',
            'name = "own"\nhistory_url = "https://h.example.com"',
            "submit.id must be",
        ),
        (OWN, 'outputs = ["file"]', 'outputs = ["header:x"]', "result.outputs must be names and numbers"),
        (OWN, 'outputs = ["file"]', "outputs = []", "result.outputs is missing"),
        (BYTES, 'path = "/jobs/{id}/content"', "", "result.path is missing: with result.bytes"),
        (BYTES, "/jobs/{id}/content", "/content", "result.path must hold {id}"),
        (BYTES, "bytes = true", 'bytes = true\noutputs = ["a"]', "result.outputs has no meaning with result.bytes"),
        (BYTES, "bytes = true", "bytes = true\nfailed_codes = [422]", "result.failed_codes has no meaning with"),
        (BYTES, 'done = ["done"]', 'done = ["done"]\nwait_s = inf', "status.wait_s must be a number"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(
    tmp_path: Path, text: str, old: str, new: str, words: str
) -> None:
    assert words in refusal(tmp_path / "own.toml", text.replace(old, new, 1))


def test_tables_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    head = OWN.partition("[models")[0]
    assert "models must be a table, not 5" in refusal(tmp_path / "own.toml", "models = 5" + head)
    assert "submit must be a table, not '/m" in refusal(tmp_path / "own.toml", OWN.replace("[submit]\npath", "submit"))
    assert "models.a must be a table, not 5" in refusal(tmp_path / "own.toml", head + "[models]\na = 5")
    assert "not TOML" in refusal(tmp_path / "own.toml", "name = ")


def test_an_unknown_preset_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'segmind'"):
        load_description("segmnd")
    with pytest.raises(ConfigError, match="does not exist"):
        load_description(str(tmp_path / "none.toml"))


def test_a_catalogue_may_begin_with_that_of_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('models_from = "segmind"\n' + OWN)
    models = load_description(str(path)).models
    assert models["kling-v1-pro-ai-avatar"].price_usd == 4.475
    assert "painter" in models
    assert "no provider preset 'segmint', did you mean 'segmind'" in refusal_of(path, 'models_from = "segmint"\n' + OWN)
    assert "models_from must name a preset" in refusal_of(path, 'models_from = "own.toml"\n' + OWN)


def refusal_of(path: Path, content: str) -> str:
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_description(str(path))
    return str(caught.value)

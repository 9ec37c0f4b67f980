"""What the broker is told."""

import io
from pathlib import Path

import pytest

from cluster.kafka.settings import render, server_settings


def _read(text: str) -> dict[str, str]:
    """A Java properties file as the JVM reads it, for what `render` writes."""
    found: dict[str, str] = {}
    for line in io.StringIO(text):
        out, separators, at = [""], 0, 0
        body = line.rstrip("\n")
        while at < len(body):
            if body[at] == "\\" and body[at + 1] == "u":
                out[-1] += chr(int(body[at + 2 : at + 6], 16))
                at += 6
            elif body[at] == "\\":
                out[-1] += {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}.get(body[at + 1], body[at + 1])
                at += 2
            elif body[at] in "=:" and not separators:
                out.append("")
                separators, at = 1, at + 1
            else:
                out[-1] += body[at]
                at += 1
        found[out[0]] = out[1].encode("utf-16", "surrogatepass").decode("utf-16")
    return found


@pytest.mark.parametrize(
    "value", ["plain", r"C:\Users\Zoë\kafka", " led by a space", "#1", "two\nlines", "a=b:c", "日本 🙂", ""]
)
def test_values_arrive_as_they_are(value: str) -> None:
    text = render({"one": value, "two": "2"})
    assert text.isascii()
    assert _read(text) == {"one": value, "two": "2"}


def test_known_spelling() -> None:
    assert render({"log.dirs": r"C:\data ü"}) == "log.dirs=C:\\\\data \\u00fc\n"
    assert render({"a b": "c"}) == "a\\ b=c\n"


def test_only_the_loopback_interface() -> None:
    settings = server_settings(Path("/data"), port=1111, controller_port=2222)
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:1111,CONTROLLER://127.0.0.1:2222"
    assert settings["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1111"
    assert settings["controller.quorum.voters"] == "1@127.0.0.1:2222"


def test_what_correctness_rests_on() -> None:
    settings = server_settings(Path("/data"), port=1, controller_port=2)
    assert settings["auto.create.topics.enable"] == "false"
    assert settings["unclean.leader.election.enable"] == "false"
    assert int(settings["message.max.bytes"]) > 8 * 1024 * 1024
    assert int(settings["group.min.session.timeout.ms"]) <= 2000
    assert settings["log.dirs"] == "/data"

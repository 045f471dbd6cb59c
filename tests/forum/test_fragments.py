"""Parts of pages that are kept rendered: not rendered again for nothing, and never out of date."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from markupsafe import Markup

from forum.pages import fragments
from forum.pages.fragments import kept
from forum.schemas import Author


class Macro:
    """Counts how often it is rendered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.times = 0

    def __call__(self, author: Author, near: bool) -> Markup:
        self.times += 1
        return Markup(f"{self.name} {author.display_name} {near}")


def test_a_part_is_rendered_once_until_something_of_it_is_different(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(fragments.time, "monotonic", lambda: now)
    fragments._part.cache_clear()
    one, other = Macro("one"), Macro("other")
    author = Author(id=1, username="a", display_name="A")

    def show(macro: Macro = one, name: str = "A", near: bool = False, root: str = "") -> tuple[str, int]:
        with app.test_request_context(environ_overrides={"SCRIPT_NAME": root}):
            shown = kept(macro, author.model_copy(update={"display_name": name}), near)
        return str(shown), macro.times

    assert show() == ("one A False", 1)
    assert show() == ("one A False", 1), "the same once more"
    assert show(name="B") == ("one B False", 2), "another name"
    assert show(near=True) == ("one A True", 3), "another value"
    assert show(other) == ("other A False", 1), "another macro"
    assert show(root="/forum") == ("one A False", 4), "another root of addresses"
    assert show() == ("one A False", 4)
    now += fragments.SECONDS
    assert show() == ("one A False", 5), "by now `5 min ago` is another"


def test_pages_show_a_change_at_once(client: FlaskClient, authorization: dict[str, str]) -> None:
    topic: Any = client.post("/api/topics", json={"title": "Before"}, headers=authorization).json
    body = {"topic_id": topic["id"], "body": "First said"}
    message: Any = client.post("/api/messages", json=body, headers=authorization).json
    assert "Before" in client.get("/?sort=newest").text
    assert "First said" in client.get(f"/topics/{topic['id']}").text
    for title, said in (("After", "Then said"), ("Again <b>", "At <last>")):
        client.patch(f"/api/topics/{topic['id']}", json={"title": title}, headers=authorization)
        client.patch(f"/api/messages/{message['id']}", json={"body": said}, headers=authorization)
        listed, shown = client.get("/?sort=newest").text, client.get(f"/topics/{topic['id']}").text
        assert str(Markup.escape(title)) in listed
        assert "Before" not in listed
        assert str(Markup.escape(said)) in shown
        assert "First said" not in shown

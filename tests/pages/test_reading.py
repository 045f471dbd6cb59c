"""What makes reading pleasant: Markdown, previews, quotes, search, orders, what is new, and who served it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from forum.pages.markdown import markdown, plain
from tests.pages.browser import Browser
from tests.pages.conftest import Site, registered
from tests.pages.test_away import expire
from tests.pages.test_pages import new_topic
from tests.servers import wait_for

SOURCE = """# Title\n\n**bold** *it* ~~no~~ `x < y` https://example.org/a?b=c\n
> said\n\n- one\n- two\n\n```\n<b>\n```\n\n|a|b|\n|-|-|\n|1|2|"""


def test_markdown_is_shown_as_such_before_and_after_it_is_posted(member: Browser) -> None:
    asked = member.submit(member.get("/topics/new"), "Preview", title="Marks", body=SOURCE)
    assert asked.form("Open topic").fields["title"] == "Marks"
    posted = member.submit(asked, "Open topic")
    for page in (asked, posted):
        for shown in (
            "<h2>Title</h2>", "<strong>bold</strong>", "<em>it</em>", "<s>no</s>", "<code>x &lt; y</code>",
            'href="https://example.org/a?b=c" rel="nofollow ugc noopener noreferrer"', "<blockquote>\n<p>said</p>",
            "<li>two</li>", "<code>&lt;b&gt;\n</code>", "<td>1</td>",
        ):  # fmt: skip
            assert shown in page.source, shown
    asked = member.submit(member.get(posted.url), "Preview", body="A *reply*")
    assert "<em>reply</em>" in asked.source
    assert "A *reply*" not in member.get(posted.url).source
    asked = member.submit(member.click(posted, "Edit"), "Preview", body="*Changed*")
    assert "<em>Changed</em>" in asked.source
    assert "<em>Changed</em>" in member.submit(asked, "Save").source


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))",
        "[x](<java\nscript:alert(1)>)", "[x](data:text/html;base64,PHNjcmlwdD4=)", "![x](javascript:alert(1))",
        '![x" onerror="alert(1)](http://x/"onerror="alert(1))', '[x](http://x "\\" onclick=\\"alert(1)")',
        "<javascript:alert(1)>", "<a href='javascript:alert(1)'>x</a>", "<svg/onload=alert(1)>", "<!-- x --><style>*{}",
        "[x]: javascript:alert(1)\n[x]", "```<script>\nalert(1)\n```", "&#60;script&#62;alert(1)&#60;/script&#62;",
    ],
)  # fmt: skip
def test_no_markdown_becomes_a_script(evil: str) -> None:
    tags = re.findall(r"<[^>]*>", markdown(evil))
    assert all(re.fullmatch(r'</?(p|br|pre|code|a( href="http[^"]*" rel="[a-z ]*")?)>', tag) for tag in tags), tags


def test_marks_and_line_ends_are_no_words() -> None:
    assert plain("# One **t**wo\nthree\n\n- `four`\n\n```\nfive\n```") == "One two three four five"


def test_a_reply_quotes_a_message_of_another_page(web: Site) -> None:
    member = registered(web)
    first = new_topic(member, body="The **first** of many")
    for number in range(20):
        page = member.submit(member.get(first.url), "Post message", body=f"number {number}")
    page = member.submit(member.click(first, "Reply"), "Post message", body="To the first")
    assert "number 0" not in page.text
    assert "The first of many" in page.text
    assert "The <strong>" not in page.source  # a quote is words
    back = member.get(re.findall(r'<blockquote class="quote"><a href="([^"]*)"', page.source)[-1].replace("&amp;", "&"))
    assert "number 0" in back.text


def test_search_finds_messages_and_titles(member: Browser, guest: Browser) -> None:
    new_topic(member, "Growing quinces", "Where do **quinces** grow <best>?")
    page = guest.get("/search?q=quince")
    assert "<mark>quinces</mark> grow &lt;best&gt;?" in page.source
    topic = guest.click(page, "Growing quinces")
    assert "Where do quinces grow" in topic.text
    assert "Growing quinces" in guest.click(page, "Titles").text
    assert "No message has these words." in guest.get("/search?q=quince+-grow+zyzzyva").text
    for nothing in ("/search", "/search?q=", "/search?q=%20&in=topics"):
        assert "Type some words" in guest.get(nothing).text
    assert guest.get(f"/search?q={'x' * 300}").status == 200
    assert guest.get("/search?q=x&cursor=x").status == 422


def test_search_goes_on_while_titles_are_away(web: Site) -> None:
    somebody = registered(web)
    new_topic(somebody, "Hidden title", "A medlar")
    web.gateway.away = {"/api/topics"}
    page = somebody.get("/search?q=medlar")
    assert (page.status, "A medlar" in page.text, "Hidden title" in page.text) == (200, True, False)
    web.gateway.away = {"/api/messages"}
    page = somebody.get("/search?q=medlar")
    assert (page.status, "What was found cannot be shown right now." in page.text) == (503, True)


def test_a_moderator_pins_and_removes(moderator: Browser, member: Browser) -> None:
    page = new_topic(member, "Rules of the house", "Be kind")
    new_topic(member, "The newest")
    assert not member.get(page.url).has_button("Pin")
    pinned = moderator.submit(moderator.get(page.url), "Pin")
    try:
        assert re.findall(r"<h2><a[^>]*>([^<]*)", member.get("/").source)[0] == "Rules of the house"
    finally:
        moderator.submit(pinned, "Unpin")
    assert "Be kind" not in moderator.submit(moderator.click(pinned, "Remove"), "Remove message").text
    assert "The topic is deleted." in moderator.submit(moderator.click(pinned, "Remove topic"), "Remove topic").text
    assert member.get(page.url).status == 404


def test_the_most_viewed_topic_is_first_in_its_order(member: Browser, guest: Browser) -> None:
    page = new_topic(member, "Everybody looks at this")
    most = max(
        [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) views?", guest.get("/?sort=views").text)]
    )
    for _ in range(most + 2):
        guest.get(page.url)

    def first() -> str:
        listed = guest.click(guest.get("/"), "Most viewed")
        return str(re.findall(r"<h2><a[^>]*>([^<]*)", listed.source)[0])

    wait_for(lambda: first() == "Everybody looks at this", "the views")


def test_views_that_cannot_be_compared_keep_nobody_from_the_other_orders(web: Site) -> None:
    somebody = registered(web)
    web.gateway.away = {"/api/topics?sort=views"}
    for _ in range(10):
        page = somebody.get("/?sort=views")
        assert (page.status, "The most viewed topics cannot be shown right now." in page.text) == (503, True)
    assert somebody.get("/").status == 200


def test_what_is_new_is_marked_until_it_is_read(site: Site, member: Browser) -> None:
    somebody = registered(site)
    page = new_topic(member, "Marked", "One")
    ours = urlsplit(page.url).path

    def marks(browser: Browser) -> tuple[bool, bool]:
        entry = re.search(
            rf'<li( class="unread")?>(?:(?!<li).)*"{ours}"(?:(?!<li).)*?</li>',
            browser.get("/?sort=newest").source,
            re.S,
        )
        assert entry
        return bool(entry[1]), "new posts" in entry[0]

    assert (marks(member), marks(somebody), marks(Browser(site.url))) == ((False, False), (True, False), (False, False))
    assert "New since" not in somebody.get(page.url).text
    assert marks(somebody) == (False, False)
    member.submit(page, "Post message", body="Two")
    # The topic hears of it by an event.
    wait_for(lambda: marks(somebody) == (True, True), "the event")
    there = somebody.get(somebody.get("/?sort=newest").link("new posts"))
    assert re.search(r"One.*New since you were here.*Two", there.text)
    assert marks(somebody) == (False, False)
    assert "New since" not in somebody.get(page.url).text


def test_everything_can_be_marked_as_read_as_far_as_it_was_shown(site: Site, member: Browser) -> None:
    somebody = registered(site)
    page = new_topic(member, "Before", "One")
    shown = somebody.get("/?sort=newest")
    new_topic(member, "Since", "One")
    after = somebody.submit(shown, "Mark all as read")
    assert "All topics are marked as read." in after.text

    def unread() -> list[str]:
        rows = re.findall(r'<li( class="unread")?>.*?<h2><a[^>]*>([^<]*)', somebody.get("/?sort=newest").source, re.S)
        return [title for marked, title in rows if marked]

    assert unread() == ["Since"]
    member.submit(page, "Post message", body="Two")
    wait_for(lambda: unread() == ["Since", "Before"], "the event")
    assert "Two" in somebody.get(somebody.get("/?sort=newest").link("new posts")).text
    somebody.submit(somebody.get("/"), "Mark all as read")
    assert unread() == []
    assert not somebody.get("/").has_button("Mark all as read")
    assert not Browser(site.url).get("/").has_button("Mark all as read")
    assert somebody.submit(shown, "Mark all as read", until="soon").status == 422


def test_reading_goes_on_while_users_are_away_and_the_token_has_run_out(web: Site) -> None:
    somebody = registered(web)
    page = new_topic(somebody, "Still readable", "Indeed")
    expire(somebody)
    web.gateway.away = {"/api/users", "/api/sessions"}
    assert "Indeed" in somebody.get(page.url).text
    assert somebody.get("/").status == 200


def test_the_strip_is_shown_to_who_wants_it_and_follows(web: Site) -> None:
    guest = Browser(web.url)
    guest.http.cookies.clear()
    page = guest.get("/")
    assert "monolith/v1@" not in page.source
    page = guest.submit(page, "Who served this page?")
    assert page.served["topics"].startswith("monolith/v1@")
    assert re.search(r'<span class="by" data-part="topics" data-site="monolith">', page.source)
    now = guest.http.get(f"{web.url}/served", timeout=30).json()
    assert (set(now), now["topics"]) == ({"pages", "users", "topics", "messages"}, page.served["topics"])
    web.gateway.away = {"/api/messages"}
    assert guest.http.get(f"{web.url}/served", timeout=30).json()["messages"] == ""
    assert "monolith/v1@" not in guest.submit(page, "Hide who served this").source

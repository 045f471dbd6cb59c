"""What a visitor can do, in the monolith's pages and in those of services/web alike."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from tests.contract.client import PASSWORD, new_name
from tests.pages.browser import Browser, Page
from tests.pages.conftest import Site, registered


def new_topic(browser: Browser, title: str = "A topic", body: str = "The first message.") -> Page:
    page = browser.submit(browser.get("/topics/new"), "Open topic", title=title, body=body)
    assert (page.status, "/topics/" in page.url) == (200, True), page.text
    return page


def test_a_visitor_registers_writes_edits_replies_deletes_and_leaves(site: Site) -> None:
    somebody = registered(site)
    page = new_topic(somebody, "Which way is up?", "First line\nsecond line\n\nA new paragraph")
    assert "Which way is up?" in somebody.get("/?sort=newest").text
    assert page.source.count("<p>First line<br>\nsecond line</p>") == 1
    assert "<p>A new paragraph</p>" in page.source

    page = somebody.submit(somebody.click(page, "Edit"), "Save", body="Changed my mind")
    assert "Changed my mind" in page.text
    assert "edited" in page.text
    assert "First line" not in page.text

    page = somebody.submit(somebody.click(page, "Reply"), "Post message", body="I answer myself")
    assert re.search(r"<blockquote.*Changed my mind", page.source)
    assert "I answer myself" in page.text

    page = somebody.submit(somebody.click(page, "Delete"), "Delete message")
    assert "The message is deleted." in page.text
    assert "I answer myself" not in page.text

    page = somebody.submit(page, "Log out")
    assert "You are logged out." in page.text
    assert "Log in" in page.text
    assert not somebody.http.cookies.get("forum_access")


def test_logging_in_leads_back_to_where_one_was_and_nowhere_else(guest: Browser, site: Site) -> None:
    page = guest.get("/topics/new")
    assert urlsplit(page.url).path == "/login"
    wrong = guest.submit(page, "Log in", username=site.forum.moderator[0], password="not the password")
    assert wrong.status == 401
    assert "Wrong username or password." in wrong.text
    assert PASSWORD not in wrong.source
    page = guest.submit(wrong, "Log in", username=site.forum.moderator[0], password=site.forum.moderator[1])
    assert urlsplit(page.url).path == "/topics/new"


@pytest.mark.parametrize(
    "trap", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "/\t/evil.example"]
)
def test_a_link_to_the_log_in_cannot_send_anybody_elsewhere(guest: Browser, site: Site, trap: str) -> None:
    answer = log_in_by_hand(guest, site, next=trap)
    assert urljoin(site.url, answer.headers["Location"]) == f"{site.url}/"


def test_tokens_are_out_of_reach_of_scripts_and_other_sites(guest: Browser, site: Site) -> None:
    answer = log_in_by_hand(guest, site)
    cookies = [line for line in answer.raw.headers.getlist("Set-Cookie") if line.startswith("forum_")]
    assert {line.split("=")[0] for line in cookies} >= {"forum_access", "forum_refresh"}
    for cookie in cookies:
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie


def log_in_by_hand(browser: Browser, site: Site, **typed: str) -> requests.Response:
    """The answer to the log-in form itself, before it is followed."""
    name, password = site.forum.moderator
    form = browser.get("/login").form("Log in")
    fields = {**form.fields, "username": name, "password": password, **typed}
    answer = browser.http.post(form.action, data=fields, allow_redirects=False, timeout=30)
    assert answer.status_code == 303, answer.text
    return answer


def test_a_form_from_another_site_is_refused(member: Browser) -> None:
    page = new_topic(member)
    for token in ("", "forged"):
        form = page.form("Post message")
        answer = member.http.post(
            form.action, data={**form.fields, "csrf_token": token, "body": "Not from me"}, timeout=30
        )
        assert answer.status_code == 400
        assert "no longer good" in answer.text
    assert "Not from me" not in member.get(page.url).text


def test_what_people_write_is_shown_as_text(member: Browser) -> None:
    evil = "<script>alert(1)</script><b>bold</b> & \"quoted\" 'single' {{ 7 * 7 }}"
    page = new_topic(member, evil, evil)
    profile = member.submit(member.get("/settings"), "Save", display_name=evil, bio=evil)
    for shown in (profile, member.get(page.url), member.get("/?sort=newest")):
        assert evil in shown.text
        assert "b" not in shown.tags
        assert re.findall(r"<script[^>]*>", shown.source) == re.findall(r'<script src="/assets/[^>]*>', shown.source)
        assert " style=" not in shown.source
        policy = shown.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    assert member.click(page, "Edit").form("Save").fields["body"] == evil


def test_a_form_that_is_sent_twice_is_done_once(member: Browser) -> None:
    page = member.get("/topics/new")
    first = member.submit(page, "Open topic", title="Only once", body="Only once, too")
    second = member.submit(page, "Open topic", title="Only once", body="Only once, too")
    assert second.url == first.url
    assert second.source.count("<p>Only once, too</p>") == 1


def test_what_is_missing_or_taken_is_said_at_its_field_and_the_rest_is_kept(guest: Browser, site: Site) -> None:
    page = guest.get("/register")
    name = site.forum.moderator[0]
    page = guest.submit(page, "Register", username=name, email="not an address", password="short")
    assert page.status == 422
    assert "Must be an e-mail address." in page.text
    assert "At least 10 characters." in page.text
    assert "short" not in page.form("Register").fields.values()
    assert page.form("Register").fields["username"] == name
    page = guest.submit(page, "Register", email=f"{new_name()}@example.org", password=PASSWORD)
    assert page.status == 409
    assert "This username is taken." in page.text


def test_a_moderator_locks_a_topic_and_then_nobody_writes(moderator: Browser, member: Browser) -> None:
    mine = new_topic(member)
    open_form = member.get(mine.url)
    assert not open_form.has_button("Lock")
    page = moderator.submit(moderator.get(mine.url), "Lock")
    assert page.has_button("Unlock")
    assert not member.get(mine.url).has_button("Post message")
    refused = member.submit(open_form, "Post message", body="Too late, but not lost")
    assert refused.status == 409
    assert "This topic is locked." in refused.text
    assert refused.form("Post message").fields["body"] == "Too late, but not lost"
    moderator.submit(page, "Unlock")
    assert "Too late, but not lost" in member.submit(refused, "Post message").text


def test_others_may_not_edit_or_delete(site: Site, member: Browser) -> None:
    page = new_topic(member, body="Mine alone")
    somebody = registered(site)
    assert not any(text in ("Edit", "Delete") for text, _ in somebody.get(page.url).links)
    refused = somebody.submit(somebody.get(page.link("Edit")), "Save", body="Not yours")
    assert refused.status == 403
    refused = somebody.submit(somebody.get(page.link("Delete")), "Remove message")
    assert refused.status == 403
    assert "Mine alone" in somebody.get(page.url).text


def test_a_long_topic_comes_in_pages_and_a_new_post_is_in_sight(member: Browser) -> None:
    page = first_page = new_topic(member, body="number 1")
    for number in range(2, 24):
        page = member.submit(member.get(page.url), "Post message", body=f"number {number}")
        assert f"<p>number {number}</p>" in page.source
    first_page = member.get(first_page.url)
    assert "<p>number 20</p>" in first_page.source
    assert "<p>number 21</p>" not in first_page.source
    second_page = member.click(first_page, "Next messages")
    assert re.findall(r"<p>number (\d+)</p>", second_page.source) == ["21", "22", "23"]
    latest = member.click(first_page, "Latest messages")
    assert re.findall(r"<p>number (\d+)</p>", latest.source) == [str(number) for number in range(4, 24)]
    assert re.findall(r"<p>number (\d+)</p>", member.click(latest, "From the beginning").source)[0] == "1"
    # Posted from a page that is full, so it is not there: the reader is taken to it.
    there = member.submit(first_page, "Post message", body="from afar")
    assert re.findall(r"<p>(number \d+|from afar)</p>", there.source) == ["from afar"]
    # Posted from the last page: it is added there.
    last = member.submit(second_page, "Post message", body="at the end")
    assert re.findall(r"<p>(number \d+|from afar|at the end)</p>", last.source)[-2:] == ["from afar", "at the end"]
    last = member.submit(latest, "Post message", body="latest of all")
    assert re.findall(r"<p>(number 6|at the end|latest of all)</p>", last.source) == ["at the end", "latest of all"]


def test_e_mail_and_password_are_changed_with_the_current_password(site: Site, member: Browser) -> None:
    settings = member.get("/settings")
    name = member.get("/settings/email").form("Change address").fields["email"].partition("@")[0]
    page = member.click(settings, "Change your e-mail address")
    refused = member.submit(page, "Change address", email=f"new-{name}@example.org", current_password="not this one")
    assert refused.status == 403
    assert "This is not the current password." in refused.text
    assert refused.form("Change address").fields["current_password"] == ""
    done = member.submit(refused, "Change address", current_password=PASSWORD)
    assert "Your e-mail address is changed." in done.text
    assert member.get("/settings/email").form("Change address").fields["email"] == f"new-{name}@example.org"
    other = Browser(site.url)
    other.log_in(name, PASSWORD)
    page = member.click(done, "Change your password")
    assert "At least 10 characters." in member.submit(page, "Change password", password="x", current_password="y").text
    done = member.submit(page, "Change password", password="a better horse", current_password=PASSWORD)
    assert "Your password is changed." in done.text
    assert member.get("/settings").has_button("Save")
    assert Browser(site.url).log_in(name, "a better horse").has_button("Log out")
    other.http.cookies.pop("forum_access")  # as if it had run out
    assert other.get("/settings").has_button("Log in")


def test_too_many_wrong_passwords_are_said_in_the_log_in_form(site: Site) -> None:
    guest, name = Browser(site.url), new_name()
    page = guest.get("/login")
    for _ in range(10):
        page = guest.submit(page, "Log in", username=name, password="wrong")
        assert page.status == 401
    page = guest.submit(page, "Log in", username=name, password="wrong")
    assert page.status == 429
    assert "Try again in" in page.text
    assert int(page.headers["Retry-After"]) > 0
    assert page.form("Log in").fields["username"] == name


def test_a_deleted_account_leaves_its_posts_behind(site: Site, member: Browser) -> None:
    page = new_topic(member, "Left behind", "Still here")
    asked = member.click(member.get("/settings"), "Delete your account")
    refused = member.submit(asked, "Delete account", password="not the password")
    assert (refused.status, "This is not your password." in refused.text) == (403, True)
    left = member.submit(refused, "Delete account", password=PASSWORD)
    assert "Your account is deleted." in left.text
    assert "Still here" in Browser(site.url).get(page.url).text


@pytest.mark.parametrize(
    "path", ["/nope", "/topics/999999999", "/topics/99999999999999999999", "/users/999999999", "/topics/0"]
)
def test_what_is_not_there_is_a_page_that_says_so(guest: Browser, path: str) -> None:
    page = guest.get(path)
    assert page.status == 404
    assert "To the topics" in page.text


@pytest.mark.parametrize(
    "query", ["cursor=nonsense", "from=-1", "from=99999999999999999999", "from=x", "reply_to=x&from=0"]
)
def test_a_damaged_address_is_never_a_500(member: Browser, query: str) -> None:
    topic = urlsplit(new_topic(member).url).path
    assert member.get(f"{topic}?{query}").status in (200, 422)
    assert member.get(f"/?{query}").status in (200, 422)


def test_the_longest_text_in_any_script_fits(member: Browser) -> None:
    body = "長" * 20_000
    assert (body in new_topic(member, "長" * 200, body).source) is True


def test_every_page_says_who_served_each_part(site: Site, member: Browser) -> None:
    served = new_topic(member).served
    assert served["pages"].startswith(f"{site.name}/v1@")
    assert served["topics"].startswith("monolith/v1@")
    assert served["messages"].startswith("monolith/v1@")

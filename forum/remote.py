"""What an application asks of modules that live elsewhere: a deadline, few repeats, and no call to who does not answer.

app.extensions["forum.remote"] = Remote(settings.forum_api_url, redis)
...
names = elsewhere().authors(topic.author_id for topic in topics)
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from typing import Any

import pybreaker
import requests
import tenacity
from redis import Redis, RedisError

from forum import authors
from forum.application import database, part
from forum.problems import MIMETYPE, unavailable
from forum.schemas import MAX_IDS, Author
from strangler.measured import MeasuredAdapter

CONNECT_SECONDS = 1.0
NAMES_SECONDS, TOPIC_SECONDS = 4.0, 10.0
"""For a call with its repeats: a page does without names, but nobody can write in a topic that is not known."""
READ_PART = 0.75
"""Of that time, at most, one of them waits for its answer."""
ATTEMPTS = 3
FAILURES = 5
"""Calls that fail one after another before no more are made for `RESET_SECONDS`."""
RESET_SECONDS = 2.0
CACHE_SECONDS = int(authors.SECONDS)

log = logging.getLogger(__name__)


class _NoAnswerError(Exception):
    """The call failed, repeats included."""


def _may_pass(error: BaseException) -> bool:
    """Whether a call that failed so is worth repeating: not when it was refused (4xx).

    But a 404 that no application of ours answered is a gateway's that has no route just now.
    """
    if isinstance(error, requests.HTTPError):
        return error.response.status_code >= 500 or error.response.status_code == 404
    return isinstance(error, requests.RequestException)


def _author_key(user_id: int) -> str:
    return f"forum:author:{user_id}"


def forget_authors(redis: Redis, user_ids: Iterable[int]) -> None:
    """Drop cached names (a user was changed or deleted). Raises RedisError."""
    keys = [_author_key(user_id) for user_id in user_ids]
    if keys:
        redis.delete(*keys)


class Remote:
    """The other modules, at `api_url` (the gateway). One for each application; used by all its threads."""

    def __init__(self, api_url: str, redis: Redis, *, names_seconds: float = NAMES_SECONDS) -> None:
        self._url = api_url
        self._redis = redis
        self._names_seconds = names_seconds
        self._http = requests.Session()
        self._http.trust_env = False  # a proxy for the outside is none for us
        self._http.mount(api_url, MeasuredAdapter(pool_maxsize=32))
        self._breakers = {
            module: pybreaker.CircuitBreaker(fail_max=FAILURES, reset_timeout=RESET_SECONDS, name=module)
            for module in ("users", "topics")
        }

    def authors(self, user_ids: Iterable[int | None]) -> dict[int, Author | None]:
        """Who the users are, by one call for all that the cache does not know.

        None: there is no such user. With users away: an Author without a name.
        """
        wanted = sorted({user_id for user_id in user_ids if user_id is not None})
        known: dict[int, Author | None] = dict(self._cached(wanted))
        missing = [user_id for user_id in wanted if user_id not in known]
        if not missing:
            return known
        if len(missing) > MAX_IDS:
            raise ValueError(f"asked for {len(missing)} authors; a page has at most {MAX_IDS}")
        try:
            answer = self._get("users", "/api/users", {"ids": ",".join(map(str, missing))}, self._names_seconds)
            found = {int(item["id"]): Author.model_validate(item) for item in (answer or {})["items"]}
        except (_NoAnswerError, KeyError, TypeError, ValueError) as error:
            log.warning("names of authors cannot be had: %r", error)
            return known | {user_id: Author(id=user_id) for user_id in missing}
        self._cache(found.values())
        return known | {user_id: found.get(user_id) for user_id in missing}

    def topic(self, topic_id: int) -> dict[str, Any] | None:
        """The topic as its owner answers it now; None when there is none. Raises Problem (503) when nobody answers."""
        try:
            return self._get("topics", f"/api/topics/{topic_id}", {"peek": "1"}, TOPIC_SECONDS)
        except _NoAnswerError as error:
            log.warning("topic %d cannot be looked up: %s", topic_id, error)
            raise unavailable("The topic cannot be looked up right now.") from None

    # --- the cache --------------------------------------------------------------------------------------------------

    def _cached(self, user_ids: list[int]) -> dict[int, Author]:
        try:
            entries = self._redis.mget([_author_key(user_id) for user_id in user_ids]) if user_ids else []
        except RedisError:
            return {}
        return {
            user_id: Author.model_validate_json(entry)
            for user_id, entry in zip(user_ids, entries, strict=True)
            if entry is not None
        }

    def _cache(self, found: Iterable[Author]) -> None:
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for author in found:
                    pipeline.set(_author_key(author.id), json.dumps(author.model_dump()), ex=CACHE_SECONDS)
                pipeline.execute()
        except RedisError:
            return

    # --- HTTP -------------------------------------------------------------------------------------------------------

    def _get(self, module: str, path: str, parameters: dict[str, str], seconds: float) -> dict[str, Any] | None:
        """The JSON object at `path`; None for 404. Raises _NoAnswerError, after `seconds` at the latest."""
        until = time.monotonic() + seconds
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_before_delay(seconds),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=0.5),
            reraise=True,
        )
        try:
            # Not breaker.call(): it holds the breaker's lock until the call is over, so one call at a time.
            with self._breakers[module].calling():
                return attempts(self._attempt, path, parameters, until, READ_PART * seconds)
        except (pybreaker.CircuitBreakerError, requests.RequestException) as error:
            raise _NoAnswerError(f"no answer from {module}: {error}") from error

    def _attempt(self, path: str, parameters: dict[str, str], until: float, longest: float) -> dict[str, Any] | None:
        left = max(until - time.monotonic(), 0.05)
        timeout = min(CONNECT_SECONDS, left), min(longest, left)
        with self._http.get(self._url + path, params=parameters, timeout=timeout) as answer:
            if answer.status_code == 404 and answer.headers.get("Content-Type", "").startswith(MIMETYPE):
                return None
            answer.raise_for_status()
            document = answer.json()
        if not isinstance(document, dict):
            raise requests.exceptions.InvalidJSONError(f"{path} answered no JSON object")
        return document


def elsewhere() -> Remote:
    """The request's way to the other modules. Ask before anything is written, for this ends the transaction.

    Nothing may be held while another module takes its time: a switch waits for every transaction that has written.
    """
    database().let_go()
    return part(Remote)

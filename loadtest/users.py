"""The load's people, as Locust users: who does what, and how often. Mostly they read; three requests in ten write.

Sessions with Argon2 behind them (registering, logging in) are rare, as in life: one of them costs the server as much as
a hundred reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from locust import FastHttpUser, task
from locust.exception import StopUser

from loadtest.invent import dice
from loadtest.plan import SEED_USERNAME, Plan
from loadtest.scene import Scene
from loadtest.trespass import post_where_nothing_is, register_a_taken_name, rewrite_another, say_too_much
from loadtest.visitor import Visitor
from loadtest.wire import PlainPool, Wire


class Person(FastHttpUser):  # type: ignore[misc,unused-ignore]
    """Anyone with an account. `scene` and `network_timeout` are set before the load starts."""

    abstract = True
    host = "http://127.0.0.1"  # every request says its whole address
    scene: Scene
    network_timeout = Plan.patience
    connection_timeout = 5.0
    max_redirects = 0
    max_retries = 0

    def __init__(self, environment: Any) -> None:
        pool = PlainPool(
            concurrency=1, network_timeout=self.network_timeout, connection_timeout=self.connection_timeout
        )
        self.client_pool = pool
        super().__init__(environment)
        self.wire = Wire(self.client, pool, self.scene.addresses, self.scene.live, self.scene.pace)
        self.wire.visitor, self.wire.always = self.scene.admit()
        self.me = Visitor(self.scene, self.wire)

    def wait_time(self) -> float:
        """None: the pace is kept per request, for all together. But this is where a user leaves when the load is over:
        between two tasks, so that no write is cut off half-way.
        """
        self._rest(0.0)
        return 0.0

    def _rest(self, seconds: float) -> None:
        if not self.scene.over:
            gevent.sleep(seconds)
        if self.scene.over:
            raise StopUser

    def on_start(self) -> None:
        self._enter()
        self.me.list_topics()

    def _enter(self) -> None:
        while not self.me.ready():
            self._rest(1.0)  # every try of it has been counted as a failure

    def on_stop(self) -> None:
        self.wire.close()

    # --- reading ---

    @task(70)
    def browse(self) -> None:
        topics = self.me.list_topics(dice.choice(("activity", "activity", "newest")))
        if topics:
            topic = dice.choice(topics)["id"]
            self.me.look("topic", topic)
            self.me.list_messages(topic, pages=dice.choice((1, 1, 2)))

    @task(60)
    def come_back(self) -> None:
        """Look again at what one wrote, and at what others did: nothing may be older than it was."""
        self._enter()
        look: list[Callable[[], object]] = [self.me.look_at_myself]
        if self.me.messages:
            look.append(lambda: self.me.look("message", dice.choice(self.me.messages)[1]))
        if self.me.topics:
            look.append(lambda: self.me.look("topic", dice.choice(self.me.topics)))
        if posted := self.scene.some_message():
            look.append(lambda: self.me.look("message", posted.message))
        if topic := self.scene.some_topic():
            look.append(lambda: self.me.look("topic", topic))
        if self.scene.users:
            look.append(lambda: self.me.look("user", dice.choice(self.scene.users)))
        for one in dice.sample(look, k=min(2, len(look))):
            one()

    # --- writing ---

    @task(60)
    def post(self) -> None:
        self._enter()
        topic = self.scene.some_topic() or self.me.create_topic()
        if topic and (message := self.me.post(topic)):
            self._read_back(topic, message)

    @task(40)
    def reply(self) -> None:
        self._enter()
        topic = self.scene.some_topic()
        if topic and (messages := self.me.list_messages(topic)):
            other = dice.choice(messages)["id"]
            if message := self.me.post(topic, reply_to=other):
                self._read_back(topic, message)

    def _read_back(self, topic: int, message: int) -> None:
        if topic not in self.scene.old_topics and dice.random() < 0.4:
            self.me.list_messages(topic, pages=2, limit=100, at_once=True)
        else:
            self.me.look("message", message, at_once=True)

    @task(25)
    def open_topic(self) -> None:
        self._enter()
        if topic := self.me.create_topic():
            if dice.random() < 0.5:
                self.me.list_topics("newest", at_once=True)
            self.me.look("topic", topic, at_once=True)
            if message := self.me.post(topic):
                self._read_back(topic, message)

    @task(30)
    def edit_message(self) -> None:
        self._enter()
        if mine := self._mine():
            self.me.edit_message(*mine)
            self.me.look("message", mine[1], at_once=True)

    @task(15)
    def delete_message(self) -> None:
        self._enter()
        if mine := self._mine():
            self.me.delete_message(*mine)
            self.me.look("message", mine[1], at_once=True)

    def _mine(self) -> tuple[int, int] | None:
        alive = [pair for pair in self.me.messages if self.scene.memory.alive("message", pair[1])]
        return dice.choice(alive) if alive else None

    @task(10)
    def edit_topic(self) -> None:
        self._enter()
        if mine := [topic for topic in self.me.topics if self.scene.memory.alive("topic", topic)]:
            topic = dice.choice(mine)
            self.me.edit_topic(topic)
            self.me.look("topic", topic, at_once=True)

    @task(5)
    def delete_topic(self) -> None:
        self._enter()
        if mine := [topic for topic in self.me.topics if self.scene.memory.alive("topic", topic)]:
            topic = dice.choice(mine)
            self.me.delete_topic(topic)
            self.me.look("topic", topic, at_once=True)

    @task(10)
    def trespass(self) -> None:
        """Try what must be refused; and what was refused must never be seen."""
        self._enter()
        dice.choice((rewrite_another, post_where_nothing_is, say_too_much))(self.me)

    @task(5)
    def renew(self) -> None:
        self._enter()
        if self.me.refresh():
            self.me.look_at_myself(at_once=True)


class Member(Person):
    """Someone who came during the load."""

    @task(10)
    def edit_profile(self) -> None:
        self._enter()
        if self.me.account:
            self.me.edit_profile()
            self.me.look("user", self.me.account.id, at_once=True)

    @task(2)
    def log_in_again(self) -> None:
        self._enter()
        if account := self.me.account:
            self.me.log_out()
            self.me.log_in(account.username, account.password)
            self.me.look_at_myself()

    @task(1)
    def start_anew(self) -> None:
        """Leave for good, and come back as someone else; what one said stays, without a name."""
        self._enter()
        if account := self.me.account:
            self.me.delete_account()
            self.me.look("user", account.id, at_once=True)
        self._enter()

    @task(1)
    def take_a_name(self) -> None:
        register_a_taken_name(self.me)


class Regular(Person):
    """Someone who was there before the load: the seeded account, which several people share."""

    def on_start(self) -> None:
        if self.scene.seed_password is None:
            raise StopUser
        while not self.me.log_in(SEED_USERNAME, self.scene.seed_password):
            self._rest(1.0)
        self.me.list_topics()
        self.me.look_at_myself()

    @task(60)
    def read_the_old(self) -> None:
        if self.scene.old_topics:
            topic = dice.choice(self.scene.old_topics)
            self.me.look("topic", topic)
            self.me.list_messages(topic, pages=dice.choice((1, 2, 3)))

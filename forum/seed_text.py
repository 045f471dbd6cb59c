"""The words of the seeded forum: people, titles and posts, from the same random source in the same order.

A topic has one subject and one thing ("rear derailleur"), and its posts keep to both, so a thread reads as one.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random

ACCENTS = str.maketrans("şıëóćłğöüéñ", "sieoclgouen")


@dataclass(frozen=True)
class Subject:
    name: str
    things: list[str]
    symptoms: list[str]
    fixes: list[str]
    tips: list[str]
    threads: list[str]


@dataclass(frozen=True)
class Thread:
    """What one topic is about."""

    subject: Subject
    thing: str
    symptom: str
    problem: bool
    title: str


@dataclass(frozen=True)
class Words:
    """seed_words.toml says what each list is for."""

    subjects: list[Subject]
    first: list[str]
    last: list[str]
    adjectives: list[str]
    nouns: list[str]
    places: list[str]
    bio: list[str]
    titles_problem: list[str]
    titles_talk: list[str]
    open_problem: list[str]
    open_talk: list[str]
    tried: list[str]
    ask: list[str]
    your_turn: list[str]
    answer: list[str]
    chat: list[str]
    talk: list[str]
    short: list[str]
    to_someone: list[str]
    by_opener: list[str]
    by_host: list[str]


@cache
def words() -> Words:
    found = tomllib.loads(files("forum").joinpath("seed_words.toml").read_text(encoding="utf-8"))
    return Words([Subject(**subject) for subject in found["subject"]], **found["people"], **found["phrases"])


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def fill(random: Random, template: str, subject: Subject, thing: str, symptom: str, name: str = "") -> str:
    """The template with its slots filled. `{other}` is another thing of the subject, never `thing` itself."""
    if "{" not in template:
        return template
    other = random.choice(subject.things)
    while other == thing:
        other = random.choice(subject.things)
    fix = random.choice(subject.fixes)
    return capital(
        template.format(
            subject=subject.name, Subject=capital(subject.name), thing=thing, Thing=capital(thing), symptom=symptom,
            other=other, fix=fix, Fix=capital(fix), tip=random.choice(subject.tips), n=random.randrange(2, 10),
            place=random.choice(words().places), name=name,
        )
    )  # fmt: skip


def person(random: Random, taken: set[str]) -> tuple[str, str, str]:
    """A username that is new to `taken` (compared without case), a display name and a bio ("" for most people)."""
    first, last = random.choice(words().first), random.choice(words().last)
    plain_first, plain_last = first.translate(ACCENTS), last.translate(ACCENTS)
    style = random.randrange(6)
    if style == 0:
        username = f"{plain_first}.{plain_last}".lower()
    elif style == 1:
        username = f"{random.choice(words().adjectives)}_{random.choice(words().nouns)}"
    elif style == 2:
        username = f"{plain_first}{random.randrange(60, 100)}".lower()
    elif style == 3:
        username = f"{random.choice(words().adjectives).title()}{random.choice(words().nouns).title()}"
    elif style == 4:
        username = f"{plain_first[0]}{plain_last}".lower()
    else:
        username = f"{random.choice(words().nouns)}-{plain_first}".lower()
    base = username
    while username.lower() in taken:
        username = f"{base}{random.randrange(2, 10_000)}"
    taken.add(username.lower())
    display = username if style in (1, 3) else first if style == 2 else f"{first} {last}"
    subject = random.choice(words().subjects)
    bio = random.choice(words().bio) if random.random() < 0.3 else ""
    return username, display, fill(random, bio, subject, random.choice(subject.things), "") if bio else ""


def thread(random: Random, big: bool) -> Thread:
    """What a new topic is about; the big ones are those that never end ("What are you running?")."""
    subject = random.choice(words().subjects)
    thing, symptom = random.choice(subject.things), random.choice(subject.symptoms)
    if big:
        return Thread(subject, thing, symptom, False, random.choice(subject.threads))
    problem = random.random() < 0.6
    title = random.choice(words().titles_problem if problem else words().titles_talk)
    return Thread(subject, thing, symptom, problem, fill(random, title, subject, thing, symptom))


def opening(random: Random, about: Thread) -> str:
    """The first post of a topic: two to four sentences, in one or two paragraphs."""
    if about.problem:
        start, middle, end = words().open_problem, random.sample(words().tried, random.randrange(1, 3)), words().ask
    else:
        start, middle, end = words().open_talk, random.sample(about.subject.tips, 2), words().your_turn
    sentences = (random.choice(start), *middle, random.choice(end))
    parts = [fill(random, part, about.subject, about.thing, about.symptom) for part in sentences]
    gap = "\n\n" if random.random() < 0.6 else " "
    return " ".join(parts[:-1]) + gap + parts[-1]


def reply(random: Random, about: Thread, by_opener: bool, to: str | None) -> str:
    """A later post. `to`: the name of the one it answers, if it answers somebody."""
    thing = about.thing if about.problem or random.random() < 0.5 else random.choice(about.subject.things)
    if by_opener and random.random() < 0.6:
        parts = [random.choice(words().by_opener if about.problem else words().by_host)]
    elif random.random() < 0.12:
        parts = [random.choice(words().short)]
    else:
        parts = [_remark(random, about)]
        while len(parts) < 5 and random.random() < 0.45:
            parts.append(_remark(random, about))
    if to and random.random() < 0.4:
        parts.insert(0, random.choice(words().to_someone))
    texts = [fill(random, part, about.subject, thing, about.symptom, to or "") for part in dict.fromkeys(parts)]
    if len(texts) > 2 and random.random() < 0.5:
        return " ".join(texts[:2]) + "\n\n" + " ".join(texts[2:])
    return " ".join(texts)


def _remark(random: Random, about: Thread) -> str:
    if not about.problem:
        return random.choice(words().talk)
    return random.choice(words().answer if random.random() < 0.45 else words().chat)

"""What the users say. Nobody checks it but by its mark; it should only look like a forum."""

from __future__ import annotations

import random

from loadtest.ledger import mark

_NAMES = ("Ada", "Ben", "Caro", "Dimi", "Elif", "Femi", "Gita", "Hugo", "Ines", "Jonas", "Kaya", "Lena", "Milo", "Nora")
_THINGS = (
    "sourdough starter", "old bicycle", "balcony garden", "film camera", "vinyl collection", "rain jacket",
    "chess opening", "kitchen knife", "night train", "allotment", "keyboard", "hiking map", "coffee grinder", "radio",
)  # fmt: skip
_TITLES = (
    "What became of your {}?",
    "Which {} would you take again?",
    "My {} after one year",
    "Repairing a {}: where to begin",
    "Looking for advice on a {}",
    "{} for beginners",
    "Show us your {}",
)
_SENTENCES = (
    "I had the same with my {} last winter.",
    "It took two weekends and one visit to the hardware shop.",
    "Don't throw the {} away before you have tried this.",
    "Somebody here recommended it years ago, and they were right.",
    "Has anyone compared it with a {}?",
    "Thanks, that is just what I was looking for.",
    "Pictures follow when it stops raining.",
    "I would not do it again, but I don't regret it.",
    "The {} is fine now; my patience is not.",
    "There is a long answer, and a short one: measure first.",
)

# Every choice of the load is made here; nothing that it decides needs to be unguessable.
dice = random.Random()  # noqa: S311


def _fill(template: str) -> str:
    text = template.format(dice.choice(_THINGS))
    return text[0].upper() + text[1:]


def first_name() -> str:
    return dice.choice(_NAMES)


def title(write: str) -> str:
    return f"{_fill(dice.choice(_TITLES))} {mark(write)}"


def body(write: str) -> str:
    count = 1 + min(8, int(dice.expovariate(0.5)))
    return f"{' '.join(_fill(dice.choice(_SENTENCES)) for _ in range(count))} {mark(write)}"


def bio(write: str) -> str:
    return f"Here for the {dice.choice(_THINGS)}. {mark(write)}"

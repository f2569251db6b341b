"""Made-up posts: a few words that are everywhere, many that are not, one that is rare."""

import random
from collections.abc import Iterator

OFTEN = (
    "delivery order parcel thanks please still waiting service customer help account support number phone website "
    "today week again never always great terrible money refund card bank train flight hotel ticket broken screen "
    "battery update login password shop store staff friendly rude queue hour minute email reply answer question "
    "problem issue solved finally love hate best worst price cheap expensive quality return box damaged missing"
)
SYLLABLES = "ba ke li mo nu ra se ti vo za bri cla dre fli gro hen jor kal lum mer nix pol qua ros sten tur vel"
WORDS_OF_A_TEXT = 20
# About every third text holds COMMON, one in 50,000 holds RARE, and none holds ABSENT.
COMMON = "delivery"
RARE = "zugzwang"
RARE_ONCE_IN = 50_000
ABSENT = "quixotry"


def texts(count: int) -> Iterator[str]:
    """The same at every run; the first words of the vocabulary far more often than the last."""
    chance = random.Random(1)
    known = vocabulary()
    pool = [known[int(len(known) * chance.random() ** 3)] for _ in range(100_000)]
    for number in range(count):
        rare = [RARE] if number % RARE_ONCE_IN == 7 else []
        yield " ".join([*chance.choices(pool, k=WORDS_OF_A_TEXT), *rare])


def vocabulary() -> list[str]:
    """From the most to the least used."""
    parts = SYLLABLES.split()
    made = [first + second + third for first in parts for second in parts[:9] for third in parts[::6]]
    return [*OFTEN.split(), *made]

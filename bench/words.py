"""Words that made-up posts consist of: a few that are everywhere, many that are not, one that is rare."""

OFTEN = (
    "delivery order parcel thanks please still waiting service customer help account support number phone website "
    "today week again never always great terrible money refund card bank train flight hotel ticket broken screen "
    "battery update login password shop store staff friendly rude queue hour minute email reply answer question "
    "problem issue solved finally love hate best worst price cheap expensive quality return box damaged missing"
)
SYLLABLES = "ba ke li mo nu ra se ti vo za bri cla dre fli gro hen jor kal lum mer nix pol qua ros sten tur vel"
# About every third text holds COMMON, some twenty of a million hold RARE, and none holds ABSENT.
COMMON = "delivery"
RARE = "zugzwang"
ABSENT = "quixotry"


def vocabulary() -> list[str]:
    """From the most to the least used."""
    parts = SYLLABLES.split()
    made = [first + second + third for first in parts for second in parts[:9] for third in parts[::6]]
    return [*OFTEN.split(), *made]

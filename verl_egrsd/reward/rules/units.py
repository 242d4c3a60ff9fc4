"""Units: what they measure, in which amount, and under which names."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction as F

_NAMES: dict[str, dict[str, str | int | float | F]] = {
    "length": {
        "m meter metre 米": 1, "km kilometer kilometre 千米 公里": 1000, "dm decimeter decimetre 分米": F(1, 10),
        "cm centimeter centimetre 厘米": F(1, 100), "mm millimeter millimetre 毫米": F(1, 1000),
        "µm um micrometer micron": F(1, 10**6), "nm nanometer": F(1, 10**9),
        "in inch inche": F(254, 10000), "ft foot feet": F(3048, 10000), "yd yard": F(9144, 10000), "mi mile": F(1609344, 1000),
    },
    "mass": {
        "kg kilogram kilo 千克 公斤": 1, "g gram gm 克": F(1, 1000), "mg milligram": F(1, 10**6), "tonne 吨": 1000,
        "lb pound": F(45359237, 10**8), "oz ounce": F(45359237, 16 * 10**8), "ton": F(45359237 * 2000, 10**8),
    },
    "time": {
        "s sec second 秒": 1, "ms millisecond": F(1, 1000), "min minute 分钟 分": 60, "h hr hour 小时": 3600,
        "day 天": 86400, "week 周": 604800,
    },
    "calendar": {"month 月 个月": 1, "yr year 年": 12, "decade": 120, "century centurie": 1200},
    "volume": {
        "l liter litre 升": F(1, 1000), "ml milliliter millilitre 毫升 cc": F(1, 10**6),
        "gal gallon": F(473176473 * 8, 10**12), "qt quart": F(473176473 * 2, 10**12), "pt pint": F(473176473, 10**12), "cup": F(473176473, 2 * 10**12),
    },
    "area": {"acre": 1, "hectare ha": F(1000000000, 404685642)},
    "dollars": {"$ dollar usd buck": 1, "¢ cent": F(1, 100)},
    "euros": {"€ euro eur": 1}, "pounds sterling": {"£ gbp": 1}, "yen": {"¥ yen": 1}, "yuan": {"yuan rmb cny 元": 1},
    "rupees": {"₹ rupee rs inr": 1},
    "angle": {"radian rad": 1, "degree deg ^\\circ 度": math.pi / 180},
    "celsius": {"^\\circc celsius": 1}, "fahrenheit": {"^\\circf fahrenheit": 1}, "kelvin": {"kelvin": 1},
    "joule": {"j joule": 1, "kj kilojoule": 1000}, "watt": {"w watt": 1, "kw kilowatt": 1000},
    "newton": {"n newton": 1}, "volt": {"v volt": 1}, "ampere": {"amp ampere": 1}, "ohm": {"ohm": 1},
    "hertz": {"hz hertz": 1}, "pascal": {"pa pascal": 1}, "mole": {"mol mole": 1}, "ev": {"ev": 1},
    "bit": {"bit": 1, "byte": 8},
    "am": {"am": 1}, "pm": {"pm": 1},
}  # fmt: skip
MULTIPLES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "万": 10**4, "亿": 10**8,
}  # fmt: skip
SPEEDS = {name: ("km", "h") for name in ("kph", "kmh", "kmph")} | {
    "mph": ("mile", "h"),
    "rpm": ("revolution", "min"),
}
ANY = {"unit", "units", "unit^2", "个", "only", "each", "total", "altogether", "approximately", "about"}
"""Words that name no unit in particular."""
MEANINGFUL = frozenset(
    [
        "or",
        "and",
        "more",
        "less",
        "least",
        "most",
        "fewer",
        "not",
        "no",
        "if",
        "when",
        "where",
        "for",
        "remainder",
        "than",
        "above",
        "below",
        "half",
        "third",
        "fourth",
        "quarter",
        "mod",
        "modulo",
        "except",
        "minus",
        "plus",
        "but",
        "with",
        "all",
        "every",
        "any",
        "undefined",
        "times",
    ]
)
"""Words that change what a number says: they are never left out."""
TABLE = {
    name: (quantity, factor)
    for quantity, units in _NAMES.items()
    for names, factor in units.items()
    for name in names.split()
}
"""Name in lower case and singular: what is measured, and how much of its first unit."""
IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot", "dice": "die", "mice": "mouse",
    "geese": "goose", "teeth": "tooth", "vertices": "vertex", "pennies": "penny", "persons": "person",
}  # fmt: skip
SHORT = frozenset(name for name in TABLE if len(name) == 1 and name.isascii() and name.isalpha())
"""Units of one letter, which outside of text may as well be variables."""


WORD = re.compile(
    r"\^\\circ\s*[CF]\b|\^\\circ|\^\s*\{?\s*-?\d\s*\}?|[^\W\d_]+(?:\.[^\W\d_]+)*|\\[$]|[$€£¥₹¢/]"
)
RAISING = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
RAISED = {"squared": 2, "cubed": 3}
SILENT = frozenset(("of", "the", "in", "a", "an"))


@dataclass(frozen=True)
class Unit:
    """A product of powers of units.

    Attributes:
        powers: exponent by what is measured; a noun that is no unit of measurement measures itself.
        factor: how much one of it is, in the first unit of each quantity.
        multiple: what a word such as "million" multiplies the number by.
    """

    powers: frozenset[tuple[str, int]]
    factor: float
    multiple: int = 1

    @property
    def is_measured(self) -> bool:
        """Whether every part is a unit of measurement, so that amounts can be added."""
        return bool(self.powers) and all(name in _NAMES for name, _ in self.powers)


def unit_of(text: str) -> Unit | None:
    r"""Return the unit that a text names in any form; None where the text says something else.

    5 km/h == 5 kilometers per hour
    5 \text{cm}^2 == 5 square centimeters
    5 \text{ sq. cm} != 5 \text{ cm}
    5 \text{ m/s} != 5 \text{ km/h}
    5 \text{ or more} != 5
    """
    factors: list[tuple[str, int]] = []
    multiple, sign, raising = 1, 1, 1
    for word in WORD.findall(text):
        name = singular(word)
        if name in MEANINGFUL:
            return None
        if name in SPEEDS:
            over, under = SPEEDS[name]
            factors += [(over, sign), (under, -sign)]
        elif name in MULTIPLES:
            multiple *= MULTIPLES[name]
        elif name in ("per", "/"):
            sign = -1
        elif name in RAISING:
            raising = RAISING[name]
        elif power := _power(name):
            factors[-1:] = [(unit, before * power) for unit, before in factors[-1:]]
        elif name not in SILENT and name not in ANY:
            factors.append((name, sign * raising))
            raising = 1
    return _product(factors, multiple)


def singular(word: str) -> str:
    """Return the one name of a unit or a noun: lower case, singular, without points.

    Inches -> inch
    people -> person
    a.m. -> am
    cherries -> cherry
    glass -> glass
    """
    word = word.lower().replace(".", "").replace("\\$", "$").replace(" ", "")
    if word in TABLE or word in IRREGULAR:
        return word if word in TABLE else IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    without = next((stem for end in ("es", "s") if (stem := word.removesuffix(end)) in TABLE), None)
    return without or (
        word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
    )


def _power(name: str) -> int | None:
    if name in RAISED:
        return RAISED[name]
    return int(re.sub(r"[^-\d]", "", name)) if name.startswith("^") and "circ" not in name else None


def _product(factors: list[tuple[str, int]], multiple: int) -> Unit:
    powers: dict[str, int] = {}
    factor = 1.0
    for name, power in factors:
        quantity, amount = TABLE.get(name, (name, 1.0))
        powers[quantity] = powers.get(quantity, 0) + power
        factor *= float(amount) ** power
    return Unit(frozenset(item for item in powers.items() if item[1]), factor, multiple)

"""Units: what they measure, in which amount, and under which names."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

INCH, POUND, PINT = 0.0254, 0.45359237, 0.000473176473
_NAMES: dict[str, dict[str, float]] = {
    "length": {
        "m meter metre 米": 1, "km kilometer kilometre 千米 公里": 1e3, "dm decimeter decimetre 分米": 1e-1,
        "cm centimeter centimetre 厘米": 1e-2, "mm millimeter millimetre 毫米": 1e-3,
        "µm um micrometer micron": 1e-6, "nm nanometer": 1e-9,
        "in inch inche": INCH, "ft foot feet": 12 * INCH, "yd yard": 36 * INCH, "mi mile": 63360 * INCH,
    },
    "mass": {
        "kg kilogram kilo 千克 公斤": 1, "g gram gm 克": 1e-3, "mg milligram": 1e-6, "tonne 吨": 1e3,
        "lb pound": POUND, "oz ounce": POUND / 16, "ton": 2000 * POUND,
    },
    "time": {
        "s sec second 秒": 1, "ms millisecond": 1e-3, "min minute 分钟 分": 60, "h hr hour 小时": 3600,
        "day 天": 86400, "week 周": 604800,
    },
    "calendar": {"month 月 个月": 1, "yr year 年": 12, "decade": 120, "century": 1200},
    "volume": {
        "l liter litre 升": 1e-3, "ml milliliter millilitre 毫升 cc": 1e-6,
        "gal gallon": 8 * PINT, "qt quart": 2 * PINT, "pt pint": PINT, "cup": PINT / 2,
    },
    "area": {"acre": 1, "hectare ha": 2.4710538146717},
    "dollars": {"$ dollar usd buck": 1, "¢ cent": 1e-2},
    "euros": {"€ euro eur": 1},
    "pounds sterling": {"£ gbp": 1},
    "yen": {"¥ yen": 1},
    "yuan": {"yuan rmb cny 元": 1},
    "rupees": {"₹ rupee rs inr": 1},
    "angle": {"radian rad": 1, "degree deg ^\\circ 度": math.pi / 180},
    "celsius": {"^\\circc celsius": 1},
    "fahrenheit": {"^\\circf fahrenheit": 1},
    "energy": {"j joule": 1, "kj kilojoule": 1e3},
    "power": {"w watt": 1, "kw kilowatt": 1e3},
    "force": {"n newton": 1},
    "voltage": {"v volt": 1},
    "current": {"amp ampere": 1},
    "frequency": {"hz hertz": 1},
    "pressure": {"pa pascal": 1},
    "substance": {"mol mole": 1},
    "data": {"bit": 1, "byte": 8},
    "am": {"am": 1},
    "pm": {"pm": 1},
}  # fmt: skip
"""For each quantity: its units under all their names, and their size in the first unit."""
MULTIPLES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "万": 10**4, "亿": 10**8,
}  # fmt: skip
SPEEDS = dict.fromkeys(("kph", "kmh", "kmph"), ("km", "h")) | {"mph": ("mile", "h")}
ANY = frozenset(["unit", "个", "only", "each", "total", "altogether", "approximately", "about"])
"""Words that are not units."""
MEANINGFUL = {
    "or", "and", "but", "with", "if", "when", "where", "for", "not", "no", "all", "every", "any", "undefined",
    "more", "less", "least", "most", "fewer", "than", "above", "below", "half", "third", "fourth",
    "remainder", "mod", "modulo", "except", "minus", "plus", "times",
}  # fmt: skip
"""Words that change the meaning of a number: they are never dropped."""
UNIT_TABLE = {
    name: (quantity, factor)
    for quantity, units in _NAMES.items()
    for names, factor in units.items()
    for name in names.split()
}
"""By name, in lower case and singular: what is measured, and the size in its first unit."""
IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "dice": "die", "mice": "mouse",
    "geese": "goose", "teeth": "tooth", "vertices": "vertex", "pennies": "penny", "centuries": "century",
}  # fmt: skip
WORD = re.compile(
    r"\^\\circ\s*[CF]\b|\^\\circ|\^\s*\{?\s*-?\d\s*\}?|[^\W\d_]+(?:\.[^\W\d_]+)*|\\[$]|[$€£¥₹¢/]"
)
RAISING = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_RAISED = {"squared": 2, "cubed": 3}
SILENT = frozenset(("of", "the", "a", "an"))


@dataclass(frozen=True)
class Unit:
    """A product of powers of units.

    Attributes:
        powers: exponent by what is measured; a noun that is no unit of measurement measures itself.
        factor: size of one such unit, in the first unit of each quantity.
        multiple: what a word such as "million" multiplies the number by.
    """

    powers: frozenset[tuple[str, int]]
    factor: float
    multiple: int = 1

    @property
    def is_measured(self) -> bool:
        """Whether every part is a unit of measurement, so that amounts can be added."""
        return bool(self.powers) and all(is_measure(name) for name, _ in self.powers)


NO_UNIT = Unit(frozenset(), 1.0)


def is_measure(name: str) -> bool:
    """Return whether a name is a quantity such as "length" and not a noun."""
    return name in _NAMES


def unit_of(text: str) -> Unit | None:
    r"""Return the unit that a text names in any form; None if the text is not a unit.

    5 km/h == 5 kilometers per hour
    5 \text{cm}^2 == 5 square centimeters
    5 \text{ sq. cm} != 5 \text{ cm}
    5 \text{ m/s} != 5 \text{ km/h}
    5 \text{ or more} != 5
    """
    factors: list[tuple[str, int]] = []
    multiple, sign, raising = 1, 1, 1
    words = WORD.findall(text)
    for position, word in enumerate(words):
        name = singular(word)
        if name in SILENT or (name == "in" and position < len(words) - 1):
            continue
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
        elif name not in ANY:
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
    if word in UNIT_TABLE or word in IRREGULAR:
        return word if word in UNIT_TABLE else IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    without = next((stem for end in ("es", "s") if (stem := word.removesuffix(end)) in UNIT_TABLE), None)
    return without or (
        word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
    )


def _power(name: str) -> int | None:
    if name in _RAISED:
        return _RAISED[name]
    return int(re.sub(r"[^-\d]", "", name)) if name.startswith("^") and "circ" not in name else None


def _product(factors: list[tuple[str, int]], multiple: int) -> Unit:
    powers: dict[str, int] = {}
    factor = 1.0
    for name, power in factors:
        quantity, amount = UNIT_TABLE.get(name, (name, 1.0))
        powers[quantity] = powers.get(quantity, 0) + power
        factor *= amount**power
    return Unit(frozenset(item for item in powers.items() if item[1]), factor, multiple)

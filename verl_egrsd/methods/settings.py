"""From `algorithm.adv_estimator` and the section `algorithm.egrsd` to a method with all its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from verl_egrsd.config import flat
from verl_egrsd.divergences.settings import DIVERGENCE_SECTION, NONE
from verl_egrsd.methods.advantages import Constant, FromVerl
from verl_egrsd.methods.distillation import Distillation
from verl_egrsd.methods.entropy_gate import EntropyGate
from verl_egrsd.methods.method import Method
from verl_egrsd.methods.part import NAMESPACE, AdvantageSource, Factor, Part
from verl_egrsd.methods.ratio import Ratio
from verl_egrsd.methods.table import advantage_sources, factors, methods

SomePart = TypeVar("SomePart", bound=Part)


def resolve(
    adv_estimator: str, given: Mapping[str, Any] | None = None, *, max_response_length: int
) -> Method:
    """Complete a method with what the user set.

    Args:
        adv_estimator: `algorithm.adv_estimator`: a method, or an estimator of verl, whose advantage is then
            multiplied by the likelihood ratio and the entropy gate.
        given: the section `algorithm.egrsd`; a null value counts as not set. In its section `divergence`,
            `none` takes away a bound or a count that the method sets.
        max_response_length: `data.max_response_length`, in tokens.

    Raises:
        ValueError: for an unknown key (lists those of the method), a value out of range, one that contradicts
            the method, or one that is not read beside the others; and for `advantage=constant` without its
            value.
    """
    values = _set_values(given or {})
    method = _composed(_named(adv_estimator), values)
    values.setdefault("max_response_length", max_response_length)
    _refuse_unknown(method, values)
    method = replace(
        method,
        reward=_with_keys(method.reward, values),
        advantage=_with_keys(method.advantage, values),
        factors=tuple(_with_keys(factor, values) for factor in method.factors),
        divergence=method.divergence and _distilled(method.divergence, values),
        policy_factors=method.policy_factors
        and tuple(_with_keys(factor, values) for factor in method.policy_factors),
    )
    _refuse_contradictions(method)
    return method


def all_keys() -> dict[str, Any]:
    """Return every key of `algorithm.egrsd` that some method has, with the value null."""
    section: dict[str, Any] = {"advantage": None, "factors": None, "policy_factors": None}
    for part in _every_part():
        keys = {field.name: None for field in fields(part)}  # type: ignore[arg-type]
        if part.section and keys:
            section.setdefault(part.section, {}).update(keys)
        else:
            section |= keys
    return section


def _every_part() -> list[Part]:
    rewards = [method.reward for method in methods().values()]
    return [*rewards, *advantage_sources().values(), *factors().values(), Distillation()]


def _named(adv_estimator: str) -> Method:
    known = methods().get(adv_estimator)
    if known is not None:
        return known
    summary = f"advantages of verl's estimator {adv_estimator}, likelihood ratio x entropy gate"
    return Method(adv_estimator, summary, (Ratio(), EntropyGate()), advantage=FromVerl())


def _set_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are set; a section without one is left out."""
    found = {key: _set_values(value) if isinstance(value, Mapping) else value for key, value in given.items()}
    return {key: value for key, value in found.items() if value is not None and value != {}}


def _composed(method: Method, values: dict[str, Any]) -> Method:
    """Return the method with the factors and the advantage that the user names, and take the names out."""
    names, source = values.pop("factors", None), values.pop("advantage", method.advantage.name)
    if names is not None:
        method = replace(method, factors=_factors(method, "factors", names))
    if (policy := values.pop("policy_factors", None)) is not None:
        method = replace(method, policy_factors=_factors(method, "policy_factors", policy))
    if source != method.advantage.name:
        method = replace(method, advantage=_source(method, source))
        _require_value(method.advantage, values)
    return method


def _factors(method: Method, key: str, names: Any) -> tuple[Factor, ...]:
    known = factors() | {factor.name: factor for factor in method.all_factors}
    if not isinstance(names, list | tuple) or len({*names}) != len(names) or not {*names} <= known.keys():
        raise ValueError(
            f"{NAMESPACE}.{key}={names!r} is not allowed: it must be a list of different factors. Known: "
            f"{', '.join(known)}."
        )
    return tuple(known[name] for name in names)


def _source(method: Method, name: Any) -> AdvantageSource:
    known = advantage_sources()
    if method.is_verls or name not in known:
        allowed = method.advantage.name if method.is_verls else f"one of {', '.join(known)}"
        raise ValueError(
            f"{NAMESPACE}.advantage={name!r} is not allowed with algorithm.adv_estimator={method.name}: it "
            f"must be {allowed}."
        )
    return known[name]


def _require_value(source: AdvantageSource, values: Mapping[str, Any]) -> None:
    """Refuse a constant advantage without its value: both signs are usual, and they train opposite ways."""
    key = f"{Constant.section}.value"
    if isinstance(source, Constant) and key not in flat(values):
        raise ValueError(
            f"{NAMESPACE}.advantage={source.name} needs a value: set {NAMESPACE}.{key}. With 1 the sampled "
            "tokens become more likely, in proportion to the factors' weights, and log_ratio draws the "
            "student to the teacher (as in opsd_sampled). With -1 they become less likely (as in "
            "constant_negative), and log_ratio drives the student away from the teacher."
        )


def _refuse_unknown(method: Method, values: Mapping[str, Any]) -> None:
    known = _keys(method.parts)
    lists = ["advantage", "factors", *(["policy_factors"] if method.divergence else [])]
    for key, value in flat(values).items():
        if key in known:
            continue
        if inside := [each for each in _keys(_every_part()) if each.startswith(f"{key}.")]:
            raise ValueError(
                f"{NAMESPACE}.{key}={value!r} is not allowed: {key} is a section. Set one of its keys: "
                f"{', '.join(inside)}."
            )
        raise ValueError(
            f"unknown key {NAMESPACE}.{key}={value!r} of {method.name}; known keys: "
            f"{', '.join([*lists, *known])}.{_remedy(method, key)}"
        )


def _remedy(method: Method, key: str) -> str:
    """Return a sentence that says which setting makes a key known; empty if there is none."""
    for name, factor in factors().items():
        if key in _keys([factor]):
            return f" It is a key of {name}: add that to {NAMESPACE}.factors."
    for name, source in advantage_sources().items():
        if key in _keys([source]) and not method.is_verls:
            return f" It is a key of another advantage: set {NAMESPACE}.advantage={name}."
    if key in _keys([Distillation()]):
        distils = next(row.name for row in methods().values() if row.divergence)
        return f" A divergence is the loss of other methods: set algorithm.adv_estimator={distils}."
    return ""


def _keys(parts: Any) -> list[str]:
    """Return the keys of parts below `algorithm.egrsd`."""
    return [
        f"{part.section}.{field.name}" if part.section else field.name
        for part in parts
        for field in fields(part)
    ]


def _with_keys(part: SomePart, values: Mapping[str, Any]) -> SomePart:
    """Return the part with the keys that are its own."""
    section = values.get(part.section, {}) if part.section else values
    own = {field.name: section[field.name] for field in fields(part) if field.name in section}  # type: ignore[arg-type]
    return replace(part, **own)  # type: ignore[type-var]


def _distilled(own: Distillation, values: Mapping[str, Any]) -> Distillation:
    """Return the divergence with the user's settings, and refuse those of them that it does not read."""
    given = values.get(own.section, {})
    chosen = _with_keys(own, {own.section: {k: None if v == NONE else v for k, v in given.items()}})
    for key, needed in chosen.unread.items():
        value = getattr(chosen, key)
        if value != getattr(own, key):
            raise ValueError(
                f"{DIVERGENCE_SECTION}.{key}={value} is read with {needed} only: leave {key} unset, or set "
                f"{needed}."
            )
    return chosen


def _refuse_contradictions(method: Method) -> None:
    keys = method.keys()
    values = flat(keys)
    for key, holds, remedy, without in method.requires:
        if key in values and not holds(values[key]):
            raise ValueError(
                f"{NAMESPACE}.{key}={values[key]} contradicts algorithm.adv_estimator={method.name}: "
                f"set it to {remedy}."
            )
        if key not in values and without is not None:
            raise ValueError(
                f"{NAMESPACE}.advantage={keys['advantage']} with {NAMESPACE}.factors={keys['factors']} "
                f"contradicts algorithm.adv_estimator={method.name}, which stands for a setting of "
                f"{NAMESPACE}.{key}: no part has this key any more. Start from {without}."
            )

"""Kinds of bicycle: the measures of frame, wheels and bars, in metres and degrees."""

from dataclasses import dataclass, fields, replace

from train.synthetic.chance import Rng, uniform


@dataclass(frozen=True)
class Kind:
    """Frame geometry as builders give it; `bars`, `frame` and `fork` name shapes."""

    bars: str
    """'drop', 'flat', 'swept', 'high' (BMX)."""
    frame: str = "diamond"
    """'diamond', 'step' (low-step), 'cruiser' (curved), 'single' (folding), 'sprung' (mountain, rear shock)."""
    wheel: float = 0.34
    tyre: float = 0.014
    chainstay: float = 0.42
    drop: float = 0.065
    head_angle: float = 72.0
    seat_angle: float = 73.0
    stack: float = 0.57
    reach: float = 0.39
    seat_tube: float = 0.5
    saddle: float = 0.7
    """Bottom bracket to saddle, along the seat tube."""
    stem_rise: float = 0.05
    tube: float = 0.017
    spokes: int = 28
    knobs: bool = False
    suspension: bool = False
    fenders: float = 0.0
    """The probability of fenders; `basket`, `rack` alike."""
    basket: float = 0.0
    rack: float = 0.0
    saddle_width: float = 0.075


KINDS: dict[str, Kind] = {
    "road": Kind("drop", tyre=0.012, saddle=0.72, spokes=24, tube=0.018),
    "racer": Kind("drop", tyre=0.011, saddle=0.75, seat_tube=0.46, spokes=18, tube=0.022, stack=0.55),
    "fixed": Kind("flat", tyre=0.014, saddle=0.7, stem_rise=0.02),
    "hybrid": Kind("flat", tyre=0.018, saddle=0.7, seat_tube=0.46, stem_rise=0.09, rack=0.4, fenders=0.4),
    "mountain": Kind(
        "flat",
        tyre=0.029,
        knobs=True,
        suspension=True,
        seat_tube=0.42,
        saddle=0.66,
        head_angle=67,
        chainstay=0.44,
        stack=0.6,
        reach=0.42,
        tube=0.023,
        stem_rise=0.05,
        wheel=0.345,
        drop=0.04,
    ),
    "enduro": Kind(
        "flat",
        frame="sprung",
        tyre=0.031,
        knobs=True,
        suspension=True,
        seat_tube=0.4,
        saddle=0.62,
        head_angle=65,
        chainstay=0.44,
        stack=0.61,
        reach=0.44,
        tube=0.026,
        wheel=0.35,
        drop=0.02,
    ),
    "city": Kind(
        "swept",
        frame="step",
        tyre=0.019,
        seat_tube=0.44,
        saddle=0.62,
        head_angle=69,
        seat_angle=69,
        stack=0.62,
        reach=0.36,
        stem_rise=0.14,
        fenders=0.9,
        basket=0.5,
        rack=0.6,
        saddle_width=0.1,
        chainstay=0.46,
    ),
    "roadster": Kind(
        "swept",
        tyre=0.018,
        saddle=0.66,
        head_angle=68,
        seat_angle=68,
        stack=0.62,
        reach=0.36,
        stem_rise=0.1,
        fenders=0.9,
        basket=0.2,
        rack=0.6,
        saddle_width=0.1,
        chainstay=0.47,
        seat_tube=0.55,
    ),
    "cruiser": Kind(
        "swept",
        frame="cruiser",
        tyre=0.028,
        wheel=0.33,
        saddle=0.56,
        head_angle=68,
        seat_angle=67,
        stack=0.55,
        reach=0.42,
        stem_rise=0.16,
        fenders=0.7,
        basket=0.25,
        saddle_width=0.12,
        chainstay=0.48,
        seat_tube=0.42,
        tube=0.02,
        drop=0.04,
    ),
    "bmx": Kind(
        "high",
        tyre=0.026,
        wheel=0.255,
        saddle=0.36,
        seat_tube=0.26,
        head_angle=74,
        stack=0.36,
        reach=0.4,
        chainstay=0.37,
        drop=-0.03,
        stem_rise=0.05,
        tube=0.019,
        knobs=True,
    ),
    "folding": Kind(
        "flat",
        frame="single",
        tyre=0.02,
        wheel=0.215,
        saddle=0.64,
        seat_tube=0.3,
        stack=0.36,
        reach=0.44,
        chainstay=0.4,
        drop=-0.08,
        stem_rise=0.42,
        tube=0.024,
        fenders=0.7,
        rack=0.5,
        head_angle=72,
        spokes=20,
    ),
    "child": Kind(
        "swept",
        frame="step",
        tyre=0.024,
        wheel=0.2,
        saddle=0.36,
        seat_tube=0.24,
        stack=0.38,
        reach=0.27,
        chainstay=0.31,
        drop=-0.02,
        stem_rise=0.12,
        tube=0.018,
        fenders=0.6,
        basket=0.5,
        spokes=16,
        head_angle=69,
    ),
}


def individual(kind: Kind, rng: Rng) -> Kind:
    """The same kind with every length up to 4 % longer or shorter; tyres and tubes up to 20 %."""
    fixed = {"head_angle", "seat_angle", "fenders", "basket", "rack"}
    lengths = [f.name for f in fields(kind) if f.type == "float" and f.name not in fixed]
    spread = {name: 0.2 if name in ("tyre", "tube") else 0.04 for name in lengths}
    return replace(
        kind, **{name: getattr(kind, name) * uniform(rng, 1 - spread[name], 1 + spread[name]) for name in lengths}
    )

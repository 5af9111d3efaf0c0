"""Kinds of bird: proportions and postures, and which coats they wear. Lengths are in body lengths (breast to rump)."""

from dataclasses import dataclass, fields, replace

from train.synthetic.chance import Rng, uniform

Range = tuple[float, float]


@dataclass(frozen=True)
class Kind:
    """Proportions of a kind of bird; angles in degrees above the horizon, ranges are drawn from."""

    postures: tuple[str, ...]
    coats: tuple[str, ...]
    pitch: Range = (20, 50)
    depth: float = 0.28
    neck: float = 0.06
    neck_angle: Range = (42, 62)
    neck_bend: float = 0.0
    head: float = 0.19
    beak: float = 0.2
    beak_depth: float = 0.06
    beak_hook: float = 0.0
    tail: float = 0.6
    tail_width: float = 0.11
    tail_angle: Range = (-12, 12)
    leg: float = 0.34
    leg_width: float = 0.02
    wing: float = 0.72
    span: float = 1.25
    chord: float = 0.5
    eye: float = 0.27
    face: str = "plain"
    """'disc': an owl's flat face, 'tufts' too; 'crest', 'comb': what stands on the head."""


KINDS: dict[str, Kind] = {
    "songbird": Kind(("perch", "perch", "stand", "fly"), ("yellow", "red", "blue", "green", "brown", "tit", "robin")),
    "finch": Kind(("perch", "stand"), ("red", "yellow", "brown", "green"), beak=0.15, beak_depth=0.09, depth=0.3),
    "wren": Kind(
        ("perch", "stand"), ("brown", "robin"), depth=0.32, tail=0.38, tail_angle=(60, 95), beak=0.2, pitch=(5, 25)
    ),
    "jay": Kind(("perch", "perch", "fly"), ("blue", "red", "grey"), face="crest", tail=0.85, beak=0.2, pitch=(35, 60)),
    "crow": Kind(
        ("perch", "stand", "fly"), ("black",), beak=0.3, beak_depth=0.08, beak_hook=0.15, head=0.17, depth=0.25
    ),
    "pigeon": Kind(("stand", "perch", "fly"), ("grey", "white", "brown"), head=0.14, neck=0.14, beak=0.13, leg=0.26),
    "parrot": Kind(
        ("perch", "perch", "fly"),
        ("tropical", "tropical", "green", "white"),
        pitch=(52, 72),
        neck_angle=(72, 88),
        head=0.21,
        beak=0.23,
        beak_depth=0.14,
        beak_hook=0.85,
        tail=0.95,
        leg=0.18,
        eye=0.2,
        depth=0.25,
    ),
    "toucan": Kind(
        ("perch", "perch"), ("toucan",), pitch=(40, 60), beak=0.72, beak_depth=0.14, beak_hook=0.2, head=0.18, leg=0.22
    ),
    "kingfisher": Kind(("perch", "perch", "fly"), ("kingfisher", "blue"), beak=0.5, head=0.22, tail=0.3, leg=0.16),
    "heron": Kind(
        ("stand", "stand", "wade", "fly"),
        ("grey", "white", "heron"),
        pitch=(22, 42),
        depth=0.2,
        neck=1.0,
        neck_angle=(58, 75),
        neck_bend=0.34,
        head=0.1,
        beak=0.46,
        beak_depth=0.05,
        tail=0.25,
        leg=1.15,
        span=1.6,
    ),
    "flamingo": Kind(
        ("stand", "stand", "wade", "fly"),
        ("pink",),
        pitch=(12, 30),
        depth=0.21,
        neck=1.25,
        neck_angle=(60, 78),
        neck_bend=0.36,
        head=0.1,
        beak=0.24,
        beak_depth=0.07,
        beak_hook=0.8,
        tail=0.2,
        leg=1.45,
        span=1.4,
    ),
    "wader": Kind(
        ("stand", "stand", "wade", "fly"),
        ("brown", "oyster", "grey"),
        pitch=(8, 28),
        beak=0.55,
        beak_depth=0.035,
        leg=0.62,
        head=0.15,
        neck=0.16,
        tail=0.3,
    ),
    "duck": Kind(
        ("swim", "swim", "stand", "fly"),
        ("mallard", "brown", "white", "oyster"),
        pitch=(2, 12),
        depth=0.27,
        neck=0.24,
        neck_angle=(66, 84),
        head=0.15,
        beak=0.22,
        beak_depth=0.06,
        tail=0.28,
        tail_angle=(10, 35),
        leg=0.26,
        leg_width=0.028,
    ),
    "swan": Kind(
        ("swim", "swim", "fly"),
        ("swan", "swan", "black"),
        pitch=(0, 8),
        depth=0.27,
        neck=0.95,
        neck_angle=(72, 86),
        neck_bend=0.3,
        head=0.11,
        beak=0.19,
        beak_depth=0.06,
        tail=0.25,
        tail_angle=(10, 30),
        leg=0.2,
        wing=0.8,
        span=1.5,
    ),
    "gull": Kind(
        ("stand", "fly", "fly", "swim"),
        ("gull", "gull", "white"),
        pitch=(4, 18),
        depth=0.23,
        neck=0.1,
        head=0.16,
        beak=0.22,
        beak_hook=0.2,
        tail=0.35,
        leg=0.34,
        wing=0.95,
        span=1.65,
        chord=0.42,
    ),
    "raptor": Kind(
        ("perch", "perch", "fly", "fly"),
        ("hawk", "eagle", "hawk"),
        pitch=(52, 72),
        depth=0.28,
        neck_angle=(70, 88),
        head=0.18,
        beak=0.17,
        beak_depth=0.09,
        beak_hook=0.8,
        tail=0.6,
        tail_width=0.14,
        leg=0.22,
        leg_width=0.04,
        span=1.6,
        chord=0.62,
    ),
    "owl": Kind(
        ("perch", "perch", "perch", "fly"),
        ("owl", "snow", "owl"),
        pitch=(74, 86),
        depth=0.31,
        neck=0.0,
        neck_angle=(80, 92),
        head=0.29,
        beak=0.1,
        beak_depth=0.06,
        beak_hook=1.0,
        tail=0.32,
        leg=0.12,
        leg_width=0.04,
        eye=0.34,
        face="disc",
        span=1.3,
        chord=0.65,
    ),
    "hummingbird": Kind(
        ("fly", "fly", "perch"),
        ("hummingbird", "green"),
        pitch=(40, 62),
        depth=0.23,
        head=0.19,
        beak=0.62,
        beak_depth=0.03,
        tail=0.5,
        leg=0.1,
        span=0.95,
        chord=0.34,
        eye=0.24,
    ),
    "hen": Kind(
        ("stand",),
        ("brown", "white", "hen", "black"),
        pitch=(10, 28),
        depth=0.34,
        neck=0.3,
        neck_angle=(62, 80),
        head=0.13,
        beak=0.13,
        beak_depth=0.06,
        tail=0.6,
        tail_angle=(55, 85),
        tail_width=0.16,
        leg=0.42,
        leg_width=0.03,
        face="comb",
    ),
    "penguin": Kind(
        ("stand",),
        ("penguin",),
        pitch=(78, 88),
        depth=0.27,
        neck=0.06,
        neck_angle=(80, 90),
        head=0.17,
        beak=0.22,
        beak_depth=0.045,
        tail=0.16,
        leg=0.1,
        leg_width=0.05,
        wing=0.45,
    ),
}


def individual(kind: Kind, rng: Rng) -> Kind:
    """The same kind with every length up to 10 % longer or shorter."""
    lengths = {f.name: getattr(kind, f.name) * uniform(rng, 0.9, 1.1) for f in fields(kind) if f.type == "float"}
    return replace(kind, **lengths)

"""Kinds of bird: proportions, postures and colours. Lengths are in body lengths (breast to rump)."""

from dataclasses import dataclass, fields, replace

from train.synthetic.chance import Colour, Rng, uniform

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
        ("stand", "stand", "fly"),
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
        ("stand", "stand", "fly"),
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
        ("stand", "stand", "fly"),
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


@dataclass(frozen=True)
class Coat:
    """Colours by part of the body, and the pattern on breast and flanks; None: as the part around it."""

    back: Colour
    belly: Colour
    wing: Colour | None = None
    tip: Colour | None = None
    bar: Colour | None = None
    head: Colour | None = None
    cap: Colour | None = None
    mask: Colour | None = None
    throat: Colour | None = None
    breast: Colour | None = None
    tail: Colour | None = None
    beak: Colour = (60, 55, 50)
    beak_tip: Colour | None = None
    leg: Colour = (90, 75, 65)
    iris: Colour = (40, 22, 12)
    pattern: str = "plain"


_BLACK, _WHITE, _CREAM = (32, 31, 36), (236, 235, 230), (226, 214, 190)
_ORANGE, _YELLOW, _RED = (236, 130, 30), (240, 205, 40), (205, 40, 32)

COATS: dict[str, tuple[Coat, ...]] = {
    "yellow": (
        Coat((170, 165, 45), _YELLOW, wing=(80, 82, 60), bar=_WHITE, tip=(45, 45, 45)),
        Coat(_YELLOW, _YELLOW, wing=_BLACK, bar=_WHITE, cap=_BLACK, tail=_BLACK, beak=_ORANGE, leg=_ORANGE),
        Coat((120, 130, 60), _YELLOW, head=(120, 128, 140), pattern="streaked"),
    ),
    "red": (
        Coat(_RED, (225, 60, 45), wing=(120, 30, 32), mask=_BLACK, beak=_ORANGE),
        Coat((120, 85, 75), (190, 110, 100), head=_RED, breast=_RED, pattern="streaked"),
        Coat((210, 45, 30), (222, 62, 40), wing=_BLACK, tail=_BLACK),
    ),
    "blue": (
        Coat((50, 95, 190), (225, 228, 235), bar=_WHITE, tip=(25, 35, 70), mask=_BLACK),
        Coat((60, 110, 205), (205, 110, 60), breast=(205, 100, 50)),
        Coat((45, 120, 215), (80, 150, 225), wing=(35, 60, 120)),
    ),
    "green": (
        Coat((80, 140, 50), (170, 190, 80), wing=(60, 115, 45), tip=(40, 60, 40), beak=(200, 80, 50)),
        Coat((70, 110, 60), (205, 205, 165), cap=(150, 30, 40)),
    ),
    "brown": (
        Coat((125, 90, 58), (215, 200, 172), wing=(110, 75, 45), bar=_CREAM, tip=(60, 45, 35), pattern="streaked"),
        Coat((140, 88, 50), (205, 160, 115), mask=_CREAM, pattern="barred"),
        Coat((112, 95, 78), (228, 220, 205), pattern="spotted", beak=(200, 160, 70)),
    ),
    "tit": (
        Coat((95, 120, 120), _YELLOW, wing=(70, 95, 140), bar=_WHITE, head=_WHITE, cap=(55, 95, 160), mask=_BLACK),
        Coat((110, 112, 112), (232, 222, 205), head=_WHITE, cap=_BLACK, throat=_BLACK),
    ),
    "robin": (
        Coat((120, 100, 70), (232, 226, 214), throat=(225, 105, 40), breast=(225, 105, 40)),
        Coat((85, 85, 90), (200, 90, 45), head=_BLACK, beak=_YELLOW),
    ),
    "black": (
        Coat(_BLACK, (40, 40, 46), wing=(26, 27, 36), beak=(28, 28, 30), leg=(30, 30, 30)),
        Coat((28, 28, 30), (34, 33, 36), beak=_ORANGE, leg=(70, 50, 40)),
        Coat((30, 32, 45), _WHITE, wing=(30, 60, 110), bar=_WHITE, breast=_BLACK, beak=(25, 25, 25), tail=(30, 60, 70)),
    ),
    "grey": (
        Coat(
            (130, 135, 145), (165, 168, 175), tip=(45, 48, 55), bar=(60, 62, 70), head=(95, 105, 125), leg=(190, 80, 80)
        ),
        Coat((140, 142, 146), (222, 222, 222), tip=(50, 50, 52), tail=(90, 92, 96)),
    ),
    "white": (
        Coat((232, 231, 226), _WHITE, beak=_ORANGE, leg=(60, 55, 50)),
        Coat((236, 234, 228), (240, 238, 232), beak=(60, 60, 60), tip=(215, 205, 170), cap=(240, 215, 110)),
    ),
    "tropical": (
        Coat(
            _RED,
            (215, 50, 38),
            wing=(240, 200, 50),
            tip=(35, 75, 185),
            tail=(190, 45, 50),
            beak=(225, 215, 195),
            beak_tip=_BLACK,
            mask=_WHITE,
            iris=(230, 220, 150),
        ),
        Coat(
            (35, 100, 205),
            _YELLOW,
            wing=(40, 110, 210),
            tip=(30, 60, 150),
            mask=_WHITE,
            cap=(60, 140, 80),
            beak=_BLACK,
            iris=(230, 225, 170),
        ),
        Coat((50, 150, 60), (120, 195, 70), head=(240, 150, 40), tip=(30, 70, 170), beak=_RED),
        Coat((60, 160, 80), _YELLOW, head=(50, 90, 190), breast=(235, 90, 40), beak=_RED),
    ),
    "toucan": (
        Coat(_BLACK, _BLACK, throat=_WHITE, breast=_WHITE, beak=_ORANGE, beak_tip=_BLACK, iris=(60, 90, 190)),
        Coat(_BLACK, (40, 40, 40), throat=_YELLOW, breast=_YELLOW, beak=(150, 200, 60), beak_tip=(200, 50, 40)),
    ),
    "kingfisher": (
        Coat((30, 135, 190), (225, 125, 50), throat=_WHITE, mask=(225, 125, 50), beak=_BLACK, leg=_RED),
        Coat((70, 95, 130), _WHITE, head=(65, 90, 125), breast=(65, 90, 125), throat=_WHITE, beak=(50, 50, 50)),
    ),
    "heron": (
        Coat((105, 115, 135), (200, 205, 212), head=_WHITE, cap=_BLACK, tip=(40, 42, 52), beak=(225, 175, 60)),
        Coat((95, 70, 90), (150, 95, 80), beak=_YELLOW, tip=(60, 50, 70)),
        Coat((238, 237, 233), (240, 240, 236), beak=_YELLOW, leg=(35, 33, 30)),
    ),
    "pink": (
        Coat(
            (240, 150, 160),
            (245, 180, 185),
            wing=(235, 110, 120),
            tip=(220, 60, 75),
            beak=(245, 215, 205),
            beak_tip=_BLACK,
            leg=(235, 140, 150),
        ),
        Coat((238, 105, 90), (240, 130, 110), tip=_BLACK, beak=(235, 200, 180), beak_tip=_BLACK, leg=(220, 120, 120)),
    ),
    "oyster": (
        Coat(
            _BLACK, _WHITE, head=_BLACK, breast=_BLACK, bar=_WHITE, beak=(230, 75, 30), leg=(225, 120, 120), iris=_RED
        ),
        Coat((120, 110, 100), _WHITE, cap=_BLACK, tip=_BLACK, beak=(230, 75, 30), leg=_ORANGE),
    ),
    "mallard": (
        Coat(
            (150, 145, 138),
            (190, 188, 184),
            head=(25, 95, 60),
            breast=(105, 62, 42),
            wing=(130, 118, 105),
            bar=(50, 80, 180),
            tail=_WHITE,
            beak=(215, 190, 50),
            leg=_ORANGE,
        ),
        Coat((120, 85, 60), (225, 222, 215), head=(120, 50, 40), breast=(45, 42, 45), beak=(130, 150, 170)),
    ),
    "swan": (Coat(_WHITE, (240, 239, 235), beak=_ORANGE, beak_tip=_BLACK, leg=_BLACK, mask=_WHITE),),
    "gull": (
        Coat(
            (165, 172, 182),
            _WHITE,
            head=_WHITE,
            tip=_BLACK,
            tail=_WHITE,
            beak=_YELLOW,
            leg=(225, 170, 150),
            iris=_YELLOW,
        ),
        Coat((80, 85, 95), _WHITE, head=_WHITE, tip=_BLACK, tail=_WHITE, beak=_YELLOW, leg=_YELLOW),
        Coat(
            (175, 180, 188), _WHITE, head=(60, 42, 38), tip=_BLACK, tail=_WHITE, beak=(150, 40, 35), leg=(150, 40, 35)
        ),
    ),
    "hawk": (
        Coat(
            (110, 78, 52),
            (222, 205, 178),
            wing=(100, 70, 48),
            tip=(48, 36, 30),
            bar=(70, 50, 38),
            pattern="barred",
            beak=(60, 60, 65),
            leg=_YELLOW,
            iris=_YELLOW,
        ),
        Coat(
            (95, 105, 120),
            (225, 205, 190),
            tip=(40, 42, 50),
            pattern="barred",
            beak=(50, 50, 60),
            leg=_YELLOW,
            iris=_RED,
        ),
        Coat((120, 85, 55), (215, 190, 150), pattern="streaked", tip=(50, 35, 28), beak=(55, 55, 60), leg=_YELLOW),
    ),
    "eagle": (
        Coat(
            (68, 48, 36),
            (75, 54, 40),
            head=_WHITE,
            tail=_WHITE,
            tip=(40, 30, 26),
            beak=_YELLOW,
            leg=_YELLOW,
            iris=_YELLOW,
        ),
        Coat((88, 60, 38), (95, 66, 42), head=(160, 115, 60), tip=(45, 32, 24), beak=(80, 75, 60), leg=_YELLOW),
    ),
    "owl": (
        Coat(
            (125, 98, 70),
            (205, 185, 150),
            head=(150, 122, 90),
            tip=(70, 52, 38),
            bar=_CREAM,
            pattern="barred",
            beak=(90, 85, 70),
            iris=(240, 170, 30),
        ),
        Coat((185, 145, 90), (238, 228, 205), head=(205, 165, 110), pattern="spotted", mask=None, beak=(215, 190, 160)),
        Coat((110, 105, 100), (190, 185, 178), pattern="streaked", tip=(60, 56, 52), iris=_YELLOW, beak=_YELLOW),
    ),
    "snow": (Coat((238, 237, 234), _WHITE, pattern="spotted", iris=(250, 205, 40), beak=_BLACK, tip=(205, 203, 200)),),
    "hummingbird": (
        Coat((50, 140, 80), (205, 210, 200), throat=(200, 30, 80), tip=(70, 70, 80), beak=_BLACK, tail=(50, 90, 70)),
        Coat((60, 110, 150), (150, 190, 170), throat=(120, 40, 170), tip=(60, 60, 80), beak=_BLACK),
    ),
    "hen": (
        Coat(
            (175, 85, 35),
            (150, 65, 30),
            head=(205, 120, 45),
            tail=(30, 60, 50),
            tip=(40, 50, 45),
            beak=_YELLOW,
            leg=_YELLOW,
        ),
        Coat((70, 68, 66), (215, 213, 210), pattern="barred", beak=_YELLOW, leg=_YELLOW),
    ),
    "penguin": (
        Coat((38, 40, 50), _WHITE, head=(30, 31, 38), throat=_WHITE, beak=_BLACK, leg=(60, 50, 50)),
        Coat((60, 70, 90), _WHITE, head=(28, 28, 32), throat=_YELLOW, beak=_BLACK, leg=(40, 40, 40)),
    ),
}

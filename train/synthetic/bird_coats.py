"""Coats of birds: the colours and patterns of real kinds, from which individuals are drawn."""

from dataclasses import dataclass

from train.synthetic.chance import Colour


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

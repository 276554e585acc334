"""The words that fill the tasks' slots: everyday words, chosen for this benchmark.

An example is identified by indices into these lists, and its split follows from them. So adding,
removing or reordering a word changes which prompts are in which split: bump the `version` of the
tasks that use the list. A word that is not one token is skipped, never removed from here.
"""

from __future__ import annotations

from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MALE_NAMES: Final = _words("""
    Aaron Adam Alan Albert Andrew Anthony Arthur Benjamin Brian Bruce Charles Daniel David Dennis
    Edward Eric Felix Fred Gary George Harold Harry Henry Howard Hugh Jack Jacob Jason Joseph Keith
    Kevin Leonard Louis Martin Matthew Oliver Oscar Patrick Peter Philip Ralph Robert Roger Simon
    Stephen Thomas Victor Walter
""")
FEMALE_NAMES: Final = _words("""
    Alice Amanda Amy Andrea Angela Anna Barbara Caroline Catherine Charlotte Christina Claire Clara
    Deborah Diana Elizabeth Ellen Emily Emma Eva Florence Hannah Helen Jane Janet Jennifer Jessica
    Julia Karen Kate Laura Linda Lisa Lucy Margaret Maria Martha Mary Michelle Nancy Nicole Rachel
    Rebecca Ruth Sandra Sarah Sophia Susan
""")

# Objects, adjectives and occupations all begin with a consonant, since templates write "a" before them.
PLACES: Final = _words("""
    school market garden library station church museum office theater hospital castle farm beach
    bridge kitchen stadium temple cabin park river
""")
OBJECTS: Final = _words("""
    book letter ring map coin camera key lamp ticket basket ball knife hat blanket phone bottle
    guitar gift pencil flag
""")
EVENTS: Final = _words("""
    siege truce famine drought voyage dispute reform alliance rebellion plague campaign expedition
    project festival tradition partnership blockade occupation trial boycott recession reign war
    strike exile embargo revolt conflict treaty migration restoration survey construction
    investigation quarrel monopoly regime dynasty crusade exhibition
""")
ADJECTIVES: Final = _words("""
    kind brave clever quiet patient careful loyal busy proud gentle famous friendly cheerful lazy
    nervous polite serious stubborn talented humble curious reliable modest young
""")
OCCUPATIONS: Final = _words("""
    teacher doctor lawyer driver painter singer writer farmer baker cook dancer judge nurse pilot
    poet sailor scientist soldier student tailor worker colleague friend guide player reporter
    runner swimmer trainer chemist clerk dentist gardener librarian mayor mechanic professor tutor
    builder photographer
""")

"""Our own programs, which together wire heads, MLPs and embeddings in every way."""

from collections.abc import Callable
from typing import Any

from tracr.compiler import lib
from tracr.rasp import rasp

from tracr_ground_truth.program import program


def _count(keys: rasp.SOp, holds: Callable[[Any], bool]) -> rasp.SOp:
    """The number of places where `holds` is true of the value of `keys`."""
    return rasp.SelectorWidth(rasp.Select(keys, rasp.tokens, lambda key, query: holds(key)))


def _read(position: Callable[[int], int], values: rasp.SOp) -> rasp.SOp:
    """The value at the place that `position` gives for this place."""
    return rasp.Aggregate(
        rasp.Select(rasp.indices, rasp.indices, lambda key, query: key == position(query)), values
    )


def _place(index: int) -> rasp.Select:
    """Selects the place with this index."""
    return rasp.Select(rasp.indices, rasp.indices, lambda key, query: key == index)


def _follow(pointers: rasp.SOp, values: rasp.SOp) -> rasp.SOp:
    """The value at the place that the pointer names."""
    return rasp.Aggregate(rasp.Select(rasp.indices, pointers, rasp.Comparison.EQ), values)


def _share(values: rasp.SOp) -> rasp.SOp:
    """The mean over all places."""
    everywhere = rasp.Select(rasp.indices, rasp.indices, rasp.Comparison.TRUE)
    return rasp.numerical(rasp.Aggregate(everywhere, rasp.numerical(values), default=0))


@program((0, 1, 2, 3), 4)
def follow_pointer() -> rasp.SOp:
    """The token at the place whose index this token is."""
    return _follow(rasp.tokens, rasp.tokens)


@program((0, 1, 2, 3), 4)
def eight_jumps() -> rasp.SOp:
    """Where eight jumps lead, doubled step by step, if each token is the index to jump to."""
    place = _follow(rasp.tokens, rasp.tokens)
    for _ in range(2):
        place = _follow(place, place)
    return place


@program((0, 1, 2, 3), 4)
def eleven_jumps() -> rasp.SOp:
    """Where eleven jumps lead, one at a time, if each token is the index to jump to."""
    place = rasp.tokens
    for _ in range(10):
        place = _follow(place, rasp.tokens)
    return place


@program((0, 1, 2, 3), 4)
def relative_jump() -> rasp.SOp:
    """The token as many places ahead as this token says, wrapping around at the end."""
    target = rasp.SequenceMap(lambda token, index: (token + index) % 4, rasp.tokens, rasp.indices)
    return _follow(target, rasp.tokens)


@program((0, 1, 2, 3), 4)
def pointers_here() -> rasp.SOp:
    """How many tokens are the index of this place."""
    return rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.indices, rasp.Comparison.EQ))


@program((0, 1, 2, 3), 4)
def two_jumps_here() -> rasp.SOp:
    """From how many places two jumps lead here, if each token is the index to jump to."""
    reached = _follow(rasp.tokens, rasp.tokens)
    return rasp.SelectorWidth(rasp.Select(reached, rasp.indices, rasp.Comparison.EQ))


@program("xab", 5)
def token_at_count() -> rasp.SOp:
    """The token whose index is the number of x in the input, and nothing where all are x."""
    return _follow(_count(rasp.tokens, lambda token: token == "x"), rasp.tokens)


@program("xab", 5)
def rotate_by_count() -> rasp.SOp:
    """The tokens moved ahead by as many places as there are x, wrapping around at the end."""
    steps = _count(rasp.tokens, lambda token: token == "x")
    target = rasp.SequenceMap(lambda step, index: (step + index) % 5, steps, rasp.indices)
    return rasp.Aggregate(rasp.Select(target, rasp.indices, rasp.Comparison.EQ), rasp.tokens)


@program("abc", 5, lengths=range(1, 6))
def ends_agree() -> rasp.SOp:
    """Whether the first token is the last."""
    last = _follow(lib.make_length() - 1, rasp.tokens)
    return rasp.SequenceMap(lambda a, b: a == b, rasp.Aggregate(_place(0), rasp.tokens), last)


@program("abcd", 4, causal=True)
def same_as_first() -> rasp.SOp:
    """Whether this token equals the first one."""
    return rasp.SequenceMap(lambda a, b: a == b, rasp.Aggregate(_place(0), rasp.tokens), rasp.tokens)


@program("abc", 5)
def palindrome() -> rasp.SOp:
    """Whether the input reads the same backwards."""
    mirrored = _read(lambda here: 4 - here, rasp.tokens)
    same = rasp.SequenceMap(lambda a, b: a == b, mirrored, rasp.tokens)
    return _count(same, lambda agrees: not agrees) == 0


@program((0, 1, 2), 5)
def position_cipher() -> rasp.SOp:
    """The token plus its index, then times the token plus one, then plus the index, each modulo 3 or 4."""
    value = rasp.SequenceMap(lambda token, index: (token + index) % 3, rasp.tokens, rasp.indices)
    value = rasp.SequenceMap(lambda x, token: x * (token + 1) % 4, value, rasp.tokens)
    return rasp.SequenceMap(lambda x, index: (x + index) % 4, value, rasp.indices)


@program((0, 1, 2, 3), 4)
def collatz() -> rasp.SOp:
    """The token plus five after four steps, each halving an even n and taking an odd one to 3n + 1."""
    value = rasp.Map(lambda token: token + 5, rasp.tokens)
    for _ in range(4):
        value = rasp.Map(lambda n: 3 * n + 1 if n % 2 else n // 2, value, simplify=False)
    return value


@program((0, 1, 2, 3), 4)
def square_less_index() -> rasp.SOp:
    """The square of the token plus one, less half the index."""
    raised = rasp.numerical(rasp.Map(lambda token: token + 1, rasp.tokens))
    square = rasp.numerical(rasp.Map(lambda x: x * x, raised, simplify=False))
    index = rasp.numerical(rasp.Map(lambda index: index, rasp.indices))
    return rasp.numerical(rasp.LinearSequenceMap(square, index, 1, -0.5))


@program((0, 1), 7)
def cellular_automaton() -> rasp.SOp:
    """The cells of a ring after nine steps, each the exclusive or of the two neighbours."""
    cells = rasp.tokens
    for _ in range(9):
        left, right = _read(lambda here: (here - 1) % 7, cells), _read(lambda here: (here + 1) % 7, cells)
        cells = rasp.SequenceMap(lambda a, b: a ^ b, left, right)
    return cells


@program("ab", 7)
def state_machine() -> rasp.SOp:
    """Where a count that starts at two ends up if each a adds one and each b doubles it, modulo five."""
    state = rasp.Map(lambda token: 3 if token == "a" else 4, rasp.Aggregate(_place(0), rasp.tokens))
    for place in range(1, 7):
        token = rasp.Aggregate(_place(place), rasp.tokens)
        state = rasp.SequenceMap(lambda s, t: (s + 1 if t == "a" else 2 * s) % 5, state, token)
    return state


@program((0, 1), 5)
def binary_number() -> rasp.SOp:
    """The number that the tokens are the binary digits of."""
    digits = rasp.numerical(rasp.Map(lambda token: token, rasp.tokens))
    number, *rest = (rasp.numerical(rasp.Aggregate(_place(i), digits, default=0)) for i in range(5))
    for digit in rest:
        number = rasp.numerical(rasp.LinearSequenceMap(number, digit, 2, 1))
    return number


@program("ab", 6, causal=True)
def parity() -> rasp.SOp:
    """Whether the number of a up to here is odd."""
    return rasp.Map(lambda n: n % 2 == 1, _count(rasp.tokens, lambda token: token == "a"))


@program("abc", 5)
def weighted_sum() -> rasp.SOp:
    """The number of a plus twice the number of b, modulo three."""
    a = _count(rasp.tokens, lambda token: token == "a")
    b = _count(rasp.tokens, lambda token: token == "b")
    return rasp.SequenceMap(lambda m, n: (m + 2 * n) % 3, a, b)


@program("abc", 5)
def majority() -> rasp.SOp:
    """Whether at least half of the tokens are a."""
    return _share(rasp.tokens == "a") >= 0.5


@program("abc", 5)
def heavier_half() -> rasp.SOp:
    """Whether there are more a at the first three places than at the last two."""
    side = rasp.SequenceMap(
        lambda token, index: (token == "a") * (1 + (index > 2)), rasp.tokens, rasp.indices
    )
    return rasp.SequenceMap(
        lambda m, n: m > n, _count(side, lambda s: s == 1), _count(side, lambda s: s == 2)
    )


@program("abc", 5)
def share_at_like_places() -> rasp.SOp:
    """The share of a among the places whose indices have the parity of this one's."""
    odd = rasp.Map(lambda index: index % 2, rasp.indices)
    is_a = rasp.numerical(rasp.tokens == "a")
    return rasp.numerical(rasp.Aggregate(rasp.Select(odd, odd, rasp.Comparison.EQ), is_a, default=0))


@program("abc", 4)
def after_less_before() -> rasp.SOp:
    """The share of a among the later tokens less twice the share of b among the earlier ones."""
    later = rasp.Select(rasp.indices, rasp.indices, rasp.Comparison.GT)
    earlier = rasp.Select(rasp.indices, rasp.indices, rasp.Comparison.LT)
    a = rasp.numerical(rasp.Aggregate(later, rasp.numerical(rasp.tokens == "a"), default=0))
    b = rasp.numerical(rasp.Aggregate(earlier, rasp.numerical(rasp.tokens == "b"), default=0))
    return rasp.numerical(rasp.LinearSequenceMap(a, b, 1, -2))


@program("abc", 5)
def most_frequent() -> rasp.SOp:
    """Whether no token occurs more often than this one."""
    often = lib.make_hist()
    return rasp.SelectorWidth(rasp.Select(often, often, rasp.Comparison.GT)) == 0


@program((0, 1, 2, 3), 4)
def greatest() -> rasp.SOp:
    """The greatest token."""
    above = rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.GT))
    return rasp.Aggregate(rasp.Select(above, rasp.tokens, lambda key, query: key == 0), rasp.tokens)


@program("abc", 5)
def share_followed_by_a() -> rasp.SOp:
    """Of this token's occurrences, the share followed by a; the first token follows the last."""
    followed = rasp.numerical(_read(lambda here: (here + 1) % 5, rasp.tokens) == "a")
    same = rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.EQ)
    return rasp.numerical(rasp.Aggregate(same, followed, default=0))


@program("abc", 5, causal=True)
def induction() -> rasp.SOp:
    """Of the tokens up to here that follow an occurrence of this token, the share that are a."""
    before = lib.shift_by(1, rasp.tokens)
    after_same = rasp.Select(before, rasp.tokens, lambda key, query: key == query)
    return rasp.numerical(rasp.Aggregate(after_same, rasp.numerical(rasp.tokens == "a"), default=0))


@program("abc", 5, causal=True)
def seen_before() -> rasp.SOp:
    """Whether this token has occurred before."""
    return lib.make_hist() > 1


@program("abcd", 4, causal=True)
def distinct_so_far() -> rasp.SOp:
    """How many different tokens there are up to here."""
    return _count(lib.make_hist(), lambda times: times == 1)


@program("abc", 5, causal=True)
def a_before_b() -> rasp.SOp:
    """Whether this token is b and an a came before it."""
    count = _count(rasp.tokens, lambda token: token == "a")
    return rasp.SequenceMap(lambda n, token: n > 0 and token == "b", count, rasp.tokens)


@program("xab", 5, causal=True)
def first_x() -> rasp.SOp:
    """The index of the first x, and nothing before it."""
    count = _count(rasp.tokens, lambda token: token == "x")
    is_first = rasp.SequenceMap(lambda n, token: n == 1 and token == "x", count, rasp.tokens)
    return rasp.Aggregate(rasp.Select(is_first, rasp.tokens, lambda key, query: key), rasp.indices)


@program("xab", 5, causal=True)
def after_first_x() -> rasp.SOp:
    """The token that follows the first x, and nothing before it."""
    count = _count(rasp.tokens, lambda token: token == "x")
    is_first = rasp.SequenceMap(lambda n, token: n == 1 and token == "x", count, rasp.tokens)
    follows = lib.shift_by(1, is_first)
    return rasp.Aggregate(rasp.Select(follows, rasp.tokens, lambda key, query: key), rasp.tokens)


@program("abc", 5, causal=True)
def doubled_letters() -> rasp.SOp:
    """How many tokens up to here are the same as the one before them."""
    same = rasp.SequenceMap(lambda a, b: a == b, lib.shift_by(1, rasp.tokens), rasp.tokens)
    return _count(same, lambda agrees: agrees)


@program("()x", 5, causal=True)
def bracket_depth() -> rasp.SOp:
    """How many brackets have been opened up to here less how many have been closed."""
    opened = rasp.numerical(_count(rasp.tokens, lambda token: token == "("))
    closed = rasp.numerical(_count(rasp.tokens, lambda token: token == ")"))
    return rasp.numerical(rasp.LinearSequenceMap(opened, closed, 1, -1))


@program("()", 6, causal=True)
def balanced_so_far() -> rasp.SOp:
    """Whether the brackets up to here are balanced."""
    opened = _count(rasp.tokens, lambda token: token == "(")
    closed = _count(rasp.tokens, lambda token: token == ")")
    depth = opened - closed
    return rasp.SequenceMap(lambda n, d: n == 0 and d == 0, _count(depth, lambda d: d < 0), depth)


@program("xab", 5, redundant=True)
def x_majority_twice() -> rasp.SOp:
    """Whether most tokens are x: their number is at least three, or their share at least half."""
    number = _count(rasp.tokens, lambda token: token == "x")
    counted = rasp.numerical(rasp.Map(lambda n: int(n >= 3), number))
    shared = rasp.numerical(rasp.Map(lambda share: int(share >= 0.5), _share(rasp.tokens == "x")))
    return rasp.numerical(rasp.LinearSequenceMap(counted, shared, 1, 1)) > 0


@program("xab", 5, redundant=True)
def x_first_by_vote() -> rasp.SOp:
    """Whether the first token is x, by the vote of at least two of three heads that each look for it."""
    is_x = rasp.numerical(rasp.tokens == "x")
    one, two, three = (rasp.numerical(rasp.Aggregate(_place(0), is_x, default=0)) for _ in range(3))
    votes = rasp.numerical(rasp.LinearSequenceMap(one, two, 1, 1))
    return rasp.numerical(rasp.LinearSequenceMap(votes, three, 1, 1)) >= 2

"""The programs of Tracr's library and of the RASP paper; two of them have published circuits."""

from tracr.compiler import lib
from tracr.rasp import rasp

from tracr_ground_truth.program import program


@program(
    "xabc",
    4,
    published={
        "Edge Pruning": (
            "tok->m0",
            "m0->a1.h0.v",
            "tok->a1.h0.q",
            "pos->a1.h0.q",
            "tok->a1.h0.k",
            "pos->a1.h0.k",
            "a1.h0->logits",
        )
    },
)
def x_proportion() -> rasp.SOp:
    """The share of tokens up to here that are x."""
    return lib.make_frac_prevs(rasp.tokens == "x")


@program(
    "abc",
    5,
    published={
        "Edge Pruning": (
            "tok->a0.h0.v",
            "a0.h0->m0",
            "tok->m0",
            "m0->m1",
            "tok->m1",
            "pos->m1",
            "m1->m2",
            "m2->a3.h0.q",
            "pos->a3.h0.k",
            "tok->a3.h0.v",
            "a3.h0->logits",
        )
    },
)
def reverse() -> rasp.SOp:
    """The tokens in reverse order, all inputs being of one length."""
    return lib.make_reverse(rasp.tokens)


@program("abc", 5, lengths=range(1, 6))
def reverse_any_length() -> rasp.SOp:
    """The tokens in reverse order, however many there are."""
    return lib.make_reverse(rasp.tokens)


@program("ab", 6, lengths=range(1, 7))
def input_length() -> rasp.SOp:
    """How many tokens there are."""
    return lib.make_length()


@program("abc", 5)
def hist() -> rasp.SOp:
    """How many times this token occurs."""
    return lib.make_hist()


@program("abcd", 4, causal=True)
def hist_so_far() -> rasp.SOp:
    """How many times this token has occurred up to here."""
    return lib.make_hist()


@program((1, 2, 3), 4)
def sort() -> rasp.SOp:
    """The tokens in ascending order."""
    return lib.make_sort(rasp.tokens, rasp.tokens, max_seq_len=4, min_key=1)


@program("xabc", 4)
def x_to_front() -> rasp.SOp:
    """The tokens with every x moved to the front, otherwise in their order."""
    keys = rasp.SequenceMap(lambda token, index: index + 4 * (token != "x"), rasp.tokens, rasp.indices)
    return lib.make_sort_unique(rasp.tokens, keys)


@program("abc", 4)
def sort_freq() -> rasp.SOp:
    """The tokens from the most to the least frequent."""
    return lib.make_sort_freq(max_seq_len=4)


@program("()x", 5, causal=True)
def pair_balance() -> rasp.SOp:
    """The share of tokens up to here that open a bracket less the share that close one."""
    return lib.make_pair_balance(rasp.tokens, "(", ")")


@program("()", 6, lengths=range(1, 7))
def shuffle_dyck() -> rasp.SOp:
    """Whether the brackets are balanced."""
    return lib.make_shuffle_dyck(["()"])


@program("(){}", 4)
def shuffle_dyck2() -> rasp.SOp:
    """Whether the brackets of either kind are balanced, the two kinds taken separately."""
    return lib.make_shuffle_dyck2()


@program("abc", 5, causal=True)
def proportion_of_either() -> rasp.SOp:
    """The share of tokens up to here that are a or b."""
    return lib.make_frac_prevs(rasp.Map(lambda token: token in "ab", rasp.tokens))


@program("abc", 4)
def proportion_of_repeated() -> rasp.SOp:
    """The share of tokens up to here that occur more than once in the input."""
    return lib.make_frac_prevs(lib.make_hist() > 1)


@program("abc", 5)
def shift_by_two() -> rasp.SOp:
    """The token two places before, and nothing at the first two places."""
    return lib.shift_by(2, rasp.tokens)


@program("abc", 5, causal=True)
def detect_ab() -> rasp.SOp:
    """Whether this token ends the pattern ab; nothing at the first place."""
    return lib.detect_pattern(rasp.tokens, "ab")


@program("abc", 5)
def detect_aba() -> rasp.SOp:
    """Whether this token ends the pattern aba; nothing at the first two places."""
    return lib.detect_pattern(rasp.tokens, "aba")


@program("abc", 5)
def count_less_freq() -> rasp.SOp:
    """How many tokens occur at most twice."""
    return lib.make_count_less_freq(2)


@program("abc", 5, lengths=range(2, 6))
def count() -> rasp.SOp:
    """How many tokens are a."""
    return lib.make_count(rasp.tokens, "a")


@program((0, 1, 2), 5)
def local_peak() -> rasp.SOp:
    """Whether this token is greater than both its neighbours, and nothing at the two ends."""
    before, after = lib.shift_by(1, rasp.tokens), lib.shift_by(-1, rasp.tokens)
    return lib.make_nary_sequencemap(lambda a, b, c: b > a and b > c, before, rasp.tokens, after)

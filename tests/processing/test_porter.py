import pytest
from hypothesis import given
from hypothesis import strategies as st

from processing.porter import stem


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        # The paper's own examples, step by step.
        ("caresses", "caress"),
        ("ponies", "poni"),
        ("caress", "caress"),
        ("cats", "cat"),
        ("feed", "feed"),
        ("agreed", "agre"),
        ("plastered", "plaster"),
        ("bled", "bled"),
        ("motoring", "motor"),
        ("sing", "sing"),
        ("conflated", "conflat"),
        ("troubled", "troubl"),
        ("sized", "size"),
        ("hopping", "hop"),
        ("falling", "fall"),
        ("hissing", "hiss"),
        ("fizzed", "fizz"),
        ("failing", "fail"),
        ("filing", "file"),
        ("happy", "happi"),
        ("relational", "relat"),
        ("conditional", "condit"),
        ("digitizer", "digit"),
        ("vietnamization", "vietnam"),
        ("operator", "oper"),
        ("hopefulness", "hope"),
        ("formaliti", "formal"),
        ("sensibiliti", "sensibl"),
        ("triplicate", "triplic"),
        ("electrical", "electr"),
        ("goodness", "good"),
        ("revival", "reviv"),
        ("inference", "infer"),
        ("adjustable", "adjust"),
        ("replacement", "replac"),
        ("adoption", "adopt"),
        ("communism", "commun"),
        ("effective", "effect"),
        ("probate", "probat"),
        ("rate", "rate"),
        ("cease", "ceas"),
        ("controll", "control"),
        ("roll", "roll"),
        # Where the extended form differs.
        ("dies", "die"),
        ("dying", "die"),
        ("spied", "spi"),
        ("died", "die"),
        ("enjoy", "enjoy"),
        ("skies", "sky"),
        ("news", "news"),
        ("basically", "basic"),
        ("geology", "geolog"),
        ("carefully", "care"),
        # Too short, or no letters at all.
        ("is", "is"),
        ("2026", "2026"),
        ("", ""),
    ],
)
def test_words_are_stripped_as_published(word: str, expected: str) -> None:
    assert stem(word) == expected


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789"))
def test_any_word_keeps_its_beginning_and_never_grows(word: str) -> None:
    found = stem(word)
    assert len(found) <= len(word)
    assert not word or found[0] == word[0]


def test_a_word_of_a_hundred_thousand_letters_is_no_harm() -> None:
    assert len(stem("y" * 100_000)) >= 99_999

from collections.abc import Sequence

from processing.clusters.terms import TermText, terms_of


def texts(*said: str) -> list[TermText]:
    return [TermText(text, 1) for text in said]


def name(terms: Sequence[object]) -> list[str]:
    return [term.text for term in terms if term.is_named]  # type: ignore[attr-defined]


def test_a_name_is_made_of_what_a_cluster_has_and_others_have_not() -> None:
    sql = texts(*(f"please write a SQL query for table {number}" for number in range(20)))
    mail = texts(*(f"please write an email to person {number}" for number in range(20)))
    found = terms_of([sql, mail])
    assert "SQL query" in name(found[0])
    assert "email" in name(found[1])
    words = {word for terms in found for term in terms for word in term.text.lower().split()}
    assert not words & {"please", "a", "an", "for", "to"}
    assert not any(word.isdigit() for word in words)


def test_members_are_counted_by_trace_and_exactly() -> None:
    said = [TermText("refund order", 40), *texts("refund now", "refund", "cancel order")]
    (found,) = terms_of([said])
    assert {term.text: term.members for term in found}["refund"] == 42


def test_two_clusters_are_never_called_alike() -> None:
    one = texts(*(f"refund order {word}" for word in ("blue", "blue", "blue")))
    other = texts(*(f"refund order {word}" for word in ("green", "green", "green")))
    found = terms_of([one, other])
    assert name(found[0]) != name(found[1])


def test_a_cluster_without_words_has_no_terms() -> None:
    assert terms_of([texts("???", "123 456"), []]) == [[], []]


def test_words_of_other_scripts_are_words() -> None:
    found = terms_of([texts("возврат заказа", "возврат денег", "возврат"), texts("退款 订单", "退款 请", "退款 吗")])
    assert "возврат" in found[0][0].text
    assert "退款" in found[1][0].text

"""The handover of a source: each answer reaches the ledger once, whether the transaction stands or is rolled back."""

import pytest

from observability.watch.sources.handover import Handover


def answered(question="first", answer="facts"):
    handover = Handover()
    handover.ask(question)
    assert handover.next_question() == question
    handover.put(answer)
    return handover


def test_a_question_is_given_to_the_thread_once():
    handover = Handover()
    assert handover.wants_question
    handover.ask("first")
    assert not handover.wants_question
    assert [handover.next_question(), handover.next_question()] == ["first", None]


def test_an_answer_is_taken_again_after_a_rollback_and_is_forgotten_after_a_commit():
    handover = answered()
    assert [handover.take(), handover.take()] == ["facts", "facts"]
    handover.settle()
    assert handover.take() is None


def test_an_answer_that_came_after_the_taking_outlives_the_commit():
    handover = Handover()
    handover.ask("first")
    handover.next_question()
    assert handover.take() is None
    handover.put("facts")
    handover.settle()
    assert handover.take() == "facts"


def test_the_next_question_waits_for_the_commit_and_for_the_answer_to_be_written_down():
    handover = answered()
    assert not handover.wants_question  # the answer is not in the ledger yet: the question would not know it
    handover.ask("other")
    assert handover.next_question() is None
    handover = answered()
    handover.take()
    assert handover.wants_question
    handover.prepare("second")
    assert handover.wants_question  # it waits for the commit: after a rollback it is made ready again
    handover.settle()
    assert handover.next_question() == "second"


def test_no_question_is_made_ready_while_the_thread_looks():
    """It would begin where that look began, so that each line was read and each thing found twice."""
    handover = Handover()
    handover.ask("first")
    handover.next_question()
    assert not handover.wants_question
    handover.put("facts")
    assert not handover.wants_question
    handover.take()
    assert handover.wants_question


@pytest.mark.parametrize("end", ["give_up", "rest"])
def test_a_question_without_an_answer_makes_room_for_another(end):
    handover = Handover()
    handover.ask("first")
    handover.next_question()
    getattr(handover, end)()
    assert handover.wants_question


def test_a_rest_forgets_all_and_drops_the_answer_to_what_was_asked_before_it():
    handover = answered()
    handover.prepare("second")
    handover.rest()
    handover.settle()
    assert (handover.answer, handover.wants_question) == (None, True)
    handover.ask("first")
    handover.next_question()
    handover.rest()
    handover.put("late")
    handover.put_back("first")
    assert (handover.answer, handover.wants_question) == (None, True)


def test_a_question_that_could_not_be_answered_is_asked_again_unless_there_is_a_newer_one():
    handover = Handover()
    handover.ask("first")
    handover.next_question()
    handover.put_back("first")
    assert handover.next_question() == "first"
    handover.ask("newer")
    handover.put_back("first")
    assert handover.next_question() == "newer"

import pytest
from relay_lines import TASK, line

from observability.relay.ahead import Ahead
from observability.relay.tail import Cursor, Replaced, read

MOST = 4096


def everything(reader, file, most=MOST):
    cursor, ids, documents = Cursor(file.identity), [], []
    while stretch := reader(file, cursor, most):
        cursor = stretch.cursor
        ids += stretch.spliced.ids
        documents += stretch.spliced.documents
    return cursor, ids, documents


def test_what_is_read_ahead_is_what_would_have_been_read(logs):
    for number in range(500):
        logs.write(line(f"line {number}", number))
    logs.write(line("y" * 10_000) + b"no end yet")
    file = logs.tailed()
    assert everything(Ahead().read, file) == everything(read, file)


def test_two_files_in_turns_do_not_get_each_others_lines(logs):
    names = [TASK, TASK.replace("load", "other")]
    for number in range(200):
        for name in names:
            logs.write(line(f"{name} {number}", number), name)
    files = [logs.tailed(name) for name in names]
    ahead, cursors, documents = Ahead(), [Cursor("a"), Cursor("b")], [[], []]
    moved = True
    while moved:
        moved = False
        for place, file in enumerate(files):
            if stretch := ahead.read(file, cursors[place], MOST):
                moved, cursors[place] = True, stretch.cursor
                documents[place] += stretch.spliced.documents
    assert [len(one) for one in documents] == [200, 200]
    assert all(b'"event":"' + names[0].encode() in one for one in documents[0])
    assert all(b'"event":"' + names[1].encode() in one for one in documents[1])


def test_a_cursor_that_was_set_back_is_read_from_where_it_stands(logs):
    for number in range(200):
        logs.write(line(f"line {number}", number))
    file, ahead = logs.tailed(), Ahead()
    first = ahead.read(file, Cursor("x"), MOST)
    again = ahead.read(file, Cursor("x"), MOST)
    assert again.spliced.documents == first.spliced.documents


def test_a_file_that_was_replaced_meanwhile_is_noticed_at_the_next_read(logs):
    path = logs.write(b"".join(line(f"line {number}", number) for number in range(400)))
    file, ahead = logs.tailed(), Ahead()
    first = ahead.read(file, Cursor("x"), MOST)
    ahead._next.join()
    path.unlink()
    logs.write(line("another", 7))
    second = ahead.read(file, first.cursor, MOST)
    with pytest.raises(Replaced):
        ahead.read(file, second.cursor, MOST)

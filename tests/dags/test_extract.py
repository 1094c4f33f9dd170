import gzip
import zipfile
from datetime import date

import pytest
from upath import UPath

from flights.extract import COLUMNS, SourceError, read
from flights.validate import validate

ROW = "2013,7,4,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-07-04T09:00:00Z"
HEADER = ",".join(COLUMNS["flights"])
DAY = date(2013, 7, 4)


def source_of(folder, *lines, header=HEADER, name="flights.csv"):
    text = "\n".join([header, *lines]) + "\n"
    (folder / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return UPath(folder)


def test_a_day_of_the_real_data_has_all_of_its_rows(source):
    assert len(read(source, "flights", date(2013, 1, 1))) == 842
    assert len(read(source, "flights", date(2013, 12, 31))) == 776


def test_every_row_of_the_year_belongs_to_exactly_one_day(source, tmp_path):
    whole = read(source, "weather").rows
    (tmp_path / "weather.csv").write_bytes((source / "weather.csv").read_bytes())
    days = {
        date(*parts)
        for parts in zip(*(map(int, whole[name].to_pylist()) for name in ("year", "month", "day")), strict=True)
    }
    some = sorted(days)[::30]
    expected = {
        day: sum(
            1
            for m, d in zip(whole["month"].to_pylist(), whole["day"].to_pylist(), strict=True)
            if (int(m), int(d)) == (day.month, day.day)
        )
        for day in some
    }
    assert expected == {day: len(read(UPath(tmp_path), "weather", day)) for day in some}


def test_a_day_without_rows_is_empty(source):
    assert len(read(source, "flights", date(2014, 1, 1))) == 0


def test_gzip_is_read_like_plain_text(tmp_path):
    assert read(source_of(tmp_path, ROW, name="flights.csv.gz"), "flights", DAY).rows["carrier"].to_pylist() == ["UA"]


@pytest.mark.parametrize("spelling", ["2013,07,04", "2013, 7, 4", "2013,7,4"])
def test_a_date_may_be_spelled_with_zeros_and_spaces(tmp_path, spelling):
    assert len(read(source_of(tmp_path, ROW.replace("2013,7,4", spelling, 1)), "flights", DAY)) == 1


@pytest.mark.parametrize("nonsense", ["2013,2,30", ",,", "NA,NA,NA", "x,y,z", "2013,13,1"])
def test_a_row_without_readable_date_belongs_to_the_files_first_day_only(tmp_path, nonsense):
    other = ROW.replace("2013,7,4", "2013,7,5")
    folder = source_of(tmp_path, ROW.replace("2013,7,4", nonsense), ROW, other, ROW.replace("2013,7,4", nonsense))
    found = {day.day: len(read(folder, "flights", day)) for day in (DAY, date(2013, 7, 5))}
    assert found == {4: 3, 5: 1}


def test_a_line_with_too_few_or_too_many_columns_is_kept_as_text(tmp_path):
    found = read(source_of(tmp_path, ROW, "2013,7,4,517", ROW + ",extra", "2013,7,5,1"), "flights", DAY)
    assert (found.rows.num_rows, found.malformed) == (1, ["2013,7,4,517", ROW + ",extra"])


def test_a_byte_that_is_no_utf8_costs_no_other_row(tmp_path):
    folder = source_of(tmp_path, ROW, "2013,7,4,1")
    with (tmp_path / "flights.csv").open("ab") as file:
        file.write(ROW.replace("UA", "U@").encode().replace(b"@", b"\xff") + b"\n")
    found = read(folder, "flights", DAY)
    assert found.rows["carrier"].to_pylist() == ["UA", "U\ufffd"]
    assert found.malformed == ["2013,7,4,1"]


def test_a_last_line_without_newline_and_carriage_returns_are_read(tmp_path):
    (tmp_path / "flights.csv").write_bytes(f"\ufeff{HEADER}\r\n{ROW}\r\n{ROW}".encode())
    assert len(read(UPath(tmp_path), "flights", DAY).rows) == 2


def test_a_file_without_end_of_line_is_an_error(tmp_path):
    (tmp_path / "flights.csv").write_bytes(HEADER.encode() + b"\n" + b"x" * (17 << 20))
    with pytest.raises(SourceError, match="cannot be read to its end: a line of more than"):
        read(UPath(tmp_path), "flights", DAY)


def test_a_new_column_is_reported_and_left_out(tmp_path):
    header = ",".join([*COLUMNS["flights"], "gate"])
    found = read(source_of(tmp_path, ROW + ",A1", header=header), "flights", DAY)
    assert ("gate" in found.columns, "gate" in found.rows.schema.names) == (True, False)


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"flights\.csv lacks the columns tailnum: mend"):
        read(source_of(tmp_path, ROW, header=",".join(COLUMNS["flights"]).replace("tailnum", "tail")), "flights", DAY)


def test_a_missing_file_is_an_error_with_the_remedy(tmp_path):
    with pytest.raises(
        SourceError, match=r"there is no flights\.csv .* put it there, or correct the Variable flights_source"
    ):
        read(UPath(tmp_path), "flights", DAY)


def test_an_unreadable_path_is_an_error_with_the_remedy(tmp_path):
    (tmp_path / "flights.csv").mkdir()
    with pytest.raises(SourceError, match=r"flights\.csv cannot be opened: .*grant access"):
        read(UPath(tmp_path), "flights", DAY)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip"])
def test_a_damaged_archive_is_an_error_with_the_remedy(tmp_path, content):
    (tmp_path / "flights.csv.zip").write_bytes(content)
    with pytest.raises(SourceError, match=r"flights\.csv\.zip cannot be opened"):
        read(UPath(tmp_path), "flights", DAY)


def test_a_truncated_archive_is_an_error_and_no_shorter_day(tmp_path):
    folder = source_of(tmp_path, *[ROW] * 5000, name="flights.csv.gz")
    whole = (tmp_path / "flights.csv.gz").read_bytes()
    (tmp_path / "flights.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"flights\.csv\.gz"):
        read(folder, "flights", DAY)


def test_na_is_a_missing_value_and_in_a_column_of_codes_the_code(tmp_path):
    row = ROW.replace("UA", "NA", 1).replace("N14228", "NA").replace(",227,", ',"NA",')
    found = read(source_of(tmp_path, row), "flights", DAY).rows.to_pylist()[0]
    assert (found["carrier"], found["tailnum"], found["air_time"]) == ("NA", None, None)


def test_an_airline_may_be_called_na(tmp_path):
    found = read(source_of(tmp_path, 'NA,"North American"', header="carrier,name", name="airlines.csv"), "airlines")
    assert found.rows.to_pylist() == [{"carrier": "NA", "name": "North American"}]


def test_a_quoted_line_break_at_the_edge_of_a_block_parts_no_row(tmp_path):
    names = [f'line {number}\nof ""many""\n{"x" * (number % 97)}' for number in range(40_000)]
    lines = [f'{number},"{name}"' for number, name in enumerate(names)]
    found = read(source_of(tmp_path, *lines, header="carrier,name", name="airlines.csv"), "airlines")
    assert found.malformed == []
    assert found.rows["name"].to_pylist() == [name.replace('""', '"') for name in names]


def test_a_quote_that_never_ends_costs_its_own_line(tmp_path):
    lines = ['AA,"American', *[f"X{number},Some airline" for number in range(50_000)], 'ZZ,"the last one']
    found = read(source_of(tmp_path, *lines, header="carrier,name", name="airlines.csv"), "airlines")
    assert found.malformed == ['AA,"American', 'ZZ,"the last one']
    assert found.rows.num_rows == 50_000


def test_an_archive_may_hold_a_folder_and_a_readme_beside_the_table(tmp_path):
    with zipfile.ZipFile(tmp_path / "flights.csv.zip", "w") as archive:
        archive.writestr("README.md", "read me")
        archive.writestr("2013/", "")
        archive.writestr("__MACOSX/2013/._flights.csv", "\0")
        archive.writestr("2013/flights.csv", f"{HEADER}\n{ROW}\n")
    assert len(read(UPath(tmp_path), "flights", DAY)) == 1


def test_an_archive_of_other_tables_is_refused_by_what_it_holds(tmp_path):
    with zipfile.ZipFile(tmp_path / "flights.csv.zip", "w") as archive:
        archive.writestr("a.csv", f"{HEADER}\n{ROW}\n")
        archive.writestr("b.csv", f"{HEADER}\n{ROW}\n")
    with pytest.raises(SourceError, match=r"should hold one flights\.csv and holds a\.csv, b\.csv"):
        read(UPath(tmp_path), "flights", DAY)


@pytest.mark.parametrize(
    ("encode", "reason"),
    [
        (lambda text: text.replace(",", ";").encode(), "separated by semicolons, save it with commas"),
        (lambda text: text.replace(",", "\t").encode(), "separated by tabs"),
        (lambda text: text.encode("utf-16"), "UTF-16, save it as UTF-8"),
    ],
)
def test_a_table_in_another_form_is_refused_with_what_to_do(tmp_path, encode, reason):
    (tmp_path / "flights.csv").write_bytes(encode(f"{HEADER}\n{ROW}\n"))
    with pytest.raises(SourceError, match=reason):
        read(UPath(tmp_path), "flights", DAY)


def test_a_decimal_comma_sends_its_row_to_quarantine_by_the_columns_rule(tmp_path):
    row = 'EWR,2013,7,4,1,"39,02",26.06,59.37,270,10.35,NA,0,1012,10,2013-07-04T05:00:00Z'
    found = read(source_of(tmp_path, row, header=",".join(COLUMNS["weather"]), name="weather.csv"), "weather", DAY)
    good, bad = validate("weather", found.rows.to_pandas(), DAY)
    assert (len(good), bad["rule"].tolist()) == (0, ["temp_is_number"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"{HEADER},carrier\n{ROW},AA\n".encode(), "more than one column carrier"),
        (f"{HEADER}\r{ROW}\r".encode(), "carriage returns alone"),
        (f"{HEADER}\n{ROW}\n".encode("utf-16-le"), "it is UTF-16"),
        (f"{HEADER}\n{ROW}\n".replace(",", "|").encode(), "separated by bars"),
    ],
)
def test_a_table_that_cannot_mean_one_thing_is_refused_with_what_to_do(tmp_path, content, reason):
    (tmp_path / "flights.csv").write_bytes(content)
    with pytest.raises(SourceError, match=reason):
        read(UPath(tmp_path), "flights", DAY)


@pytest.mark.parametrize(("places", "reason"), [((6, 8), "encrypted"), ((8, 10), "compression method")])
def test_an_archive_that_python_cannot_open_is_refused_with_the_remedy(tmp_path, places, reason):
    path = tmp_path / "flights.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("flights.csv", f"{HEADER}\n{ROW}\n")
    content = bytearray(path.read_bytes())
    for start, place in zip((0, content.find(b"PK\x01\x02")), places, strict=True):
        content[start + place] = 1 if reason == "encrypted" else 97
    path.write_bytes(content)
    with pytest.raises(SourceError, match=f"{reason}.*replace it"):
        read(UPath(tmp_path), "flights", DAY)


def test_a_line_of_too_few_columns_may_be_no_utf8(tmp_path):
    folder = source_of(tmp_path, ROW)
    with (tmp_path / "flights.csv").open("ab") as file:
        file.write(b"2013,7,4,caf\xe9\n\n\n")
    found = read(folder, "flights", DAY)
    assert (found.rows.num_rows, found.malformed) == (1, ["2013,7,4,caf\ufffd"])


def test_a_nul_sends_its_row_to_quarantine_because_a_warehouse_takes_none(tmp_path):
    columns = ",".join(COLUMNS["planes"])
    (tmp_path / "planes.csv").write_text(
        f"{columns}\nN1,2004,jet,EMB\0RAER,E,2,55,NA,fan\nN2,2004,jet,X,E,2,55,NA,fan\n"
    )
    good, bad = validate("planes", read(UPath(tmp_path), "planes").rows.to_pandas(), DAY)
    assert (good["tailnum"].to_list(), bad["rule"].to_list()) == (["N2"], ["text_has_no_nul"])


def test_a_source_may_be_a_bucket():
    memory = UPath("memory://flights-bucket/2013")
    (memory / "flights.csv").write_text(",".join(COLUMNS["flights"]) + "\n" + ROW + "\n")
    assert len(read(memory, "flights", DAY)) == 1


@pytest.mark.parametrize("value", ['"AA"x', '"AA" ', '"AA"""x', '"A,A"z', '"A\nA"z', '"AA"x"BB"', '"A""A"!'])
def test_text_after_a_closing_quote_sends_its_row_to_quarantine(tmp_path, value):
    lines = ['"U""A",United', f"{value},American", 'DL,"Delta\nAir Lines"', f"AA,{value}"]
    found = read(source_of(tmp_path, *lines, header="carrier,name", name="airlines.csv"), "airlines")
    assert found.misquoted == [f"{value},American", f"AA,{value}"]
    assert found.malformed == []
    assert found.rows.to_pylist() == [
        {"carrier": 'U"A', "name": "United"}, {"carrier": "DL", "name": "Delta\nAir Lines"}
    ]  # fmt: skip
    assert len(found) == 4


def test_a_misquoted_row_belongs_to_its_own_day(tmp_path):
    other = ROW.replace("2013,7,4", "2013,7,5")
    lines = [ROW, ROW.replace("N14228", '"N1"4228'), other.replace("N14228", '"N1"4228').replace("2013", '"2013"', 1)]
    source = source_of(tmp_path, *lines)
    assert read(source, "flights", DAY).misquoted == [lines[1]]
    assert read(source, "flights", date(2013, 7, 5)).misquoted == [lines[2]]


def test_a_quote_inside_a_value_is_part_of_it(tmp_path):
    found = read(source_of(tmp_path, 'AA,12" pipes', header="carrier,name", name="airlines.csv"), "airlines")
    assert (found.rows["name"].to_pylist(), len(found)) == (['12" pipes'], 1)

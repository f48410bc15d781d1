"""Files of records: what is recognized, and what is said of a file that is none."""

from pathlib import Path

import pytest

from models.linking import reading
from models.linking.errors import BadMapping, BadRecords, BadReview
from models.linking.reading import Options, Sheet, read, role_of
from models.linking.records import gather, read_known
from tests.models.linking.customers import NORMALIZER


def file(tmp_path: Path, text: str | bytes, name: str = "crm.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path: Path, **options: object) -> str:
    with pytest.raises((BadRecords, BadMapping)) as refusal:
        read(path, Options(**options))  # type: ignore[arg-type]
    return str(refusal.value)


@pytest.mark.parametrize(
    ("column", "role"),
    [
        ("First Name", "given"), ("last_name", "surname"), ("DOB", "birth_date"), ("E-mail", "email"),
        ("Mobile No.", "phone"), ("PIN Code", "postcode"), ("address.city", "city"), ("Gender", "sex"),
        ("CRM ID", "id"), ("address.postalCode", "postcode"), ("favourite colour", "ignore"),
    ],
)  # fmt: skip
def test_columns_are_recognized_by_usual_names(column: str, role: str) -> None:
    assert role_of(column) == role


def test_a_file_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    path = file(tmp_path, "\ufeffid;Name;Street;House No;Shoe size\n7;Asha Rao;Lake Road;12;38\n")
    sheet = read(path, Options())
    assert sheet.ids == ["7"]
    assert sheet.texts == {"name": ["Asha Rao"], "address": ["Lake Road 12"]}
    assert sheet.roles["Shoe size"] == "ignore"


def test_the_user_says_what_a_column_holds(tmp_path: Path) -> None:
    path = file(tmp_path, "id,who,job\n7,Asha Rao,pilot\n")
    sheet = read(path, Options(columns={"who": "name", "job": "other"}))
    assert sheet.texts == {"name": ["Asha Rao"], "other:job": ["pilot"]}


def test_json_lines_may_be_nested_and_incomplete(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        '{"id": 7, "name": "Asha", "address": {"city": "Pune"}}\n\n{"id": 8, "phone": "98"}\n',
        "crm.jsonl",
    )
    sheet = read(path, Options())
    assert sheet.texts == {"city": ["Pune", ""], "name": ["Asha", ""], "phone": ["", "98"]}


def test_records_without_an_id_are_named_by_their_line(tmp_path: Path) -> None:
    assert read(file(tmp_path, "name\nAsha\nRavi\n"), Options()).ids == ["2", "3"]


def test_records_are_in_the_order_of_their_ids(tmp_path: Path) -> None:
    assert read(file(tmp_path, "id,name\nb,Ravi\na,Asha\n"), Options()).texts["name"] == [
        "Asha",
        "Ravi",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": empty"),
        ("id,name\n", ": no records"),
        ("id,name,name\n1,a,b\n", ":1: columns 2 and 3 are both 'name'"),
        ("id,,name\n1,a,b\n", ":1: column 2 has no name"),
        ("id,name\n1,Asha\n2,Ravi,Rao\n", ":3: 3 fields; the header has 2"),
        ("id,name\n1,Asha\n1,Ravi\n", ":3: the same id as line 2"),
        ("id,colour\n1,red\n", ": no column that says who somebody is"),
        ('id,name\n1,"Asha\n', ": unexpected end of data"),
        ("id,name\n1,Asha\n2,Jos\xe9\n".encode("latin-1"), ":3: not utf-8; name the file's encoding"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = file(tmp_path, text)
    assert str(path) in (message := refused(path))
    assert said in message


@pytest.mark.parametrize(
    ("text", "said"), [("[1]\n", ":1: not an object"), ('{"id": 1}\n{"id"\n', ":2: not JSON")]
)
def test_a_bad_json_line_is_named(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(file(tmp_path, text, "crm.jsonl"))


def test_another_encoding_can_be_named(tmp_path: Path) -> None:
    path = file(tmp_path, "id,name\n1,José\n".encode("cp1252"))
    assert read(path, Options(encoding="cp1252")).texts["name"] == ["José"]
    assert "no encoding 'klingon'" in refused(path, encoding="klingon")


def test_what_is_refused_is_not_repeated(tmp_path: Path) -> None:
    message = refused(file(tmp_path, "id,name\n1,Asha Rao,9876543210\n"))
    assert "Asha" not in message
    assert "9876543210" not in message


def test_a_mapping_names_columns_and_roles_that_there_are(tmp_path: Path) -> None:
    path = file(tmp_path, "id,name\n1,Asha\n")
    assert "no column 'nmae'; it has id, name" in refused(path, columns={"nmae": "name"})
    assert "'name' cannot be 'nickname'; it can be id, given" in refused(
        path, columns={"name": "nickname"}
    )


def test_limits_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "RECORDS_MAX", 2)
    assert "more than 2 records" in refused(file(tmp_path, "name\na\nb\nc\n"))
    monkeypatch.setattr(reading, "COLUMNS_MAX", 2)
    assert "3 columns; at most 2" in refused(file(tmp_path, "a,b,c\n1,2,3\n"))
    many = ",".join(f"c{n}" for n in range(11))
    monkeypatch.setattr(reading, "COLUMNS_MAX", 500)
    free = {f"c{n}": "other" for n in range(11)}
    assert "one free column too many" in refused(file(tmp_path, f"{many}\n{many}\n"), columns=free)
    long = read(file(tmp_path, f"name\n{'a' * 5000}\n"), Options())
    assert len(long.texts["name"][0]) == reading.VALUE_MAX


def test_two_files_without_a_common_column_are_refused() -> None:
    one, other = Sheet("a", ["1"], {"name": ["Asha"]}, {}), Sheet("b", ["2"], {"phone": ["98"]}, {})
    with pytest.raises(BadMapping, match="a has name, b has phone: nothing in common"):
        gather([one, other], NORMALIZER)


def test_a_full_name_is_compared_with_its_parts() -> None:
    one = Sheet("a", ["1"], {"name": ["Asha Rao"]}, {})
    other = Sheet("b", ["2"], {"given": ["Asha"], "surname": ["Rao"]}, {})
    people = gather([one, other], NORMALIZER).people
    assert people.columns["given"].codes[0] == people.columns["given"].codes[1]
    assert people.columns["surname"].codes[0] == people.columns["surname"].codes[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("a,c,decision\n", ":1: no column 'b'"),
        ("a,b,decision\n1,9,same\n", ":2: no record has the id in column b"),
        (
            "a,b,decision\n1,2,perhaps\n",
            ":2: the decision is neither same nor different, nor empty",
        ),
        ("a,b,decision\n1,2,same\n2,1,different\n", ":3: line 2 decides otherwise"),
        ("a,b,decision\n1,1,same\n", ":2: a record beside itself"),
    ],
)
def test_a_bad_file_of_labels_is_refused_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    records = gather([Sheet("a", ["1", "2"], {"name": ["Asha", "Ravi"]}, {})], NORMALIZER)
    with pytest.raises(BadReview, match=said):
        read_known(file(tmp_path, text), records)


def test_decisions_that_are_not_made_yet_are_none(tmp_path: Path) -> None:
    records = gather(
        [Sheet("a", ["1", "2", "3"], {"name": ["Asha", "Ravi", "Usha"]}, {})], NORMALIZER
    )
    known = read_known(file(tmp_path, "Decision,a,b\nSAME,2,1\n,1,3\n0,2,3\n"), records)
    assert (known.left.tolist(), known.right.tolist(), known.same.tolist()) == (
        [0, 1],
        [1, 2],
        [1, 0],
    )

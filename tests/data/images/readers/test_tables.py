"""Tables as Kaggle, spreadsheets and pandas write them: read where there is one meaning, else one true sentence."""

from __future__ import annotations

import pytest

from tlkit.core.reading import Reading
from tlkit.data.checks.check import check_source
from tlkit.data.checks.listing import list_source
from tlkit.data.images.sources import read_images
from tlkit.errors import DataFault

PATHS = ("bar/0.png", "bar/1.png", "disc/0.png", "disc/1.png")
LABELS = ["b", "b", "d", "d"]


@pytest.fixture
def folder(make_folder):
    return make_folder(bar=2, disc=2)


def write(folder, text, name="labels.csv", encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return str(folder / name)


def table(header, *rows, sep=",", end="\n"):
    return end.join(sep.join(cells) for cells in (header, *rows)) + end


PLAIN = [(path, label) for path, label in zip(PATHS, LABELS)]
NAMED = [(path.replace("/", "_"), label) for path, label in PLAIN]  # as files called bar_0.png in images/


@pytest.fixture
def flat(folder):
    """The same images as images/bar_0.png and so on."""
    (folder / "images").mkdir()
    for path in PATHS:
        (folder / path).rename(folder / "images" / path.replace("/", "_"))
    return folder


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (table(("path", "label"), *PLAIN, sep=";"), "utf-8"),
        (table(("path", "label"), *PLAIN, sep="\t"), "utf-8"),
        (table(("path", "label"), *PLAIN, end="\r\n"), "utf-8-sig"),
        (table(("path", "label"), *PLAIN, sep="\t"), "utf-16"),
        (table(("path", " label"), *PLAIN, sep=", "), "utf-8"),
        (table(("Path", "LABEL"), *PLAIN), "utf-8"),
        (table(("filename", "class"), *PLAIN), "utf-8"),
        (table(("Image Path", "Category"), *PLAIN), "utf-8"),
        (table(("image_id", "breed"), *[(path[:-4], label) for path, label in PLAIN]), "utf-8"),
        (table(("path", "label"), *[(path.replace("/", "\\"), label) for path, label in PLAIN]), "utf-8"),
        (table(("path", "label"), *[(f"C:\\me\\set\\{p}", label) for p, label in PLAIN]), "utf-8"),
        (table(("path", "label"), *[(f"/home/me/set/{p}", label) for p, label in PLAIN]), "utf-8"),
        (table(("", "path", "label"), *[(str(i), *row) for i, row in enumerate(PLAIN)]), "utf-8"),
        (table(("path", "label"), PLAIN[0], ("", ""), *PLAIN[1:], ("", "")), "utf-8"),
        (table(("image", "b", "d"), *[(p, str(+(n == "b")), f"{+(n == 'd')}.0") for p, n in PLAIN]), "utf-8"),
    ],
    ids=[
        *("semicolons", "tabs", "mark-crlf", "utf-16", "blanks", "capitals", "filename", "image-path", "no-suffix"),
        *("backslashes", "drive", "home", "index", "blank-lines", "one-hot"),
    ],
)  # fmt: skip
def test_what_has_one_meaning_is_read(folder, text, encoding):
    source = write(folder, text, encoding=encoding)
    images = read_images(source)
    assert images.paths == PATHS
    assert [images.class_names[label] for label in images.labels] == LABELS
    listing = list_source(source)
    assert listing.images.paths == PATHS
    assert not listing.findings


@pytest.mark.parametrize("cell", [str, lambda name: name[:-4]], ids=["name", "stem"])
def test_a_name_means_the_one_file_below_that_has_it(flat, cell):
    source = write(flat, table(("id", "label"), *[(cell(name), label) for name, label in NAMED]))
    assert read_images(source).paths == tuple(f"images/{name}" for name, _ in NAMED)


def test_the_full_path_of_a_file_in_the_folder_is_read(folder):
    rows = [(str(folder / path), label) for path, label in PLAIN]
    assert read_images(write(folder, table(("path", "label"), *rows))).paths == PATHS


def test_a_suffix_that_names_lack_can_be_given(folder):
    (folder / "bar" / "0.jpg").write_bytes(b"not this one")
    source = write(folder, table(("id", "label"), *[(path[:-4], label) for path, label in PLAIN]))
    with pytest.raises(DataFault, match=r"line 2: bar/0 may be bar/0.jpg and bar/0.png") as caught:
        read_images(source)
    assert "--suffix .jpg" in caught.value.remedy
    assert read_images(source, reading=Reading(suffix=".png")).paths == PATHS


def test_a_path_whose_folder_is_here_never_means_a_file_of_another_folder(folder):
    (folder / "bar" / "1.png").rename(folder / "disc" / "7.png")
    rows = [("bar/0.png", "b"), ("bar/7.png", "b"), ("disc/0.png", "d")]
    with pytest.raises(DataFault, match="line 3: .*bar/7.png does not exist"):
        read_images(write(folder, table(("path", "label"), *rows)))


def test_is_valid_marks_the_validation_part_and_split_any_part(folder):
    flags = [(*row, flag) for row, flag in zip(PLAIN, ("False", "True", "False", "True"))]
    images = read_images(write(folder, table(("name", "label", "is_valid"), *flags)))
    assert images.parts == ("training", "validation") * 2
    assert any("validation part is where is_valid is true" in remark for remark in images.remarks)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("path,label\n\n", r"has a header \(path and label\) and no line below it"),
        (table(("path", "label", "label"), *[(*row, "x") for row in PLAIN]), "two columns label"),
        (table(("path", "label"), *PLAIN[:2], ("disc/0.png", "d", "extra")), "line 4 has 3 fields, the header 2"),
        (table(("path", "label"), *PLAIN[:3], ("disc/1.png", "nan")), r"line 5 lacks a label \(label is nan\)"),
        ("path,label\nbar/0.png,b\n\n\ndisc/9.png,d\n", "line 5: .*disc/9.png does not exist"),
        ('path,label,note\nbar/0.png,b,"two\nlines"\ndisc/9.png,d,\n', "line 4: .*disc/9.png does not exist"),
        (table(("image", "b", "d"), *[(p, "1", "1") for p in PATHS]), r"line 2 has several classes \(b and d\)"),
        (table(("image", "b", "d"), *[(p, "0", "0") for p in PATHS]), "line 2 has none of its classes"),
        (table(("name", "label", "is_valid"), *[(*row, "maybe") for row in PLAIN]), "is_valid maybe is neither"),
        (table(("path", "label"), *PLAIN, ("disc/1.png", "b")), "disc/1.png is listed more than once: 2 times, as b"),
        (table(("path", "label"), *PLAIN[:3], ("disc/1.png", "D")), "'D' and 'd' are read as one class"),
    ],
    ids=[
        *("empty", "header-only", "twice", "extra-fields", "nan", "blank-lines", "quoted-newline", "several", "none"),
        *("is-valid", "two-labels", "case"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_one_true_sentence_for_training_and_check_alike(folder, text, message):
    source = write(folder, text)
    with pytest.raises(DataFault, match=message) as caught:
        read_images(source)
    assert caught.value.remedy
    assert caught.value.problem in said_by_check(source)


def said_by_check(source):
    try:
        found = check_source(source).findings
    except DataFault as fault:
        return [fault.problem]
    return [one.sentence for one in found if one.severity == "error"]


def test_composed_and_decomposed_spellings_of_a_label_are_one_class(folder):
    rows = [
        ("bar/0.png", "caf\u00e9"),
        ("bar/1.png", "cafe\u0301"),
        ("disc/0.png", "tea"),
        ("disc/1.png", "tea"),
    ]
    assert read_images(write(folder, table(("path", "label"), *rows))).class_names == ("caf\u00e9", "tea")

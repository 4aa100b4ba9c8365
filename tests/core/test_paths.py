"""Paths in tables, as Windows and POSIX write them: PureWindowsPath says what a path means there."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.windows import reserved
from tlkit.core.paths import inner_path
from tlkit.data.images.names import refused_by_windows

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters='\0/\\<>:"|?*', exclude_categories=["C"]), min_size=1
)
PARTS = st.lists(NAMES.map(str.strip).filter(lambda s: s not in ("", ".", "..")), min_size=1, max_size=4)


@given(PARTS)
def test_a_path_typed_on_windows_is_the_same_path(parts):
    assume(all(len(part.encode()) <= 255 for part in parts))
    typed = str(PureWindowsPath(*parts))
    assume(not PureWindowsPath(typed).drive)
    assert inner_path(typed) == inner_path(PurePosixPath(*parts).as_posix()) == "/".join(parts)


@given(
    st.lists(
        st.sampled_from(["crops", "..", "C:", "d:", "\\", "/", "\\\\host\\share", "a.png", "."]), max_size=6
    )
)
def test_what_leads_elsewhere_on_windows_is_no_inner_path(pieces):
    text = "\\".join(pieces)
    there = PureWindowsPath(text)
    elsewhere = bool(there.drive or there.root or ".." in there.parts)
    found = inner_path(text)
    if elsewhere:
        assert found is None
    if found is not None:
        assert PureWindowsPath(found) == there


@pytest.mark.parametrize(
    "text",
    [
        "C:x.png",
        "c:\\x.png",
        "\\x.png",
        "\\\\host\\share\\x.png",
        "a\\..\\..\\x.png",
        "..\\x.png",
        "a/..\\x.png",
    ],
)
def test_every_way_out_is_closed(text):
    assert inner_path(text) is None


@given(NAMES)
def test_names_that_windows_keeps_for_itself_are_known(name):
    if reserved(name):
        assert refused_by_windows(name)


@pytest.mark.parametrize("name", ["con", "NUL.png", "aux.tar.gz", "Com1", "lpt9.csv", "prn "])
def test_devices_are_named(name):
    assert reserved(name)
    assert "is a device there" in refused_by_windows(name)

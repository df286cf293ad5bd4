"""Lists of URLs in files."""

from __future__ import annotations

from pathlib import Path

from minicdn.urlfile import lines_of


def test_comments_and_empty_lines_take_nobodys_place(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# what comes\n\n/a\n# and\n  /b \n\n/c\n/d\n")
    assert lines_of(str(tmp_path / "list"), 3) == ["/a", "/b", "/c", "/d"], "one more than may be, so that it is said"
    assert lines_of(str(tmp_path / "list"), 2) == ["/a", "/b", "/c"]
    assert lines_of(None, 3) == []

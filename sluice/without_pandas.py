"""Arrow without pandas.

`pyarrow.array` imports pandas, if it is installed, only to ask whether its argument is one of pandas' objects
(`_PandasAPIShim` in pyarrow/pandas-shim.pxi). That is 0.13 s of CPU and 33 MB for an import that has no other use for
it. pyarrow tries once, and goes without if the import fails. It tries again when it is asked to make a pandas
object, so that nothing is lost.

For processes that are Sluice's own alone: in between, `pyarrow.array` would take a Series for any other sequence.
"""

from __future__ import annotations

import sys
from typing import Any

import pyarrow as pa


class _NotThere:
    """A finder of modules (importlib's `MetaPathFinder`) by which pandas is not installed."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("kept out by sluice.without_pandas", name=name)


def keep_pandas_out() -> None:
    """Let pyarrow find no pandas, until `let_pandas_in`. Nothing happens where somebody has imported it already."""
    if "pandas" in sys.modules:
        return
    finder = _NotThere()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([True])
    finally:
        sys.meta_path.remove(finder)


def let_pandas_in() -> None:
    """Undo `keep_pandas_out`: imports pandas."""
    pa.array([True]).to_pandas()

"""
Compiles Python files ahead: the sandbox sees its code read-only, and would otherwise compile it at every start.

`main.py --compile FOLDER…` compiles the runtime itself and each folder, with the Python that runs it. The compiled forms are
not checked against their sources at import: that saves a system call per module, and revisions never change.
"""
from __future__ import annotations


def compile_folders(folders: list[str]) -> None:
    """A file that does not compile is left out: the import will tell."""
    import compileall
    from py_compile import PycInvalidationMode
    import sys
    runtime, *others = folders
    # The runtime's own files do change, while it is being developed.
    compileall.compile_dir(runtime, quiet=2, invalidation_mode=PycInvalidationMode.TIMESTAMP)
    for folder in others:
        compileall.compile_dir(folder, quiet=2, stripdir=folder, prependdir='/app', invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    sys.exit(0)

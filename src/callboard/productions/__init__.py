"""Productions: named containers of instances on disk, with their documents and their index.

Disk is the truth; the CSV beside it is an index that can be built again (decision 0007). `names.py` and
`sheet.py` are pure, `folder.py` is the only file here that opens anything, `manager.py` is what people call.
"""

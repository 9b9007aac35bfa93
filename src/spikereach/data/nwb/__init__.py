"""NWB (Neurodata Without Borders), the field's standard of recordings: read and written.

An NWB file becomes a session file (`reading`), and from there on is what every other recording is.
pynwb is an extra, ``spikereach[nwb]``, and imported where a file is opened.
"""

"""Letters of a configuration that Snakemake read in another encoding than UTF-8."""

import locale

import pytest

from spikereach.config import ConfigError
from spikereach.workflow.encoding import check_encoding

LABEL = {"ablations": {"cortex": [{"label": "größer"}]}}


@pytest.mark.parametrize("encoding", ["UTF-8", "utf8"])
def test_utf8_reads_them(monkeypatch, encoding):
    monkeypatch.setattr(locale, "getpreferredencoding", lambda: encoding)
    check_encoding(LABEL)


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "eucJP", "ANSI_X3.4-1968"])
def test_others_are_refused_where_it_matters(monkeypatch, encoding):
    monkeypatch.setattr(locale, "getpreferredencoding", lambda: encoding)
    check_encoding({"label": "larger"})
    with pytest.raises(ConfigError, match=f"as {encoding} in this locale.*PYTHONUTF8=1"):
        check_encoding(LABEL)

"""Only what pyproject.toml cannot say: the cffi extension of the RTP engine."""

from setuptools import setup

setup(cffi_modules=["rtp/_build.py:ffibuilder"])

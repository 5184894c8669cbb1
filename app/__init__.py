"""Nuanxin 暖心: the open backend for family planning associations."""

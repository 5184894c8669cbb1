"""Gifts: through WeChat Pay and every other way, how the donor is shown, and the papers about them."""
